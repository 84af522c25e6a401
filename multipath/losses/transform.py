r"""The loss between the coefficients of a transform, path by path."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from multipath._internal.inputs import check_real
from multipath._internal.printing import listed
from multipath._internal.settings import between, choice
from multipath._internal.tracing import is_traced
from multipath.errors import ConfigurationError, InputError
from multipath.jets import JetOrder
from multipath.paths import PathTable, check_indices
from multipath.transforms._numerics.analytic import norms, peak_scale
from multipath.transforms.base import Transform, working_dtype

from ._white_noise import WhiteNoise
from .base import Indices, PathDecomposedLoss, Reduction, weighted_sum
from .target_cache import TargetCache

STRAY = 10**-0.5
"""What an input is thought to have where its target is silent: noise, 10 dB below the target."""

Rho = Callable[[Tensor], Tensor]
Distance = Callable[[Tensor], Tensor]


QUIETEST, LOUDEST = 1e-30, 1e30  # levels of compression: quotients fit in single precision


class Log1p:
    r"""The pointwise compression :math:`\rho(S) = \log(1 + S / \varepsilon)`.

    It brings coefficients of very different size onto one scale. Negative coefficients (order 0 of
    scattering) are compressed symmetrically: :math:`\rho(-S) = -\rho(S)`.

    Args:
        eps: :math:`\varepsilon`, the level below which it is linear, between 1e-30 and 1e30, so
            that quotients fit in single precision. Default 1e-3, as in the TR-808 experiments of
            SCRAPL.

    Raises:
        ConfigurationError: If eps is out of range.

    Example:
        >>> Log1p(eps=1.0)(torch.tensor([0.0, 1.0, -1.0]))
        tensor([ 0.0000,  0.6931, -0.6931])
    """

    def __init__(self, eps: float = 1e-3) -> None:
        self.eps = between("eps of log1p", eps, QUIETEST, LOUDEST)

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
    - any function from differences (items, ...) to distances (items,). One with an argument named
      ``path`` is called with the :class:`~multipath.Path` that it serves, as
      ``distance(difference, path=path)``, and for each path apart.

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
        cache: Keeps what was computed of a target, see :class:`TargetCache`.

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
        self._distances = PathDistances(distance, self.paths)

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
        return self._compare(*self._both(self._flat(input), flat, chosen), flat, chosen)

    def _compare(
        self, predicted: list[Tensor], wanted: list[Tensor], target: Tensor, indices: list[int]
    ) -> Tensor:
        """The losses of some paths, from the coefficients on them."""
        scale, units = self._yardstick(target, wanted, indices)
        distances = self._apart(predicted, wanted, indices, units)
        return distances if scale is None else distances / scale

    def _full(
        self, predicted: Mapping[int, Tensor], wanted: Mapping[int, Tensor], target: Tensor
    ) -> Tensor:
        """The full loss of each item, from the coefficients on its paths."""
        counting, weights = self._paths_that_count()
        ours, theirs = ([found[path] for path in counting] for found in (predicted, wanted))
        return weighted_sum(weights, self._compare(ours, theirs, target, counting))

    def path_loss_jets(
        self, jets: Tensor, target: Tensor, indices: Indices, order: JetOrder
    ) -> Tensor:
        """The jets of the coefficients, which the transform may know better how to make."""
        chosen = check_indices(indices, len(self.paths))
        return self._compare_jets(*self._jets(jets, target, chosen, order), chosen, order)

    def _jets(
        self, jets: Tensor, target: Tensor, indices: list[int], order: JetOrder
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Jets of the coefficients, coefficients of the target, and the target in one batch."""
        check_real(jets, "jets")
        check_pair(jets[0], target)
        flat = jets.reshape(len(jets), -1, *jets.shape[jets.ndim - self.transform.signal_ndim :])
        flat_target = self._flat(target)
        with torch.no_grad():
            wanted = self.transform.coefficients(flat_target, indices)
        return self.transform.coefficient_jets(flat, indices, order), wanted, flat_target

    def _compare_jets(
        self,
        predicted: list[Tensor],
        wanted: list[Tensor],
        target: Tensor,
        indices: list[int],
        order: JetOrder,
    ) -> Tensor:
        """The jets of the losses of some paths, from those of the coefficients on them."""
        scale, units = self._yardstick(target, wanted, indices)
        distances = order.through(lambda c: self._apart(c, wanted, indices, units), predicted)
        return distances if scale is None else distances / scale

    def _yardstick(
        self, target: Tensor, wanted: list[Tensor], indices: list[int]
    ) -> tuple[Tensor | None, Tensor | None]:
        """What distances are relative to, in units that coefficients are divided by first.

        Both have the shape (len(indices), batch); None stands for 1.
        """
        if self.normalize is None:
            return None, None
        own, noise, units = self._loudness(target, wanted, indices)
        scale = own + noise / 3
        return scale.clamp_min(torch.finfo(scale.dtype).tiny), units

    def _loudness(
        self, target: Tensor, wanted: list[Tensor], indices: list[int]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Distances from silence of the target and of white noise as loud as it, and their units.

        In these, powers of two of shape (len(indices), batch), neither is too large to be squared;
        None stands for 1. Functions of users may not be homogeneous.
        """
        silence = [torch.zeros_like(coefficients) for coefficients in wanted]
        noise = self._noise.like(self.transform, target, indices, wanted)
        units = None
        if isinstance(self.distance, str):
            peaks = [
                torch.stack([peak_scale(c.flatten(1)) for c in self._compressed(loud)])
                for loud in (wanted, noise)
            ]
            units = torch.maximum(*peaks)
        own, away = (self._apart(loud, silence, indices, units) for loud in (wanted, noise))
        return own, away, units

    def _apart(
        self,
        predicted: list[Tensor],
        wanted: list[Tensor],
        indices: list[int],
        units: Tensor | None = None,
    ) -> Tensor:
        """Distances between coefficients, path by path and item by item."""
        if len({coefficients.shape for coefficients in predicted}) > 1:
            features = zip(self._compressed(predicted), self._compressed(wanted), strict=True)
            differences = [a - b for a, b in features]
            if units is not None:
                differences = [d / _beside(u, d) for d, u in zip(differences, units, strict=True)]
            return self._distances(differences, indices)
        # one call for all paths where their shapes agree
        ours, theirs = self._compressed([torch.stack(predicted), torch.stack(wanted)])
        stacked = ours - theirs
        return self._distances(
            stacked if units is None else stacked / _beside(units, stacked), indices
        )

    def target_norms(self, target: Tensor, indices: Indices) -> Tensor:
        r"""How large differences on each path may become, shape (len(indices), batch).

        .. math:: \sqrt{\lVert \rho(\phi_p(y)) \rVert^2
            + \tfrac 1 {10} \lVert \rho(\ell_y\, n_p\, r) \rVert^2}

        The norm of the target and, 10 dB below, that of white noise as loud as the target (0 for
        silence; see the class for the symbols). Where a target is silent an input need not be: the
        noise keeps such a path from being drawn hardly ever and, when it is, with a huge weight.

        Of a relative loss they are :math:`\sqrt{(D + D') / (D + D'/3)}` with the distances D and
        D' of the denominator: the root of the loss of a sound as loud that has nothing in common
        with the target. They go from 1 where the target is loud to 1.73 where it is silent, since
        there the same difference counts for more.
        """
        chosen = check_indices(indices, len(self.paths))
        return self._norms(*self._wanted(target, chosen), chosen)

    @torch.no_grad()
    def _wanted(self, target: Tensor, indices: list[int]) -> tuple[list[Tensor], Tensor]:
        """Coefficients of the target, and the target in one batch."""
        check_real(target, "target")
        flat = self._flat(target)
        return self.transform.coefficients(flat, indices), flat

    @torch.no_grad()
    def _norms(self, wanted: list[Tensor], target: Tensor, indices: list[int]) -> Tensor:
        """The target's norms on some paths, from the coefficients on them."""
        if self.normalize is not None:
            own, noise, _ = self._loudness(target, wanted, indices)
            tiny = torch.finfo(own.dtype).tiny  # where neither is heard, nothing is missing
            return ((own + noise + tiny) / (own + noise / 3 + tiny)).sqrt()
        audible = target.flatten(1).any(dim=1)
        own, stray = (
            torch.stack([norms(f.flatten(1)) for f in features])
            for features in (
                self._compressed(wanted),
                self._compressed(self._noise.like(self.transform, target, indices, wanted)),
            )
        )
        return torch.hypot(own, audible * stray * STRAY)

    def _both(
        self, input: Tensor, target: Tensor, indices: list[int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        cache = self.cache if self.cache is not None and self.cache.active else None
        # what is computed under torch.func, or of a dual number, does not outlast it
        if cache is None or target.requires_grad or is_traced(target):
            return self.transform.coefficient_pairs(input, target, indices)
        return (
            self.transform.coefficients(input, indices),
            cache.coefficients(self.transform, target, indices),
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


class PathDistances:
    """The distance that a user names or gives, applied to the differences on some paths.

    Args:
        distance: As in :class:`TransformLoss`.
        paths: The paths of the loss.
    """

    def __init__(self, distance: str | Distance, paths: PathTable) -> None:
        self._paths = paths
        squared = partial(_squared_l2, n_paths=len(paths))
        known: dict[str, Distance] = {"squared_l2": squared, "l2": _l2, "l1": _l1}
        self._distance: Distance = (
            distance
            if callable(distance)
            else known[choice("distance", distance, *known, other="a function")]
        )
        self._sees_path = callable(distance) and _has_argument(distance, "path")

    def __call__(self, differences: Tensor | list[Tensor], indices: list[int]) -> Tensor:
        """Distances of shape (len(indices), items).

        Args:
            differences: One of shape (items, ...) for each path; one tensor if shapes agree.
            indices: The paths.

        Raises:
            InputError: If the function returns anything but one distance for each difference.
        """
        if self._sees_path:
            return torch.stack(
                [
                    self._checked(self._distance(d, path=self._paths[index]), len(d))  # type: ignore[call-arg]
                    for d, index in zip(differences, indices, strict=True)
                ]
            )
        if not isinstance(differences, Tensor):
            return torch.stack([self._checked(self._distance(d), len(d)) for d in differences])
        items = differences.flatten(0, 1)
        return self._checked(self._distance(items), len(items)).reshape(differences.shape[:2])

    @staticmethod
    def _checked(distances: Tensor, count: int) -> Tensor:
        if distances.shape != (count,):
            raise InputError(
                f"the distance must return one distance for each of the {count} differences, got "
                f"shape {tuple(distances.shape)}"
            )
        return distances


def _has_argument(function: Callable[..., Any], name: str) -> bool:
    """Whether a function can be given an argument of some name; what runs for a module is asked."""
    called = function.forward if isinstance(function, nn.Module) else function
    try:
        return name in inspect.signature(called).parameters
    except (TypeError, ValueError):  # built in, without a signature
        return False


def _squared_l2(difference: Tensor, n_paths: int) -> Tensor:
    return n_paths * difference.flatten(1).square().sum(dim=1)


def _l2(difference: Tensor) -> Tensor:
    return norms(difference.flatten(1))


def _l1(difference: Tensor) -> Tensor:
    return difference.flatten(1).abs().sum(dim=1)


def _beside(scales: Tensor, values: Tensor) -> Tensor:
    """Scales in the shape that multiplies values whose leading dimensions are theirs."""
    return scales.reshape(*scales.shape, *[1] * (values.ndim - scales.ndim))
