"""Draws of distinct paths at one random offset: shares, rounding and enumeration."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath import PathTable, StochasticLoss
from multipath.samplers import (
    AdaptiveImportance,
    Importance,
    Stratified,
)
from multipath.samplers._systematic import look_up
from multipath.testing import QuadraticLoss

from .cases import law_of


def single(probabilities):
    """As they come out of a model."""
    return torch.as_tensor(probabilities, dtype=torch.float64).float()


def mean_counts(sampler, n_draws):
    """Of every path, summed exactly over a law whose probabilities sum to 1."""
    law = law_of(sampler, n_draws)
    assert math.fsum(law.values()) == pytest.approx(1, rel=1e-13)
    n_paths = len(sampler.probabilities)
    assert all(0 <= index < n_paths for indices in law for index in indices)
    return torch.tensor(
        [math.fsum(law[i] * i.count(path) for i in law) for path in range(n_paths)],
        dtype=torch.float64,
    )


@given(
    masses=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12),
    data=st.data(),
)
@pytest.mark.slow
def test_capped_shares_are_the_least_change_that_sums_to_k(masses, data):
    """min(1, c pi_p) for one c, found by bisection."""
    pi = torch.tensor(masses, dtype=torch.float64) / sum(masses)
    n_draws = data.draw(st.integers(1, len(masses)))
    counts = n_draws * Importance(pi, replacement=False).inclusion(n_draws)
    low, high = 0.0, 1e14
    for _ in range(200):
        c = (low + high) / 2
        low, high = (c, high) if (c * pi).clamp(max=1).sum() < n_draws else (low, c)
    torch.testing.assert_close(counts, (high * pi).clamp(max=1), rtol=1e-8, atol=1e-8)


def test_near_ties_are_enumerated_among_the_paths_there_are():
    probabilities = single([mass / 9 for mass in (1, 1, 2.5, 1.5, 2, 1)])
    sampler = Importance(probabilities, replacement=False)
    torch.testing.assert_close(
        mean_counts(sampler, 2), 2 * sampler.inclusion(2), rtol=1e-13, atol=0
    )


@given(data=st.data())
@pytest.mark.slow
def test_systematic_laws_of_small_fractions(data):
    masses = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=8))
    n_draws = data.draw(st.integers(1, len(masses)))
    pi = torch.tensor(masses, dtype=torch.float64) / sum(masses)
    for probabilities in (single(pi), pi):
        sampler = Importance(probabilities, replacement=False)
        expected = n_draws * sampler.inclusion(n_draws)
        torch.testing.assert_close(mean_counts(sampler, n_draws), expected, rtol=1e-12, atol=0)


@given(data=st.data())
@pytest.mark.slow
def test_rare_paths_keep_their_share(data):
    """However skewed a law is, its enumeration has every path as often as its weight supposes."""
    powers = data.draw(st.lists(st.floats(-9, 0), min_size=2, max_size=7))
    masses = 10.0 ** torch.tensor(powers, dtype=torch.float64)
    n_draws = data.draw(st.integers(1, min(3, len(powers))))
    labels = data.draw(st.lists(st.integers(0, 2), min_size=len(powers), max_size=len(powers)))
    pi = masses / masses.sum()
    for sampler in (Importance(pi, replacement=False), Stratified(labels, pi)):
        StochasticLoss(QuadraticLoss(len(pi)), sampler, n_draws)
        expected = n_draws * sampler.inclusion(n_draws)
        torch.testing.assert_close(mean_counts(sampler, n_draws), expected, rtol=1e-12, atol=0)
        if n_draws == 1:
            torch.testing.assert_close(sampler.inclusion(1), pi, rtol=1e-15, atol=0)


@pytest.mark.parametrize("n_draws", [1, 2])
def test_what_is_nearly_certain_leaves_the_rest_possible(n_draws):
    rare = [1e-13] if n_draws == 1 else [0.5, 1e-13]
    pi = torch.tensor([1 - sum(rare), *rare], dtype=torch.float64)
    adaptive = AdaptiveImportance(floor=0.0, replacement=False)
    adaptive.bind(PathTable(len(pi)))
    adaptive.observe(torch.arange(len(pi)), pi)
    for sampler in (Importance(pi, replacement=False), adaptive):
        counts = mean_counts(sampler, n_draws)
        assert (counts > 0).all()
        every = torch.arange(len(pi))
        for shares in (sampler.inclusion(n_draws), sampler.shares(every, n_draws)):
            torch.testing.assert_close(counts, n_draws * shares, rtol=1e-12, atol=0)


def test_a_uniform_number_at_either_end_finds_a_path_that_is_possible():
    cumulative = torch.tensor([0.0, 0.3, 0.3], dtype=torch.float64)
    ends = torch.tensor([0.0, 1 - 2.0**-53, 1.0], dtype=torch.float64)
    assert look_up(cumulative, ends).tolist() == [1, 1, 1]


def test_rounding_makes_no_draws():
    """0.1 + 0.2 is not 0.3, and yet the last path alone fills the last slot."""
    pi = [0.1, 0.2, 0.3, 0.4]
    assert len(law_of(Importance(pi, replacement=False), 2)) == 3
    sampler = Stratified([0, 0, 1, 2], [0.1, 0.2, 0.3, 0.4])
    sampler.bind(PathTable(4))
    assert (sampler.count_covariance(10).diag() > 1e-12).sum() == 0
