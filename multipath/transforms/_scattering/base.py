"""What the scattering transforms over time have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from multipath._internal.tracing import is_traced
from multipath.jets import JetOrder
from multipath.paths import Path, check_indices
from multipath.transforms._numerics.analytic import peak_scale
from multipath.transforms.base import Transform, check_signal, full_precision, working_dtype

from .layers import FirstLayer, Request
from .time import TimeScattering

Finish = Callable[[Tensor], dict[int, Tensor]]


class Scattering(Transform):
    """A scattering transform over time: checks, batches and scales its signals.

    Args:
        paths: The path table.
        time: The filter banks over time.
        zeroth: The path that is the averaged signal itself, if there is one.
    """

    compilable = False

    def __init__(
        self, paths: Iterable[Path], time: TimeScattering, zeroth: int | None = None
    ) -> None:
        super().__init__(paths)
        self.time = time
        self._zeroth = zeroth
        self.n_samples, self.unpad = time.n_samples, time.unpad

    @abstractmethod
    def _request(self, indices: Sequence[int]) -> Request:
        """What paths need of the first layer."""

    @abstractmethod
    def _averages(
        self, first: FirstLayer, indices: Sequence[int]
    ) -> Iterator[tuple[Tensor, Finish]]:
        """Averages over time, and functions that turn them into coefficients.

        Args:
            first: From :meth:`TimeScattering.first_layer`.
            indices: Which paths, each once, but for that of order 0.

        Yields:
            A tensor with the joint batch first, and a function that turns any part of that batch
            into coefficients, by index.
        """

    @abstractmethod
    def _own_settings(self) -> str:
        """The settings that only this transform has, as ``print`` shows them."""

    def _scatter(
        self, signals: Sequence[Tensor], indices: Sequence[int] | Tensor
    ) -> list[list[Tensor]]:
        """Coefficients of one batch, or of two, the second of which wants no gradient."""
        for x in signals:
            check_signal(x, self.n_samples)
        chosen = check_indices(indices, len(self.paths))
        normalised, scales = zip(*(_normalise(x) for x in signals), strict=True)
        distinct = list(dict.fromkeys(chosen))
        others = normalised[1] if len(signals) > 1 else None
        first = self.time.first_layer(normalised[0], self._request(distinct), others=others)
        found = self._finish(first, [*scales], distinct)
        if self._zeroth is not None and self._zeroth in distinct:
            for values, x, scale in zip(found, normalised, scales, strict=True):
                values[self._zeroth] = self.time.zeroth_order(x) * scale[:, None]
        return [
            [_batched(values[i], x.shape[:-1]) for i in chosen]
            for values, x in zip(found, signals, strict=True)
        ]

    def _finish(
        self, first: FirstLayer, scales: Sequence[Tensor], indices: Sequence[int]
    ) -> list[dict[int, Tensor]]:
        """Coefficients of orders 1 and 2 by index, for each batch."""
        found: list[dict[int, Tensor]] = [{} for _ in scales]
        chosen = [index for index in indices if index != self._zeroth]
        for joint, finish in self._averages(first, chosen):
            parts = joint.split([len(scale) for scale in scales])
            for values, part, scale, with_gradient in zip(
                found, parts, scales, (True, False), strict=False
            ):
                part = part if with_gradient else part.detach()
                values.update(finish(part * scale[:, None, None]))
        return found

    @full_precision
    def coefficients(self, x: Tensor, indices: Sequence[int] | Tensor) -> list[Tensor]:
        """Coefficients of the chosen paths; what they share is computed once.

        Args:
            x: Signals, shape (..., n_samples), float32 or float64 (half precision is computed in
                float32).
            indices: Which paths.

        Raises:
            InputError: If the signals do not have n_samples samples, or an index is out of range.
        """
        return self._scatter([x], indices)[0]

    @full_precision
    def coefficient_pairs(
        self, x: Tensor, y: Tensor, indices: Sequence[int] | Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """:meth:`coefficients` of x and of y, computed in one batch.

        Nothing is saved for a gradient with respect to y unless y requires one.
        """
        check_signal(x, self.n_samples)
        check_signal(y, self.n_samples)
        if is_traced(x) or is_traced(y) or (y.requires_grad and torch.is_grad_enabled()):
            return super().coefficient_pairs(x, y, indices)
        of_x, of_y = self._scatter([x, y], indices)
        return of_x, of_y

    @full_precision
    def coefficient_jets(
        self, jets: Tensor, indices: Sequence[int] | Tensor, order: JetOrder
    ) -> list[Tensor]:
        """Jets of coefficients, by hand: scattering is linear but for its moduli. No gradient."""
        check_signal(jets, self.n_samples)
        chosen = check_indices(indices, len(self.paths))
        distinct = list(dict.fromkeys(chosen))
        with torch.no_grad():
            scale = peak_scale(jets[0].to(working_dtype(jets)))
            # the components of one signal follow one another, since they meet in its moduli
            signals = (jets / scale[:, None]).transpose(0, 1).flatten(0, 1)
            scales = scale.repeat_interleave(len(order))
            first = self.time.first_layer(signals, self._request(distinct), order=order)
            (found,) = self._finish(first, [scales], distinct)
            if self._zeroth is not None and self._zeroth in distinct:
                found[self._zeroth] = self.time.zeroth_order(signals) * scales[:, None]
        apart = {i: f.unflatten(0, (-1, len(order))).transpose(0, 1) for i, f in found.items()}
        return [apart[i] for i in chosen]

    @full_precision
    def prepare(self, x: Tensor) -> list[Tensor]:
        """Scales, order 0 if it is a path, and first layers of signals (batch, n_samples)."""
        check_signal(x, self.n_samples)
        signals, scale = _normalise(x)
        first = self.time.first_layer(signals, self._request(range(len(self.paths))))
        zeroth = [] if self._zeroth is None else [self.time.zeroth_order(signals)]
        return [scale, *zeroth, *first.joint]

    @full_precision
    def finish(self, prepared: Sequence[Tensor], indices: Sequence[int] | Tensor) -> list[Tensor]:
        """:meth:`coefficients` of prepared signals, without gradient."""
        chosen = check_indices(indices, len(self.paths))
        scale, *joint = prepared
        zeroth = None if self._zeroth is None else joint.pop(0)
        first = self.time.kept_layer(self._request(range(len(self.paths))), joint)
        with torch.no_grad():
            (found,) = self._finish(first, [scale], list(dict.fromkeys(chosen)))
            if self._zeroth is not None and zeroth is not None:
                found[self._zeroth] = zeroth * scale[:, None]
        return [found[index] for index in chosen]

    def extra_repr(self) -> str:
        """Settings that ``print`` shows."""
        time = self.time
        settings = f"n_samples={self.n_samples}, J={time.J}, Q={time.Q}, T={time.T!r}"
        if time.windowed:
            settings += f", stride={time.stride}"
        others = f"unpad={self.unpad}, sampling={time.sampling!r}, border={time.border!r}"
        return f"{settings}, {self._own_settings()}, {others}, P={len(self.paths)}"


def _normalise(x: Tensor) -> tuple[Tensor, Tensor]:
    """Signals (batch, samples) with peaks near 1, and the scales to multiply coefficients by."""
    signals = x.reshape(-1, x.shape[-1]).to(working_dtype(x))
    scale = peak_scale(signals)
    return signals / scale[:, None], scale


def _batched(values: Tensor, shape: torch.Size) -> Tensor:
    """Values (batch, ...) with the batch dimensions that the signals came with."""
    return values if len(shape) == 1 else values.reshape(*shape, *values.shape[1:])
