"""A small path-decomposed loss with known answers, for tests and examples."""

from __future__ import annotations

import torch
from torch import Tensor

from multipath._internal.inputs import check_real
from multipath.losses import PathDecomposedLoss
from multipath.losses.base import Indices


class QuadraticLoss(PathDecomposedLoss):
    r"""Quadratic paths of different curvature and minimum, over vectors of any size D.

    .. math:: L_p(x, y) = (p + 1) \sum_d (x_d - y_d - p / P)^2

    Args:
        paths: P, or a path table.
        **options: Passed to :class:`~multipath.PathDecomposedLoss`.

    Example:
        >>> loss = QuadraticLoss(2)
        >>> loss.path_losses(torch.ones(1, 1), torch.zeros(1, 1), [0, 1])
        tensor([[1.0000],
                [0.5000]])
    """

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """Quadratic losses of input and target, both of shape (batch, D)."""
        check_real(input, "input")
        check_real(target, "target")
        numbers = torch.as_tensor(indices, dtype=input.dtype, device="cpu")
        p = numbers.to(input.device, non_blocking=True)[:, None, None]
        return ((p + 1) * (input - target - p / len(self.paths)) ** 2).sum(dim=-1)
