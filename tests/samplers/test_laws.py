"""What is true of every sampler of the table, proved by enumeration."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samplers.cases import CASES, make, season

from .cases import law_of

N_PATHS = [1, 2, 3, 7]


ALL = [(name, k) for name in CASES for k in (1, 2, 3)]


def close(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.distinct])
@pytest.mark.parametrize("n_paths", N_PATHS)
def test_draws_without_replacement_are_distinct(name, n_paths):
    sampler, generator = make(name, n_paths), torch.Generator().manual_seed(0)
    for n_draws in range(1, n_paths + 1):
        assert (n_draws * sampler.inclusion(n_draws) <= 1 + 1e-12).all()
        for indices in law_of(sampler, n_draws):
            assert list(indices) == sorted(set(indices))
        for _ in range(20):
            indices, shares = sampler.draw(n_draws, generator)
            assert indices.tolist() == indices.unique().tolist()
            close(shares, sampler.inclusion(n_draws)[indices])
    with pytest.raises(
        ValueError, match=f"{n_paths + 1} draws without replacement: only {n_paths}"
    ):
        sampler.check_draws(n_paths + 1)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=10)
@given(order=st.permutations(range(5)), n_draws=st.sampled_from([1, 2, 3]))
def test_relabelling_the_paths_relabels_the_law(name, order, n_draws):
    weights = torch.tensor([0.1, 0.3, 0.2, 0.15, 0.25], dtype=torch.float64)
    plain = make(name, 5, weights)
    relabelled = make(name, 5, weights[order], labels=order)
    close(relabelled.inclusion(n_draws), plain.inclusion(n_draws)[order])
    if n_draws > 1 and CASES[name].follows_table:
        return
    close(
        relabelled.count_covariance(n_draws),
        plain.count_covariance(n_draws)[order][:, order],
    )
    expected = Counter()
    for indices, probability in law_of(plain, n_draws).items():
        expected[tuple(sorted(indices))] += probability
    actual = Counter()
    for indices, probability in law_of(relabelled, n_draws).items():
        actual[tuple(sorted(order[i] for i in indices))] += probability
    assert actual.keys() == expected.keys()
    assert all(actual[key] == pytest.approx(expected[key], rel=1e-10) for key in expected)


@pytest.mark.parametrize(("name", "n_draws"), ALL)
def test_identical_paths_give_no_variance_where_shares_follow_the_weights(name, n_draws):
    """The estimate of equal losses is sum_p n_p w_p / (k pi_p): constant if pi = w; and else only
    if every n_p is."""
    sampler = make(name, 7)
    shares = sampler.inclusion(n_draws)
    scale = torch.where(shares > 0, shares / (n_draws * shares), 0.0)  # w = pi
    covariance = sampler.count_covariance(n_draws)
    mixed = name.startswith("mixture")  # components have shares of their own
    matching = scale @ covariance @ scale
    assert abs(matching) < 1e-14 or (mixed and matching > 0)
    equal = 1 / (7 * n_draws * shares.clamp_min(1e-300))  # w = 1/P
    flat = bool(torch.allclose(shares, torch.full_like(shares, 1 / 7)))
    if CASES[name].biased:
        return
    assert (float(equal @ covariance @ equal) < 1e-14) == flat


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
