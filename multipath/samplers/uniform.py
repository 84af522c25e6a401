"""Every path equally likely."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from multipath._internal.settings import switch
from multipath.paths import PathTable

from ._subsets import check_subset, draw_subset, enumerate_subsets, subset_covariance
from .categorical import Categorical


class Uniform(Categorical):
    r"""Draws every path with probability :math:`\pi_p = 1/P`.

    Where some paths have weight 0 in the loss, P is the number of the others.

    Unbiased (proposition 3.1 of SCRAPL, Mitcheltree et al., ICLR 2026).

    Without replacement all subsets of k paths are equally likely (simple random sampling), whatever
    the order of the table: the variance is that of independent draws times
    :math:`(P - k) / (P - 1)`. To spread draws over rates or orders, see :class:`Stratified`.

    Args:
        replacement: Whether a path can appear twice in a draw.

    Raises:
        ConfigurationError: If asked for probabilities before it is part of a criterion, or for
            more than P draws without replacement.

    Example:
        >>> from multipath import StochasticLoss
        >>> from multipath.testing import QuadraticLoss
        >>> criterion = StochasticLoss(QuadraticLoss(4), sampler=Uniform(), generator=0)
        >>> criterion.sampler.probabilities
        tensor([0.2500, 0.2500, 0.2500, 0.2500], dtype=torch.float64)
    """

    def __init__(self, replacement: bool = True) -> None:
        self.replacement = switch("replacement", replacement)
        self._probabilities: Tensor | None = None

    @property
    def probabilities(self) -> Tensor:
        """1/P for each path of positive weight."""
        return self._once_bound(self._probabilities)

    def bind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """Fit the sampler to a loss and spread the probability over its paths."""
        super().bind(paths, weights)
        self._probabilities = self._uniform(len(paths))

    def draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw k paths, in O(k) whatever P is."""
        probabilities, n_paths = self.probabilities, self._size
        if self.replacement:
            uniform = torch.rand(n_draws, generator=generator, dtype=torch.float64, device="cpu")
            positions = (uniform * n_paths).long()
        else:
            positions = draw_subset(n_paths, n_draws, generator)
        indices = self._to_paths(positions)
        return indices, probabilities[indices]

    def check_draws(self, n_draws: int) -> None:
        """Refuse more distinct paths than there are."""
        if not self.replacement:
            check_subset(self._size, n_draws, "Uniform")

    def inclusion(self, n_draws: int) -> Tensor:
        """1/P for each path of positive weight, with or without replacement."""
        return self.probabilities

    def enumerate(self, n_draws: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every possible draw with its probability: P^k of them, or all subsets of k paths."""
        if self.replacement:
            return super().enumerate(n_draws)
        return enumerate_subsets(self._to_paths(torch.arange(self._size, device="cpu")), n_draws)

    def count_covariance(self, n_draws: int) -> Tensor:
        r""":math:`\frac k P (I - \frac 1 P 1 1^\top)`, less without replacement."""
        if self.replacement:
            return super().count_covariance(n_draws)
        return subset_covariance(self.probabilities, n_draws)
