"""What samplers of the table owe besides the shipped tests: they scale, and their cases learn."""

import pytest
import torch

from .cases import CASES, make, season


def close(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=atol)


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
    close(sampler.shares(indices, 8), shares)


def test_seasoning_changes_the_samplers_that_learn():
    for name in ("running energy", "adaptive", "mixture with memory"):
        sampler = make(name, 7, seasoned=False)
        before = sampler.probabilities
        assert not torch.allclose(season(sampler).probabilities, before)
