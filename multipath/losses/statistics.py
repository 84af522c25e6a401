r"""The loss between statistics of a signal and given ones, path by path: no target signal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from multipath._internal.inputs import check_real, described
from multipath._internal.printing import listed
from multipath._internal.settings import choice, is_scalar, real, several, vector
from multipath.errors import ConfigurationError, InputError
from multipath.jets import JetOrder
from multipath.paths import check_indices
from multipath.transforms._numerics.filters import FilterBuffers
from multipath.transforms.base import Transform

from .base import Indices, PathDecomposedLoss, Reduction
from .transform import Distance, PathDistances, Rho, resolve_rho

Numbers = float | Tensor | Iterable[Any]


class StatisticsLoss(PathDecomposedLoss):
    r"""Distance between the coefficients of a signal, or their means, and given numbers.

    .. math:: L_p(x) = d\left(\frac{\psi_p(x) - s_p}{\sigma_p}\right), \qquad
        \psi_p(x) = \overline{\rho(\phi_p(x))}

    The bar is a mean over each dimension in which :math:`s_p` has size 1, or which it lacks. For
    coefficients of shape (wavelets, time), :math:`s_p` of shape (wavelets, time) are coefficients
    to match, (wavelets, 1) their means over time, and a number their mean over everything. So with
    all coefficients of a target this is :class:`TransformLoss`, and with means it is a texture to
    match, which no single signal defines. With ``rho_of="means"`` it is the means that are
    compressed, :math:`\psi_p(x) = \rho(\overline{\phi_p(x)})`.

    The loss is called without a target: ``loss(x)``, and likewise
    ``StochasticLoss(loss)(x)``. There is no target to be loud or silent, so that
    :class:`~multipath.samplers.Energy`, made without energies, learns from the losses; before
    training, :class:`~multipath.samplers.Importance` can be given the roots of the losses that a
    first input has. What measures targets beforehand is for losses that have some:
    :meth:`StochasticLoss.for_training <multipath.StochasticLoss.for_training>`,
    :meth:`Energy.from_targets <multipath.samplers.Energy.from_targets>` and
    :meth:`BalancedLoss.from_targets <multipath.BalancedLoss.from_targets>`.

    Args:
        transform: Computes the coefficients :math:`\phi_p`, see :mod:`multipath.transforms`.
        statistics: :math:`s_p`, what :meth:`statistics_of` should return: a tensor or a number for
            each path, or one tensor whose first dimension are the paths.
        scale: :math:`\sigma_p > 0`: one number, or one number or tensor for each path, as large as
            its statistics in the dimensions in which it differs, such as their standard deviation
            over several recordings.
        rho: Pointwise nonlinearity, as in :class:`TransformLoss`.
        eps: The :math:`\varepsilon` of ``rho="log1p"``.
        rho_of: What :math:`\rho` is applied to, ``"coefficients"`` or their ``"means"``.
        distance: d, as in :class:`TransformLoss`.
        weights: :math:`w_p`, default 1/P.
        reduction: Over the batch: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ConfigurationError: If an argument is unknown or of the wrong type, there are not as many
            statistics as paths, one is not finite, or a scale is not positive or does not fit.

    Example:
        >>> from multipath.transforms import MultiResolutionSTFT
        >>> transform = MultiResolutionSTFT([64, 128], [16, 32], [64, 128])
        >>> rain = torch.randn(1024, generator=torch.Generator().manual_seed(0))
        >>> means = [c.mean(dim=-1, keepdim=True) for c in transform(rain)]  # over time
        >>> loss = StatisticsLoss(transform, means, scale=means)
        >>> more = torch.randn(1, 1024, generator=torch.Generator().manual_seed(1))
        >>> bool(loss(more) < loss(0.5 * more) / 5), loss(rain)
        (True, tensor(0.))
    """

    def __init__(
        self,
        transform: Transform,
        statistics: Tensor | Iterable[Any],
        scale: Numbers = 1.0,
        *,
        rho: Literal["identity", "log1p"] | Rho | None = None,
        eps: float = 1e-3,
        rho_of: Literal["coefficients", "means"] = "coefficients",
        distance: Literal["squared_l2", "l2", "l1"] | Distance = "squared_l2",
        weights: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        if not isinstance(transform, Transform):
            raise ConfigurationError(
                f"transform must be a multipath.transforms.Transform, got {transform!r}"
            )
        super().__init__(transform.paths, weights=weights, reduction=reduction)
        self.transform = transform
        self.rho = resolve_rho(rho, eps)
        self.rho_of = choice("rho_of", rho_of, "coefficients", "means")
        self.distance = distance
        self._distances = PathDistances(distance, self.paths)
        wanted = _for_each_path("statistics", statistics, len(self.paths))
        given = [scale] * len(wanted) if is_scalar(scale) else scale
        scales = [
            _spread(own, numbers, path)
            for path, (own, numbers) in enumerate(
                zip(_for_each_path("scale", given, len(self.paths)), wanted, strict=True)
            )
        ]
        self._shapes = [tuple(numbers.shape) for numbers in wanted]
        self._given = FilterBuffers()
        for name, parts in (("statistics", wanted), ("scale", scales)):
            flat = torch.cat([part.flatten() for part in parts])
            self._given.register_filter(name, flat.numpy())

    @property
    def compilable(self) -> bool:
        """Whether the transform is."""
        return self.transform.compilable

    def path_losses(self, input: Tensor, target: Any, indices: Indices) -> Tensor:
        """Distance of the statistics on each chosen path from those given.

        Args:
            input: Signals of shape (..., T); all leading dimensions together are the batch.
            target: None.
            indices: Which paths.

        Raises:
            InputError: If there is a target, the input does not suit the transform, or the
                coefficients of a path have no dimensions in which they could be averaged to its
                statistics.
        """
        chosen = self._chosen(target, indices)
        return self._compared(self._coefficients(input, chosen), chosen)

    def path_loss_jets(
        self, jets: Tensor, target: Any, indices: Indices, order: JetOrder
    ) -> Tensor:
        """The jets of the coefficients, which the transform may know better how to make."""
        chosen = self._chosen(target, indices)
        check_real(jets, "jets")
        flat = jets.reshape(len(jets), -1, *jets.shape[jets.ndim - self.transform.signal_ndim :])
        found = self.transform.coefficient_jets(flat, chosen, order)
        return order.through(lambda values: self._compared(values, chosen), found)

    def statistics_of(self, input: Tensor, indices: Indices | None = None) -> list[Tensor]:
        r""":math:`\psi_p(x)`, of shape (batch, ...) with the shape of the statistics given.

        Args:
            input: Signals of shape (..., T).
            indices: Which paths; all of them by default.

        Raises:
            InputError: As :meth:`path_losses`.
        """
        chosen = check_indices(
            range(len(self.paths)) if indices is None else indices, len(self.paths)
        )
        return self._statistics(self._coefficients(input, chosen), chosen)

    def _chosen(self, target: Any, indices: Indices) -> list[int]:
        if target is not None:
            raise InputError(
                "a StatisticsLoss takes no target: its statistics were given when it was made; "
                f"call it as loss(input), got a target, {described(target)}. for_training and "
                "from_targets measure targets: use StochasticLoss(loss, Energy()), which learns "
                "from the losses"
            )
        return check_indices(indices, len(self.paths))

    def _coefficients(self, input: Tensor, indices: list[int]) -> list[Tensor]:
        check_real(input, "input")
        flat = input.reshape(-1, *input.shape[input.ndim - self.transform.signal_ndim :])
        return self.transform.coefficients(flat, indices)

    def _compared(self, coefficients: list[Tensor], indices: list[int]) -> Tensor:
        found = self._statistics(coefficients, indices)
        wanted, scales = (self._parts(name, found[0]) for name in ("statistics", "scale"))
        differences = [
            (own - wanted[index]) / scales[index] for own, index in zip(found, indices, strict=True)
        ]
        # one number is a vector of one to a distance
        differences = [d[:, None] if d.ndim == 1 else d for d in differences]
        if len({difference.shape for difference in differences}) > 1:
            return self._distances(differences, indices)
        return self._distances(torch.stack(differences), indices)

    def _statistics(self, coefficients: list[Tensor], indices: list[int]) -> list[Tensor]:
        return [
            self._averaged(values, index)
            for values, index in zip(coefficients, indices, strict=True)
        ]

    def _averaged(self, coefficients: Tensor, index: int) -> Tensor:
        shape, own = self._shapes[index], coefficients.shape[1:]
        if len(shape) == coefficients.ndim and shape[0] == 1:
            shape = shape[1:]  # statistics of one signal in a batch of its own
        full = (1,) * (len(own) - len(shape)) + shape
        if len(full) != len(own) or any(n not in (1, m) for n, m in zip(full, own, strict=True)):
            raise InputError(
                f"path {self.paths[index].key!r} has coefficients of shape {tuple(own)} and its "
                f"statistics have shape {tuple(shape)}: each size must be that of the coefficients "
                "or 1, where they are averaged (mean with keepdim=True)"
            )
        before = self.rho if self.rho_of == "coefficients" else None
        values = coefficients if before is None else before(coefficients)
        averaged = [1 + place for place, size in enumerate(full) if size == 1 < own[place]]
        if averaged:
            values = values.mean(dim=averaged)
        values = values.reshape(len(coefficients), *self._shapes[index])
        return values if self.rho is None or before is not None else self.rho(values)

    def _parts(self, name: str, like: Tensor) -> list[Tensor]:
        """The statistics or scales of all paths, in the precision and on the device of a tensor."""

        def make(empty: Tensor) -> list[Tensor]:
            flat = self._given.filter(name, empty)
            sizes = [torch.Size(shape).numel() for shape in self._shapes]
            parts = flat.split(sizes)
            return [part.reshape(s) for part, s in zip(parts, self._shapes, strict=True)]

        return self._given.derived(name, like, make)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        shown = listed(rho=self.rho, rho_of=self.rho_of, distance=self.distance)
        return f"{super().extra_repr()}, {shown}"


def _for_each_path(name: str, numbers: Any, n_paths: int) -> list[Tensor]:
    """Finite numbers for each path, in float64."""
    if isinstance(numbers, np.ndarray | Tensor) and numbers.ndim > 1:
        numbers = list(numbers)
    members = several(name, numbers)
    if len(members) != n_paths:
        raise ConfigurationError(
            f"{name} must have one entry for each of the {n_paths} paths, got {len(members)}"
        )
    found = []
    for path, member in enumerate(members):
        if is_scalar(member):
            values = vector(name, [real(member)]).reshape(())
        else:
            values = vector(f"{name} of path {path}", member, "a number or a tensor").detach()
        if not bool(torch.isfinite(values).all()) or not values.numel():
            raise ConfigurationError(
                f"{name} of path {path} must be finite and not empty, got {described(member)}"
            )
        if name == "scale" and not bool((values > 0).all()):
            least = float(values.min())
            raise ConfigurationError(f"scale of path {path} must be positive, got {least:g}")
        found.append(values)
    return found


def _spread(scale: Tensor, statistics: Tensor, path: int) -> Tensor:
    """The scale of a path, for each of its statistics."""
    try:
        return scale.expand(statistics.shape)
    except RuntimeError:
        raise ConfigurationError(
            f"scale of path {path} has shape {tuple(scale.shape)}, and its statistics have shape "
            f"{tuple(statistics.shape)}"
        ) from None
