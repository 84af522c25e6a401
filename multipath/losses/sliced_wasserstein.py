"""Distance between point clouds, one projection at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from multipath._internal.inputs import check_tensor
from multipath._internal.modes import trainable
from multipath._internal.settings import MOST, affordable, between, count, seeded, switch
from multipath._internal.tracing import plain_batches
from multipath.errors import InputError
from multipath.paths import check_indices
from multipath.transforms.base import without_autocast, working_dtype

from .base import Indices, PathDecomposedLoss, Reduction


class SlicedWasserstein(PathDecomposedLoss):
    r"""Sliced Wasserstein distance between clouds of points; a path is a direction.

    .. math:: L_j(x, y) = W_p^p(\langle \theta_j, x \rangle, \langle \theta_j, y \rangle)
        = \int_0^1 \lvert F_j^{-1}(u) - G_j^{-1}(u) \rvert^p \, du

    with :math:`\theta_j` on the unit sphere, :math:`F_j^{-1}` and :math:`G_j^{-1}` the quantile
    functions of the projected clouds. The mean over paths is the distance to the power p: no root
    is taken, which a mean of paths could not have. All paths cost the same.

    Input has shape (batch, n, dim) and target (batch, m, dim); n and m may differ. With ``masses``
    each has one more column, how much every point weighs: (batch, n, dim + 1). Masses are made to
    sum to 1 in each cloud, and points of mass 0 do not count, so that clouds of several sizes fit
    in one batch. Gradients reach points and masses.

    Args:
        dim: Coordinates of a point.
        n_projections: P, the number of directions.
        p: The power, from 1 to 16: beyond, powers of ordinary distances overflow.
        generator: Seed, or generator on the CPU, of the directions. They are drawn once, and saved
            with the module, whose casts never bring them below float32.
        masses: Whether the last column holds masses. They are checked at each call, for which an
            accelerator has to be waited for.
        weights: :math:`w_j`, default 1/P.
        reduction: Over the batch: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ConfigurationError: If dim or n_projections is not a positive integer, p is out of range, or
            generator is neither a seed nor a generator.

    Example:
        >>> loss = SlicedWasserstein(dim=1, n_projections=4)
        >>> x = torch.tensor([[[0.0], [1.0], [5.0]]])
        >>> loss(x, x + 2.0)  # a translation costs its length to the power p
        tensor(4.)
        >>> loss(x, torch.tensor([[[2.0]]]))  # all goes to one point: (4 + 1 + 9) / 3
        tensor(4.6667)

    Source: Bonneel et al., *Sliced and Radon Wasserstein barycenters of measures*, 2015.
    """

    projections: Tensor

    @trainable
    def __init__(
        self,
        dim: int,
        n_projections: int = 50,
        *,
        p: float = 2.0,
        generator: int | torch.Generator = 0,
        masses: bool = False,
        weights: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        dim, n_projections = count("dim", dim), count("n_projections", n_projections)
        affordable("directions", n_projections, MOST)
        affordable("numbers in directions", n_projections * dim)
        power = between("the power p", p, 1, 16)
        super().__init__(n_projections, weights=weights, reduction=reduction)
        self.dim, self.p, self.masses = dim, power, switch("masses", masses)
        normal = torch.randn(
            n_projections, dim, generator=seeded(generator), dtype=torch.float64, device="cpu"
        )
        unit = normal / torch.linalg.vector_norm(normal, dim=1, keepdim=True)
        self._drawn_in = torch.promote_types(torch.get_default_dtype(), torch.float32)
        # persistent: a checkpoint goes on with its own directions, whatever the seed
        unit = unit.to(torch.empty(0).device, self._drawn_in)
        self.register_buffer("projections", unit)

    @property
    def compilable(self) -> bool:
        """Whether there are no masses, whose values are looked at."""
        return not self.masses

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """Transport cost along each chosen direction.

        Args:
            input: Clouds of shape (batch, n, dim), or (batch, n, dim + 1) with masses.
            target: The same with m points each.
            indices: Which directions.

        Raises:
            InputError: If shapes, dtypes or devices do not fit, a cloud is empty, or masses are
                negative or sum to zero.
        """
        chosen = check_indices(indices, len(self.paths))
        self._check(input, target)
        rows = torch.as_tensor(chosen, dtype=torch.long, device="cpu")
        rows = rows.to(input.device, non_blocking=True)
        directions = self.projections.to(input.device, working_dtype(input)).index_select(0, rows)
        with without_autocast(input.device.type):  # sorting half precision makes ties
            x, y = (self._project(cloud, directions) for cloud in (input, target))
            if x.shape == y.shape and not self.masses:
                return self._power(x.sort().values - y.sort().values).mean(dim=-1).T
            return self._transport(x, self._shares(input), y, self._shares(target)).T

    def target_norms(self, target: Tensor, indices: Indices) -> Tensor:
        """Root of the cost of moving the target to the origin, its masses as they are."""
        self._check(target, target)
        origin = target.detach().clone()
        origin[..., : self.dim] = 0
        with torch.no_grad():
            return self.evaluate(origin, target, indices).sqrt()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SlicedWasserstein:
        """Follow the module anywhere, but keep the precision that the directions were drawn in."""
        before = self.projections
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        dtype = torch.promote_types(self.projections.dtype, self._drawn_in)
        if dtype != self.projections.dtype:
            self.projections = before.to(self.projections.device, dtype)
        return self

    def _project(self, cloud: Tensor, directions: Tensor) -> Tensor:
        """Coordinates along the directions, (batch, k, n)."""
        return directions @ cloud[..., : self.dim].to(directions).mT

    def _shares(self, cloud: Tensor) -> Tensor:
        """Mass of each point, (batch, n), summing to 1."""
        if not self.masses:
            return cloud.new_full(cloud.shape[:2], 1 / cloud.shape[1], dtype=working_dtype(cloud))
        mass = cloud[..., self.dim].to(working_dtype(cloud))
        total = mass.sum(dim=1, keepdim=True)
        given, sums = plain_batches(mass, total)
        if not given.is_meta and bool((given < 0).any() or (sums == 0).any()):
            raise InputError(
                "the masses of a cloud, its last column, must not be negative and not all zero, "
                f"got masses from {float(given.min()):g} and a least sum of {float(sums.min()):g}"
            )
        return mass / total

    def _transport(self, x: Tensor, a: Tensor, y: Tensor, b: Tensor) -> Tensor:
        """The integral: between two levels of either cloud both quantiles are constant."""
        (x, up_to_x), (y, up_to_y) = _ranked(x, a), _ranked(y, b)
        levels = torch.cat([up_to_x, up_to_y], dim=-1).sort().values
        widths = levels.diff(dim=-1, prepend=torch.zeros_like(levels[..., :1]))
        costs = self._power(_quantiles(x, up_to_x, levels) - _quantiles(y, up_to_y, levels))
        return (widths * costs).sum(dim=-1)

    def _power(self, difference: Tensor) -> Tensor:
        """|difference|^p, with a finite slope at zero."""
        if self.p == 2:
            return difference.square()
        return difference.abs() if self.p == 1 else difference.abs().pow(self.p)

    def _check(self, input: Tensor, target: Tensor) -> None:
        columns = self.dim + self.masses
        for name, cloud in (("input", input), ("target", target)):
            check_tensor(cloud, name)
            if not cloud.is_floating_point():
                raise InputError(f"{name} must hold real floating-point numbers, got {cloud.dtype}")
            if cloud.ndim != 3 or cloud.shape[2] != columns or 0 in cloud.shape:
                wanted = "dim + 1, the last for masses" if self.masses else "dim"
                raise InputError(
                    f"{name} must have shape (batch, points, {columns}), {columns} being {wanted}, "
                    f"and a point at least, got {tuple(cloud.shape)}"
                )
        kinds = [(working_dtype(cloud), cloud.device) for cloud in (input, target)]
        if kinds[0] != kinds[1]:
            raise InputError(
                f"input and target must have the same dtype and device, got {kinds[0]} and "
                f"{kinds[1]}"
            )

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"{super().extra_repr()}, dim={self.dim}, p={self.p:g}, masses={self.masses}"


def _ranked(x: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates in order, and the mass up to and with each."""
    ordered, order = x.sort()
    mass = shares[:, None].expand_as(x).gather(-1, order)
    return ordered, mass.cumsum(dim=-1)


def _quantiles(ordered: Tensor, up_to: Tensor, levels: Tensor) -> Tensor:
    # rounding may leave the highest level above the whole mass
    place = torch.searchsorted(up_to.detach(), levels.detach()).clamp_max(ordered.shape[-1] - 1)
    return ordered.gather(-1, place)
