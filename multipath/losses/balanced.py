"""A loss in which quiet paths count: each is divided by a power of its typical size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import isclose

import torch
from torch import Tensor

from multipath._internal.inputs import check_tensor
from multipath._internal.modes import trainable
from multipath._internal.settings import between, positive, vector
from multipath._internal.state import ANOTHER, check_kind, loaded_tensor, pack, unpack
from multipath.errors import ConfigurationError, InputError
from multipath.paths import check_indices

from ._targets import average_over_targets
from .base import Indices, PathDecomposedLoss

SILENT = 4e-4
"""Default floor: a path whose norm is below 2 % of the largest counts as silent."""


class BalancedLoss(PathDecomposedLoss):
    r"""A loss whose paths are divided by a power of their typical size.

    .. math:: L = \sum_p w'_p L_p, \qquad
        w'_p = c\, \frac{w_p}{(\ell_p + f \max_q \ell_q)^a}, \qquad \sum_p w'_p = \sum_p w_p

    where :math:`\ell_p` is the typical size of path p. In a scattering transform sizes span many
    orders of magnitude, and the mean over paths hears the loudest few only. With a = 0 this is that
    mean; with a = 1 every path counts relative to its own size, as if all were equally loud. A path
    far below the fraction f of the loudest counts as if it were at f, since what is left of it is
    mostly rounding and leakage. P-Adam balances paths too, but by normalising gradients, so that
    what it minimises cannot be written down. This can.

    The weights are fixed at construction, so estimates from any sampler remain unbiased; they are
    part of ``state_dict()``. Groups, criteria and optimizers made of this loss follow when it
    restores others.

    Args:
        loss: The loss to balance.
        sizes: :math:`\ell_p \ge 0`, shape (P,), not all zero. :meth:`from_targets` measures them.
        power: a, from 0 (mean over paths) to 1 (every path counts equally).
        floor: f > 0, as a fraction of the largest size. Default 4e-4: for squared distances, a
            norm 2 % of the largest.

    Raises:
        ConfigurationError: If an argument is out of range.

    Example:
        >>> from multipath.testing import QuadraticLoss
        >>> loss = QuadraticLoss(2)
        >>> balanced = BalancedLoss(loss, sizes=[3.0, 0.0], power=1.0, floor=1.0)
        >>> balanced.path_weights
        tensor([0.3333, 0.6667], dtype=torch.float64)
    """

    def __init__(
        self,
        loss: PathDecomposedLoss,
        sizes: Sequence[float] | Tensor,
        power: float = 0.5,
        floor: float = SILENT,
    ) -> None:
        power, floor = between("power", power, 0, 1), positive("floor", floor)
        values = vector("sizes", sizes)
        n_paths = len(loss.paths)
        if values.shape != (n_paths,):
            raise ConfigurationError(
                f"sizes must have one entry per path, shape ({n_paths},), got {tuple(values.shape)}"
            )
        if not bool(torch.isfinite(values).all() and (values >= 0).all() and values.max() > 0):
            raise ConfigurationError("sizes must be finite, not negative and not all zero")
        relative = values / values.max() + floor
        weights = loss.path_weights * relative**-power
        weights *= loss.path_weights.sum() / weights.sum()
        super().__init__(loss.paths, weights=weights, reduction=loss.reduction)
        self.loss, self.power, self.floor = loss, power, floor

    @classmethod
    def from_targets(
        cls,
        loss: PathDecomposedLoss,
        batches: Iterable[Tensor] | Tensor,
        power: float = 0.5,
        floor: float = SILENT,
    ) -> BalancedLoss:
        r"""Measure the sizes on batches of targets: :math:`\ell_p = \text{mean}_y L_p(0, y)`.

        Args:
            loss: The loss to balance. Zero must stand for silence in it.
            batches: Target tensors, batch first; one tensor is one batch. A few dozen examples are
                enough.
            power: a, from 0 (mean over paths) to 1 (every path counts equally).
            floor: f, the fraction of the loudest path below which paths count as silent.

        Raises:
            InputError: If there is no batch, one that is not a tensor, or one with NaN.

        Example:
            >>> from multipath import TransformLoss
            >>> from multipath.transforms import MultiResolutionSTFT
            >>> loss = TransformLoss(MultiResolutionSTFT([64, 128], [16, 32], [64, 128]))
            >>> tone = torch.sin(0.3 * torch.arange(1024.0))
            >>> balanced = BalancedLoss.from_targets(loss, [tone[None]], power=1.0)
            >>> values = balanced.path_losses(0 * tone, tone, [0, 1])[:, 0] * balanced.path_weights
            >>> bool(torch.isclose(values[0], values[1], rtol=1e-3))  # both count equally
            True
        """
        power = between("power", power, 0, 1)
        return cls(loss, average_over_targets(batches, partial(from_silence, loss)), power, floor)

    @property
    def compilable(self) -> bool:
        """Whether the original loss is."""
        return self.loss.compilable

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """The path losses of the original loss: balancing changes the weights only."""
        return self.loss.path_losses(input, target, check_indices(indices, len(self.paths)))

    def target_norms(self, target: Tensor, indices: Indices) -> Tensor:
        """The target norms of the original loss."""
        return self.loss.target_norms(target, indices)

    def get_extra_state(self) -> Tensor:
        """The weights as bytes: an objective must be the same after a restart."""
        return pack({"path_weights": self.path_weights.clone()})

    @trainable
    def set_extra_state(self, state: Tensor) -> None:
        """Restore the weights, bit for bit.

        Raises:
            ConfigurationError: If they were saved for another number of paths.
            InputError: If they are not finite, negative, or do not sum to what the weights of the
                loss sum to.
        """
        name = f"the path weights of {type(self).__name__}"
        weights = unpack(state, self, {"path_weights"})["path_weights"]
        check_kind(name, weights, (None,), torch.float64)
        if len(weights) != len(self.paths):
            raise ConfigurationError(
                f"this state balances {len(weights)} paths and the loss has {len(self.paths)}"
            )
        weights = loaded_tensor(name, weights, (len(weights),), torch.float64, 0.0)
        expected, total = float(self.path_weights.sum()), float(weights.sum())
        if not isclose(total, expected, rel_tol=1e-9):
            raise InputError(f"{name} must sum to {expected:.9g}, got {total:.9g}; {ANOTHER}")
        self._path_weights = weights

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"{super().extra_repr()}, power={self.power:g}, floor={self.floor:g}"


def from_silence(loss: PathDecomposedLoss, targets: Tensor) -> Tensor:
    """The sizes of all paths of a batch, L_p(0, y), shape (P, batch)."""
    check_tensor(targets, "targets")
    return loss.evaluate(torch.zeros_like(targets), targets, range(len(loss.paths)))
