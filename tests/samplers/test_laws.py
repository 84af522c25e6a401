"""What samplers of the table owe besides the shipped tests: they scale, and their cases learn."""

import pytest
import torch
from scipy import stats

from .cases import CASES, make, season


@pytest.mark.parametrize(
    "name", [n for n in CASES if n not in ("stratified", "stratified importance")]
)
@pytest.mark.slow
def test_a_million_paths(name):
    sampler, generator = make(name, 10**6, seasoned=False), torch.Generator().manual_seed(0)
    sampler.check_draws(8)
    for _ in range(20):
        wanted = sampler.wants_observation()
        indices, shares = sampler.draw(8, generator)
        assert (shares > 0).all()
        if wanted:
            sampler.observe(indices.unique(), torch.ones(len(indices.unique())).double())
    torch.testing.assert_close(sampler.shares(indices, 8), shares, rtol=1e-12, atol=1e-12)


def test_seasoning_changes_the_samplers_that_learn():
    for name in ("running energy", "adaptive", "mixture with memory"):
        sampler = make(name, 7, seasoned=False)
        before = sampler.probabilities
        assert not torch.allclose(season(sampler).probabilities, before)


@pytest.mark.parametrize("n_draws", [3, 8])
def test_random_subsets_of_large_and_small_share_are_alike(n_draws):
    """Two algorithms, one law: each pair of 40 paths is as likely as any other."""
    sampler, generator = make("uniform, distinct", 40), torch.Generator().manual_seed(0)
    counts = torch.zeros(40)
    for _ in range(2000):
        counts[sampler.draw(n_draws, generator)[0]] += 1
    assert stats.chisquare(counts).pvalue > 1e-6
