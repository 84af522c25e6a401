"""What is true of every sampler of the table, proved by enumeration, and of what it draws."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from multipath import PathTable, StochasticLoss
from multipath.samplers import AdaptiveImportance, Importance, Reshuffle, Stratified, Uniform
from multipath.testing import QuadraticLoss

from .cases import CASES, make, season

N_PATHS = [1, 2, 3, 7]
ALL = [(name, k) for name in CASES for k in (1, 2, 3)]


def law_of(sampler, n_draws):
    """Probability of each draw."""
    law = Counter()
    for indices, probability in sampler.enumerate(n_draws):
        assert len(indices) == n_draws
        law[indices] += probability
    return law


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


def test_estimates_without_gradients_do_not_deal_out_the_epoch():
    def criterion():
        return StochasticLoss(QuadraticLoss(9), Reshuffle(), n_draws=2, generator=0)

    def train(criterion):
        criterion(torch.ones(1, 1, requires_grad=True), torch.zeros(1, 1))
        return criterion.last_draw.indices.tolist()

    plain, interrupted = criterion(), criterion()
    for _ in range(9):
        with torch.no_grad():
            interrupted(torch.ones(1, 1), torch.zeros(1, 1))
        assert train(interrupted) == train(plain)


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


@given(data=st.data())
@settings(max_examples=50)
def test_stratification_never_has_more_variance_than_independent_draws(data):
    n_paths = data.draw(st.integers(1, 7))
    masses = data.draw(st.lists(st.floats(0.01, 1), min_size=n_paths, max_size=n_paths))
    pi = torch.tensor(masses, dtype=torch.float64) / sum(masses)
    labels = data.draw(st.lists(st.integers(0, 2), min_size=n_paths, max_size=n_paths))
    n_draws = data.draw(st.integers(1, 5))
    sampler = Stratified(by=lambda path: labels[path.index], probabilities=pi)
    StochasticLoss(QuadraticLoss(n_paths), sampler, n_draws)
    excess = Importance(pi).count_covariance(n_draws) - sampler.count_covariance(n_draws)
    assert torch.linalg.eigvalsh(excess).min() > -1e-12


def test_strata_get_their_share_of_the_draws():
    sampler = Stratified(by=[[0, 1, 2, 3], [4, 5], [6, 7]])
    StochasticLoss(QuadraticLoss(8), sampler, 4)
    for indices, _ in sampler.enumerate(4):
        assert sum(i < 4 for i in indices) == 2
        assert sum(i in (4, 5) for i in indices) == sum(i in (6, 7) for i in indices) == 1


@given(
    masses=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12),
    data=st.data(),
)
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


@pytest.mark.parametrize(("n_paths", "n_draws"), [(5, 1), (5, 2), (5, 5), (7, 3), (1, 1)])
def test_reshuffling_deals_each_path_once_an_epoch(n_paths, n_draws):
    sampler, generator = make("reshuffle", n_paths), torch.Generator().manual_seed(0)
    draws = [sampler.draw(n_draws, generator)[0].tolist() for _ in range(6 * n_paths)]
    assert all(len(set(draw)) == n_draws for draw in draws)
    visits = Counter()
    for draw in draws:
        visits.update(draw)
        # never two epochs apart, and inside of a draw never more than one
        assert max(visits.values()) - min(visits[p] for p in range(n_paths)) <= 2
        if sum(visits.values()) % n_paths == 0:
            assert len({visits[p] for p in range(n_paths)}) == 1
    assert len({tuple(draw) for draw in draws}) > 1 or n_draws == n_paths


@pytest.mark.parametrize("position", [1, 2, 3])
def test_every_draw_of_a_reshuffled_stream_is_a_random_subset(position):
    """Also those that reach over the end of an epoch, where the next one is made to fit."""
    generator, counts = torch.Generator().manual_seed(2), Counter()
    for _ in range(2000):
        sampler = make("reshuffle", 4)
        for _ in range(position):
            sampler.draw(3, generator)
        counts[tuple(sampler.draw(3, generator)[0].tolist())] += 1
    assert len(counts) == 4
    assert stats.chisquare(list(counts.values())).pvalue > 1e-6


@pytest.mark.parametrize("n_draws", [3, 8])
def test_random_subsets_of_large_and_small_share_are_alike(n_draws):
    """Two algorithms, one law: each pair of 40 paths is as likely as any other."""
    sampler, generator = make("uniform, distinct", 40), torch.Generator().manual_seed(0)
    counts = torch.zeros(40)
    for _ in range(2000):
        counts[sampler.draw(n_draws, generator)[0]] += 1
    assert stats.chisquare(counts).pvalue > 1e-6


@pytest.mark.parametrize(
    "name", [n for n in CASES if n not in ("stratified", "stratified importance")]
)
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


def test_a_criterion_of_a_million_paths_draws_without_listing_them():
    criterion = StochasticLoss(QuadraticLoss(10**6), Uniform(replacement=False), 8, generator=0)
    x = torch.ones(2, 2, requires_grad=True)
    criterion(x, torch.zeros(2, 2)).backward()
    assert len(criterion.last_draw.indices) == 8


def test_two_epochs_differ():
    sampler, generator = Reshuffle(), torch.Generator().manual_seed(0)
    StochasticLoss(QuadraticLoss(20), sampler)
    first, second = ([sampler.draw(1, generator)[0].item() for _ in range(20)] for _ in range(2))
    assert sorted(first) == sorted(second)
    assert first != second


def test_seasoning_changes_the_samplers_that_learn():
    for name in ("running energy", "adaptive", "mixture with memory"):
        sampler = make(name, 7, seasoned=False)
        before = sampler.probabilities
        assert not torch.allclose(season(sampler).probabilities, before)


def single(probabilities):
    """As they come out of a model."""
    return torch.as_tensor(probabilities, dtype=torch.float64).float()


def mean_counts(sampler, n_draws):
    """Of every path, summed exactly over a law whose chances sum to 1."""
    law = law_of(sampler, n_draws)
    assert math.fsum(law.values()) == pytest.approx(1, rel=1e-13)
    n_paths = len(sampler.probabilities)
    assert all(0 <= index < n_paths for indices in law for index in indices)
    return torch.tensor(
        [math.fsum(law[i] * i.count(path) for i in law) for path in range(n_paths)],
        dtype=torch.float64,
    )


def test_near_ties_are_enumerated_among_the_paths_there_are():
    probabilities = single([mass / 9 for mass in (1, 1, 2.5, 1.5, 2, 1)])
    sampler = Importance(probabilities, replacement=False)
    torch.testing.assert_close(
        mean_counts(sampler, 2), 2 * sampler.inclusion(2), rtol=1e-13, atol=0
    )


@given(data=st.data())
def test_systematic_laws_of_small_fractions(data):
    masses = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=8))
    n_draws = data.draw(st.integers(1, len(masses)))
    pi = torch.tensor(masses, dtype=torch.float64) / sum(masses)
    for probabilities in (single(pi), pi):
        sampler = Importance(probabilities, replacement=False)
        expected = n_draws * sampler.inclusion(n_draws)
        torch.testing.assert_close(mean_counts(sampler, n_draws), expected, rtol=1e-12, atol=0)


@given(data=st.data())
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


def test_rounding_makes_no_draws():
    """0.1 + 0.2 is not 0.3, and yet the last path alone fills the last slot."""
    pi = [0.1, 0.2, 0.3, 0.4]
    assert len(law_of(Importance(pi, replacement=False), 2)) == 3
    sampler = Stratified([0, 0, 1, 2], [0.1, 0.2, 0.3, 0.4])
    sampler.bind(PathTable(4))
    assert (sampler.count_covariance(10).diag() > 1e-12).sum() == 0
