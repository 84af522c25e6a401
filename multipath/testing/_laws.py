"""Distributions of draws computed from enumerations, and a test of frequencies against them."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from multipath.samplers import Sampler
from multipath.stochastic import StochasticLoss

from ._checks import require

Law = dict[tuple[int, ...], float]


def law_of(sampler: Sampler, n_draws: int, ordered: bool = True) -> Law:
    """Probability of every draw; draws that are enumerated several times are added up.

    Args:
        sampler: Bound to paths.
        n_draws: Number of draws k.
        ordered: Whether draws of the same paths in another order are told apart.
    """
    law: Law = {}
    for indices, probability in sampler.enumerate(n_draws):
        draw = tuple(indices if ordered else sorted(indices))
        law[draw] = law.get(draw, 0.0) + probability
    require(bool(law), f"enumerate({n_draws}) must yield every possible draw and yielded none")
    return law


def moments(sampler: Sampler, n_draws: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of how often each path is drawn."""
    law, n_paths = law_of(sampler, n_draws), sampler.n_paths or 0
    counts = torch.stack(
        [torch.bincount(torch.tensor(draw), minlength=n_paths).double() for draw in law]
    )
    probabilities = torch.tensor(list(law.values()), dtype=torch.float64)
    mean = probabilities @ counts
    return mean, (counts.T * probabilities) @ counts - mean[:, None] * mean


def mean_weights(criterion: StochasticLoss) -> Tensor:
    """Weight of each path in an estimate, averaged over all draws: w_p if unbiased."""
    mean = torch.zeros(len(criterion.loss.paths), dtype=torch.float64)
    for indices, probability in criterion.sampler.enumerate(criterion.n_draws):
        draw = criterion.make_draw(indices)
        mean.index_add_(0, draw.indices, probability * draw.weights)
    return mean


def tail_probability(law: Law, counts: Counter[tuple[int, ...]]) -> float:
    """Probability of counts that deviate at least as much as these, by Pearson's chi-square test.

    Rare draws are pooled, since the test needs an expected count of about five in each cell.

    Args:
        law: The expected distribution.
        counts: How often each draw was made.
    """
    if not counts.keys() <= law.keys():
        return 0.0
    total = counts.total()
    cells: list[list[float]] = [[0.0, 0.0]]
    for draw in sorted(law, key=lambda draw: law[draw]):
        if cells[-1][1] >= 5:
            cells.append([0.0, 0.0])
        cells[-1][0] += counts[draw]
        cells[-1][1] += total * law[draw]
    if len(cells) < 2:
        return 1.0
    observed, expected = torch.tensor(cells, dtype=torch.float64).unbind(dim=1)
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = torch.tensor(len(cells) - 1.0, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom / 2, statistic / 2))
