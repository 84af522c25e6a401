"""What the scattering transforms have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..paths import Path, check_indices
from ._time import TimeScattering
from .base import Transform, check_signal, full_precision, working_dtype


class Scattering(Transform):
    """A scattering transform over time: checks, batches and scales its signals.

    Args:
        paths: The path table.
        time: The filter banks over time.
    """

    def __init__(self, paths: Iterable[Path], time: TimeScattering) -> None:
        super().__init__(paths)
        self.time = time
        self.n_samples, self.unpad = time.n_samples, time.unpad

    @abstractmethod
    def _scatter(
        self, x: Tensor, others: Tensor | None, indices: Sequence[int]
    ) -> dict[int, Tensor]:
        """Coefficients (batch, ...) of distinct paths.

        Args:
            x: Signals, shape (batch, n_samples), peaks near 1.
            others: More signals, of which no gradient is wanted; they follow x in the batch.
            indices: Which paths, each once.
        """

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
        check_signal(x, self.n_samples)
        chosen = check_indices(indices, len(self.paths))
        signals, scale = _normalise(x)
        found = {
            index: _restore(value, scale, x.shape[:-1])
            for index, value in self._scatter(signals, None, list(dict.fromkeys(chosen))).items()
        }
        return [found[index] for index in chosen]

    @full_precision
    def coefficient_pairs(
        self, x: Tensor, y: Tensor, indices: Sequence[int] | Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """:meth:`coefficients` of x and of y, computed in one batch.

        Nothing is kept for a gradient with respect to y, unless y requires one.
        """
        if y.requires_grad and torch.is_grad_enabled():
            return super().coefficient_pairs(x, y, indices)
        check_signal(x, self.n_samples)
        check_signal(y, self.n_samples)
        chosen = check_indices(indices, len(self.paths))
        signals, x_scale = _normalise(x)
        others, y_scale = _normalise(y)
        n = len(signals)
        joint = self._scatter(signals, others, list(dict.fromkeys(chosen)))
        of_x = {i: _restore(value[:n], x_scale, x.shape[:-1]) for i, value in joint.items()}
        of_y = {
            i: _restore(value[n:].detach(), y_scale, y.shape[:-1]) for i, value in joint.items()
        }
        return [of_x[i] for i in chosen], [of_y[i] for i in chosen]

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"n_samples={self.n_samples}, P={len(self.paths)}, unpad={self.unpad}"


def _normalise(x: Tensor) -> tuple[Tensor, Tensor]:
    """Signals (batch, samples) with peaks between 1/2 and 1, and the powers of two they lost.

    Scattering commutes with a change of scale. After this one, which rounds nothing, the squares
    of all that matters are within the range of float32.
    """
    signals = x.reshape(-1, x.shape[-1]).to(working_dtype(x))
    exponent = torch.frexp(signals.detach().abs().amax(dim=1)).exponent
    scale = torch.ldexp(torch.ones_like(signals[:, 0]), exponent.clamp(max=127))
    return signals / scale[:, None], scale


def _restore(value: Tensor, scale: Tensor, batch_shape: torch.Size) -> Tensor:
    scaled = value * scale.reshape(-1, *(1 for _ in value.shape[1:]))
    return scaled.reshape(*batch_shape, *value.shape[1:])
