"""Draws from given probabilities: independent, or k distinct paths."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from ._subsets import check_subset
from ._systematic import enumerate_systematic, expected_counts, look_up, systematic_points
from .base import Sampler


class Categorical(Sampler):
    r"""Draws from the law :math:`\pi` that a subclass defines as :attr:`probabilities`.

    With replacement (the default) draws are independent. Without, the k paths of a draw are
    distinct, and path p is among them with probability exactly :math:`\min(1, c \pi_p)`, where c
    makes these sum to k: systematic sampling. Paths taken always leave their share to the others.

    Paths of weight 0 in the loss are left out, and the law divided by the sum of the rest.

    Either way a draw costs :math:`O(k \log P)`: points looked up in the cumulative probabilities.

    Systematic draws are spread evenly over the table: where neighbours are alike (a table in order
    of rate) they vary less than independent ones, as if stratified; where the table repeats itself
    with a period near P/k they may vary more.

    Attributes:
        replacement: Whether a path can appear twice in a draw.
    """

    replacement: bool = True
    _plan: _Plan | None = None

    def draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw k paths: independent ones, or distinct ones in ascending order."""
        plan = self._planned(n_draws)
        if self.replacement:
            points = torch.rand(n_draws, generator=generator, dtype=torch.float64, device="cpu")
            indices = look_up(plan.cumulative, points)
        else:
            points = systematic_points(n_draws - len(plan.certain), generator)
            drawn = look_up(plan.cumulative, points)
            indices = torch.cat([plan.certain, drawn]).sort().values
        return indices, plan.shares[indices]

    def check_draws(self, n_draws: int) -> None:
        """Refuse more distinct paths than can be drawn."""
        if not self.replacement:
            possible = int((self.conditioned(self.probabilities) > 0).sum())
            check_subset(possible, n_draws, type(self).__name__)

    def inclusion(self, n_draws: int) -> Tensor:
        r""":math:`\pi_p` with replacement, else :math:`\min(1, c \pi_p) / k`."""
        return self._planned(n_draws).shares

    def enumerate(self, n_draws: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every possible draw with its probability: P^k of them, or at most P if systematic.

        Example:
            >>> from multipath.samplers import Importance
            >>> list(Importance([0.25, 0.75]).enumerate(1))
            [((0,), 0.25), ((1,), 0.75)]
        """
        if not self.replacement and n_draws > 1:
            yield from enumerate_systematic(self._planned(n_draws).counts)
            return
        law = self._planned(n_draws).law.tolist()
        possible = [path for path, probability in enumerate(law) if probability > 0]
        for indices in product(possible, repeat=n_draws):
            yield indices, prod(law[index] for index in indices)

    def count_covariance(self, n_draws: int) -> Tensor:
        r""":math:`k (\operatorname{diag} \pi - \pi \pi^\top)` with replacement."""
        if not self.replacement:
            return super().count_covariance(n_draws)
        pi = self._planned(n_draws).law
        return n_draws * (torch.diag(pi) - pi[:, None] * pi)

    def coverage(self, n_draws: int) -> Tensor:
        r""":math:`1 - (1 - \pi_p)^k` with replacement, else :math:`k` times the inclusion."""
        if not self.replacement:
            return n_draws * self.inclusion(n_draws)
        law = self._planned(n_draws).law.clamp_max(1)  # rounding may leave it above
        return -torch.expm1(n_draws * torch.log1p(-law))

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"replacement={self.replacement}"

    def _planned(self, n_draws: int) -> _Plan:
        """What draws of k need repeatedly; recomputed when the probabilities change."""
        probabilities, plan = self.probabilities, self._plan
        if plan is None or plan.probabilities is not probabilities or plan.n_draws != n_draws:
            law = self.conditioned(probabilities)
            plan = self._plan = _make_plan(probabilities, law, n_draws, self.replacement)
        return plan


class _Plan(NamedTuple):
    """What follows from one vector of probabilities and one number of draws."""

    probabilities: Tensor
    """What the law was made from."""
    law: Tensor
    """The probabilities among the paths of positive weight."""
    n_draws: int
    counts: Tensor
    """The expected number of times that each path appears in a draw."""
    shares: Tensor
    """The expected counts divided by k."""
    certain: Tensor
    """The paths that every draw without replacement holds."""
    cumulative: Tensor
    """The cumulative masses of all other paths."""


def _make_plan(probabilities: Tensor, law: Tensor, n_draws: int, replacement: bool) -> _Plan:
    if replacement:
        none = torch.empty(0, dtype=torch.int64, device="cpu")
        return _Plan(probabilities, law, n_draws, n_draws * law, law, none, law.cumsum(0))
    counts = expected_counts(law, n_draws)
    certain = counts == 1
    cumulative = counts.masked_fill(certain, 0.0).cumsum(0)
    sure = certain.nonzero().flatten()
    return _Plan(probabilities, law, n_draws, counts, counts / n_draws, sure, cumulative)
