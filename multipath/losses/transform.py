r"""The loss between the coefficients of a transform, path by path."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from multipath._internal.inputs import check_real
from multipath._internal.names import listed
from multipath._internal.settings import positive
from multipath.errors import ConfigurationError, InputError
from multipath.jets import JetOrder
from multipath.paths import check_indices
from multipath.transforms._numerics.tracing import is_traced
from multipath.transforms.base import Transform, working_dtype

from .base import Indices, PathDecomposedLoss, Reduction
from .target_cache import TargetCache

Rho = Callable[[Tensor], Tensor]
Distance = Callable[[Tensor], Tensor]


class Log1p:
    r"""The pointwise compression :math:`\rho(S) = \log(1 + S / \varepsilon)`.

    It brings coefficients of very different size onto one scale. Negative coefficients (order 0 of
    scattering) are compressed symmetrically: :math:`\rho(-S) = -\rho(S)`.

    Args:
        eps: :math:`\varepsilon > 0`, the level below which it is linear. Default 1e-3, as in the
            TR-808 experiments of SCRAPL.

    Raises:
        ConfigurationError: If eps is not positive.

    Example:
        >>> Log1p(eps=1.0)(torch.tensor([0.0, 1.0, -1.0]))
        tensor([ 0.0000,  0.6931, -0.6931])
    """

    def __init__(self, eps: float = 1e-3) -> None:
        self.eps = positive("eps of log1p", eps)

    def __call__(self, coefficients: Tensor) -> Tensor:
        """Compress."""
        # relu's slope at 0 is 0, clamp's is 1: together they give 1 / eps there
        positive = torch.log1p(coefficients.clamp_min(0) / self.eps)
        return positive - torch.log1p(torch.relu(-coefficients) / self.eps)

    def __repr__(self) -> str:
        """Constructor call."""
        return f"Log1p(eps={self.eps:g})"


class TransformLoss(PathDecomposedLoss):
    r"""Distance between the coefficients of two signals, one path of the transform at a time.

    .. math:: L_p(x, y) = d\big(\rho(\phi_p(x)) - \rho(\phi_p(y))\big)

    ``distance`` d is one of

    - ``"squared_l2"``: :math:`P \lVert \cdot \rVert_2^2`, equation 3 of the paper. The mean over
      paths is then the squared distance between the whole transforms.
    - ``"l2"``: :math:`\lVert \cdot \rVert_2`, what the reference implementation scrapl-loss uses.
    - ``"l1"``: :math:`\lVert \cdot \rVert_1`.
    - any function from differences (items, ...) to distances (items,).

    Each norm runs over all the coefficients of a path (log-frequency and time).

    Args:
        transform: Computes the coefficients :math:`\phi_p`, see :mod:`multipath.transforms`.
        rho: Pointwise nonlinearity: None (identity), ``"log1p"`` for :class:`Log1p`, or a function.
        distance: See above.
        eps: The :math:`\varepsilon` of ``rho="log1p"``.
        weights: :math:`w_p`, default 1/P.
        reduction: Over the batch: ``"mean"``, ``"sum"`` or ``"none"``.
        cache: Keeps what the paths of a target share, see :class:`TargetCache`.

    Raises:
        ConfigurationError: If an argument is unknown or of the wrong type.

    Example:
        >>> from multipath.transforms import MultiResolutionSTFT
        >>> loss = TransformLoss(MultiResolutionSTFT([64, 128], [16, 32], [64, 128]), distance="l1")
        >>> tone = torch.sin(0.3 * torch.arange(1024.0))
        >>> loss(tone, tone), bool(loss(0.5 * tone, tone) > 0)
        (tensor(0.), True)

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), equation 3.
    """

    def __init__(
        self,
        transform: Transform,
        *,
        rho: Literal["identity", "log1p"] | Rho | None = None,
        distance: Literal["squared_l2", "l2", "l1"] | Distance = "squared_l2",
        eps: float = 1e-3,
        weights: Tensor | None = None,
        reduction: Reduction = "mean",
        cache: TargetCache | None = None,
    ) -> None:
        if not isinstance(transform, Transform):
            raise ConfigurationError(
                f"transform must be a multipath.transforms.Transform, got {transform!r}"
            )
        super().__init__(transform.paths, weights=weights, reduction=reduction)
        self.transform = transform
        self.cache = cache
        self.rho = resolve_rho(rho, eps)
        self.distance = distance
        self._distance = _resolve_distance(distance, n_paths=len(self.paths))

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """Distance on each chosen path.

        Args:
            input: Signals of shape (..., T); all leading dimensions together are the batch.
            target: The same shape.
            indices: Which paths.

        Raises:
            InputError: If the shapes, dtypes or devices differ, or do not suit the transform.
        """
        chosen = check_indices(indices, len(self.paths))
        _check_pair(input, target)
        return self._distances(*self._both(self._flat(input), self._flat(target), chosen))

    def path_loss_jets(
        self, jets: Tensor, target: Tensor, indices: Indices, order: JetOrder
    ) -> Tensor:
        """The jets of the coefficients, which the transform may know better how to make."""
        chosen = check_indices(indices, len(self.paths))
        check_real(jets, "jets")
        _check_pair(jets[0], target)
        flat = jets.reshape(len(jets), -1, *jets.shape[jets.ndim - self.transform.signal_ndim :])
        with torch.no_grad():
            wanted = self.transform.coefficients(self._flat(target), chosen)
        predicted = self.transform.coefficient_jets(flat, chosen, order)
        return order.through(lambda found: self._distances(found, wanted), predicted)

    def _distances(self, predicted: list[Tensor], wanted: list[Tensor]) -> Tensor:
        """Between coefficients, path by path and item by item."""
        if len({coefficients.shape for coefficients in predicted}) > 1:
            differences = self._compressed(predicted), self._compressed(wanted)
            pairs = zip(*differences, strict=True)
            return torch.stack([self._distance(a - b) for a, b in pairs])
        # one call for all paths where their shapes agree
        ours, theirs = self._compressed([torch.stack(predicted), torch.stack(wanted)])
        stacked = ours - theirs
        distances = self._distance(stacked.flatten(0, 1))
        if distances.shape != (stacked.shape[0] * stacked.shape[1],):
            raise InputError(
                "the distance must return one distance for each of the "
                f"{stacked.shape[0] * stacked.shape[1]} differences, got shape "
                f"{tuple(distances.shape)}"
            )
        return distances.reshape(stacked.shape[:2])

    def target_norms(self, target: Tensor, indices: Indices) -> Tensor:
        r"""Norms :math:`\lVert \rho(\phi_p(y)) \rVert_2`, shape (len(indices), batch)."""
        chosen = check_indices(indices, len(self.paths))
        check_real(target, "target")
        with torch.no_grad():
            features = self._compressed(self.transform.coefficients(self._flat(target), chosen))
        return torch.stack([torch.linalg.vector_norm(f.flatten(1), dim=1) for f in features])

    def _both(
        self, input: Tensor, target: Tensor, indices: list[int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        # what is computed under torch.func does not outlast it
        kept = not (target.requires_grad or is_traced(target))
        if self.cache is None or not self.cache.active or not kept:
            return self.transform.coefficient_pairs(input, target, indices)
        prepared = self.cache.prepared(self.transform, target)
        return (
            self.transform.coefficients(input, indices),
            self.transform.finish(prepared, indices),
        )

    def _flat(self, x: Tensor) -> Tensor:
        """All leading dimensions in one batch."""
        return x.reshape(-1, *x.shape[x.ndim - self.transform.signal_ndim :])

    def _compressed(self, coefficients: list[Tensor]) -> list[Tensor]:
        return coefficients if self.rho is None else [self.rho(c) for c in coefficients]

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"{super().extra_repr()}, {listed(rho=self.rho, distance=self.distance)}"


def _check_pair(input: Tensor, target: Tensor) -> None:
    check_real(input, "input")
    check_real(target, "target")
    pairs = {
        "shape": (tuple(input.shape), tuple(target.shape)),
        # half precision, as autocast makes it, is computed in float32 anyway
        "dtype": (working_dtype(input), working_dtype(target)),
        "device": (input.device, target.device),
    }
    for name, (got, wanted) in pairs.items():
        if got != wanted:
            raise InputError(f"input and target must have the same {name}, got {got} and {wanted}")


def resolve_rho(rho: str | Rho | None, eps: float) -> Rho | None:
    """The function that ``rho`` names; None for the identity."""
    if rho is None or rho == "identity":
        return None
    if rho == "log1p":
        return Log1p(eps)
    if callable(rho):
        return rho
    raise ConfigurationError(f'rho must be None, "identity", "log1p" or a function, got {rho!r}')


def _resolve_distance(distance: str | Distance, n_paths: int) -> Distance:
    if callable(distance):
        return distance
    match distance:
        case "squared_l2":
            return partial(_squared_l2, n_paths=n_paths)
        case "l2":
            return _l2
        case "l1":
            return _l1
    raise ConfigurationError(
        f'distance must be "squared_l2", "l2", "l1" or a function, got {distance!r}'
    )


def _squared_l2(difference: Tensor, n_paths: int) -> Tensor:
    return n_paths * difference.flatten(1).square().sum(dim=1)


def _l2(difference: Tensor) -> Tensor:
    # zero, not NaN, is the gradient at equal signals
    norm: Tensor = torch.linalg.vector_norm(difference.flatten(1), dim=1)
    return norm


def _l1(difference: Tensor) -> Tensor:
    return difference.flatten(1).abs().sum(dim=1)
