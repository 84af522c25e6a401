"""Uniform draws, with and without replacement."""

import pytest
import torch
from scipy import stats

from multipath import StochasticLoss
from multipath.samplers import Uniform
from multipath.testing import QuadraticLoss

from .cases import make


@pytest.mark.parametrize("n_draws", [3, 8])
def test_random_subsets_of_large_and_small_share_are_alike(n_draws):
    """Two algorithms, one law: each pair of 40 paths is as likely as any other."""
    sampler, generator = make("uniform, distinct", 40), torch.Generator().manual_seed(0)
    counts = torch.zeros(40)
    for _ in range(2000):
        counts[sampler.draw(n_draws, generator)[0]] += 1
    assert stats.chisquare(counts).pvalue > 1e-6


def test_a_criterion_of_a_million_paths_draws_without_listing_them():
    criterion = StochasticLoss(QuadraticLoss(10**6), Uniform(replacement=False), 8, generator=0)
    x = torch.ones(2, 2, requires_grad=True)
    criterion(x, torch.zeros(2, 2)).backward()
    assert len(criterion.last_draw.indices) == 8
