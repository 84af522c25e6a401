"""Draws of distinct paths at one random offset: shares, rounding and enumeration."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from multipath import PathTable, StochasticLoss
from multipath.samplers import AdaptiveImportance, Importance, Stratified
from multipath.samplers._systematic import look_up
from multipath.testing import QuadraticLoss
from multipath.testing._laws import law_of, moments


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


@given(
    masses=st.lists(st.integers(1, 6), min_size=2, max_size=8)
    | st.lists(st.floats(-9, 0).map(lambda power: 10.0**power), min_size=2, max_size=7),
    n_draws=st.integers(1, 8),
    labels=st.lists(st.integers(0, 2), min_size=8, max_size=8),
)
@example(masses=[1, 1, 2.5, 1.5, 2, 1], n_draws=2, labels=[0] * 8)  # near ties
@pytest.mark.slow
def test_every_path_is_drawn_as_often_as_its_weight_supposes(masses, n_draws, labels):
    """However skewed a law is, and in single precision too, as it comes out of a model."""
    n_draws = min(n_draws, len(masses))
    pi = torch.tensor(masses, dtype=torch.float64) / sum(masses)
    samplers = [Importance(p, replacement=False) for p in (pi, pi.float())]
    if n_draws <= 3:  # of more there are too many draws to enumerate
        samplers.append(Stratified(labels[: len(pi)], pi))
    for sampler in samplers:
        StochasticLoss(QuadraticLoss(len(pi)), sampler, n_draws)
        expected = n_draws * sampler.inclusion(n_draws)
        torch.testing.assert_close(moments(sampler, n_draws)[0], expected, rtol=1e-12, atol=0)
    if n_draws == 1:
        for sampler in (samplers[0], samplers[2]):
            torch.testing.assert_close(sampler.inclusion(1), pi, rtol=1e-15, atol=0)


@pytest.mark.parametrize("n_draws", [1, 2])
def test_what_is_nearly_certain_leaves_the_rest_possible(n_draws):
    rare = [1e-13] if n_draws == 1 else [0.5, 1e-13]
    pi = torch.tensor([1 - sum(rare), *rare], dtype=torch.float64)
    adaptive = AdaptiveImportance(floor=0.0, replacement=False)
    samplers = [Importance(pi, replacement=False), adaptive]
    for sampler in samplers:
        sampler.bind(PathTable(len(pi)))
    adaptive.observe(torch.arange(len(pi)), pi)
    for sampler in samplers:
        counts = moments(sampler, n_draws)[0]
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
