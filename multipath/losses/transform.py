r"""The loss between the coefficients of a transform, path by path."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from multipath._internal.inputs import check_real
from multipath._internal.printing import listed
from multipath._internal.settings import choice, positive
from multipath._internal.tracing import is_traced
from multipath.errors import ConfigurationError, InputError
from multipath.jets import JetOrder
from multipath.paths import check_indices
from multipath.transforms.base import Transform, working_dtype

from ._white_noise import WhiteNoise
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

    With ``normalize="target"`` every path is relative to what the target has on it, and the loss of
    sounds that have nothing in common is near 1, whatever the transform, the distance and their
    units, so that its weight beside another term needs no search:

    .. math:: L_p(x, y) = \frac{d\big(\rho(\phi_p(x)) - \rho(\phi_p(y))\big)}
        {d\big(\rho(\phi_p(y)) - \rho(0)\big)
        + \frac 1 3 d\big(\rho(\ell_y\, n_p\, r) - \rho(0)\big)}

    The second term keeps paths on which the target is silent from counting for more than they
    should: it is a third of the distance between silence and white noise as loud as the target.
    :math:`\ell_y` is the RMS of that target (of each item for itself, and at least
    :math:`10^{-2.5}`, 50 dB below 1, so that a silent target has a finite loss, with a gradient),
    :math:`n_p` the RMS of the coefficients of white noise of level 1 on the path, measured once,
    and r a ramp of RMS 1 that stands for them. Louder than that, and without a :math:`\rho`,
    :math:`L_p(a x, a y) = L_p(x, y)`. A path costs what it costs without, since only it is
    looked at, so that estimates from a few paths remain unbiased. Gradients flow through the
    denominator if the target requires any.

    Args:
        transform: Computes the coefficients :math:`\phi_p`, see :mod:`multipath.transforms`.
        rho: Pointwise nonlinearity: None (identity), ``"log1p"`` for :class:`Log1p`, or a function.
        distance: See above.
        eps: The :math:`\varepsilon` of ``rho="log1p"``.
        weights: :math:`w_p`, default 1/P.
        reduction: Over the batch: ``"mean"``, ``"sum"`` or ``"none"``.
        normalize: None, or ``"target"`` for the relative loss above.
        cache: Keeps what the paths of a target share, see :class:`TargetCache`.

    Raises:
        ConfigurationError: If an argument is unknown or of the wrong type.

    Example:
        >>> from multipath.transforms import MultiResolutionSTFT
        >>> loss = TransformLoss(MultiResolutionSTFT([64, 128], [16, 32], [64, 128]), distance="l1")
        >>> tone = torch.sin(0.3 * torch.arange(1024.0))
        >>> loss(tone, tone), bool(loss(0.5 * tone, tone) > 0)
        (tensor(0.), True)
        >>> relative = TransformLoss(loss.transform, distance="l1", normalize="target")
        >>> bool(0.3 < relative(tone.cos(), tone) < 3), bool(loss(tone.cos(), tone) > 100)
        (True, True)

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
        normalize: Literal["target"] | None = None,
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
        self.normalize = choice("normalize", normalize, None, "target")
        self._noise = WhiteNoise()
        self._distance = _resolve_distance(distance, n_paths=len(self.paths))

    @property
    def compilable(self) -> bool:
        """Whether the transform is, nothing is cached, and no noise has to be measured."""
        return self.transform.compilable and self.cache is None and self.normalize is None

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
        check_pair(input, target)
        flat = self._flat(target)
        predicted, wanted = self._both(self._flat(input), flat, chosen)
        return self._normalized(self._distances(predicted, wanted), flat, wanted, chosen)

    def path_loss_jets(
        self, jets: Tensor, target: Tensor, indices: Indices, order: JetOrder
    ) -> Tensor:
        """The jets of the coefficients, which the transform may know better how to make."""
        chosen = check_indices(indices, len(self.paths))
        check_real(jets, "jets")
        check_pair(jets[0], target)
        flat = jets.reshape(len(jets), -1, *jets.shape[jets.ndim - self.transform.signal_ndim :])
        flat_target = self._flat(target)
        with torch.no_grad():
            wanted = self.transform.coefficients(flat_target, chosen)
        predicted = self.transform.coefficient_jets(flat, chosen, order)
        distances = order.through(lambda found: self._distances(found, wanted), predicted)
        return self._normalized(distances, flat_target, wanted, chosen)

    def _normalized(
        self, distances: Tensor, target: Tensor, wanted: list[Tensor], indices: list[int]
    ) -> Tensor:
        """Distances (..., len(indices), batch), relative to the target if they are to be."""
        if self.normalize is None:
            return distances
        own, noise = self._loudness(target, wanted, indices)
        scale = own + noise / 3
        return distances / scale.clamp_min(torch.finfo(scale.dtype).tiny)

    def _loudness(
        self, target: Tensor, wanted: list[Tensor], indices: list[int]
    ) -> tuple[Tensor, Tensor]:
        """Distances from silence of the target and of white noise as loud as it."""
        silence = [torch.zeros_like(coefficients) for coefficients in wanted]
        noise = self._noise.like(self.transform, target, indices, wanted)
        return self._distances(wanted, silence), self._distances(noise, silence)

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
        r"""Norms :math:`\lVert \rho(\phi_p(y)) \rVert_2`, shape (len(indices), batch).

        Of a relative loss they go from 0.58 where the target is silent to 1 where it is loud,
        :math:`\sqrt{(D + D'/3) / (D + D')}` with the distances D and D' of the denominator: silent
        paths are not to be drawn hardly ever, since what the input has there counts for much.
        """
        chosen = check_indices(indices, len(self.paths))
        check_real(target, "target")
        flat = self._flat(target)
        with torch.no_grad():
            wanted = self.transform.coefficients(flat, chosen)
            if self.normalize is not None:
                own, noise = self._loudness(flat, wanted, chosen)
                all_of_it = (own + noise).clamp_min(torch.finfo(own.dtype).tiny)
                return ((own + noise / 3) / all_of_it).sqrt()
            features = self._compressed(wanted)
        return torch.stack([torch.linalg.vector_norm(f.flatten(1), dim=1) for f in features])

    def _both(
        self, input: Tensor, target: Tensor, indices: list[int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        cache = self.cache if self.cache is not None and self.cache.active else None
        # what is computed under torch.func, or of a dual number, does not outlast it
        if cache is None or target.requires_grad or is_traced(target):
            return self.transform.coefficient_pairs(input, target, indices)
        prepared = cache.prepared(self.transform, target)
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
        shown = listed(rho=self.rho, distance=self.distance)
        relative = f", {listed(normalize=self.normalize)}" if self.normalize else ""
        return f"{super().extra_repr()}, {shown}{relative}"


def check_pair(input: Tensor, target: Tensor) -> None:
    """Refuse an input and a target that are not signals of one shape, dtype and device.

    Raises:
        InputError: If they are not.
    """
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
    if rho is not None and callable(rho):
        return rho
    name = choice("rho", rho, None, "identity", "log1p", other="a function")
    return Log1p(eps) if name == "log1p" else None


def _resolve_distance(distance: str | Distance, n_paths: int) -> Distance:
    if callable(distance):
        return distance
    squared = partial(_squared_l2, n_paths=n_paths)
    known: dict[str, Distance] = {"squared_l2": squared, "l2": _l2, "l1": _l1}
    return known[choice("distance", distance, *known, other="a function")]


def _squared_l2(difference: Tensor, n_paths: int) -> Tensor:
    return n_paths * difference.flatten(1).square().sum(dim=1)


def _l2(difference: Tensor) -> Tensor:
    # zero, not NaN, is the gradient at equal signals
    norm: Tensor = torch.linalg.vector_norm(difference.flatten(1), dim=1)
    return norm


def _l1(difference: Tensor) -> Tensor:
    return difference.flatten(1).abs().sum(dim=1)
