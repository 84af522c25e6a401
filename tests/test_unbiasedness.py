"""Estimates are unbiased, exactly: the sum over all draws of probability times estimate is L."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import Path, PathTable, StochasticLoss
from multipath.samplers import Energy, Importance, Uniform
from multipath.testing._checks import value_and_gradient

from .samplers.cases import CASES, GROUPS, UNBIASED, Bumps, possible_draws, season, skewed


def batch():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), y


def expectation(criterion, x, y):
    """Expected value of the estimate and of its gradient, over all possible draws."""
    every_path = criterion.loss.path_losses(x, y, range(len(criterion.loss.paths))).mean(dim=1)
    pairs = [value_and_gradient(value, x) for value in every_path]
    values, gradients = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    total, weights = 0.0, torch.zeros_like(values)
    for indices, probability in criterion.sampler.enumerate(criterion.n_draws):
        draw = criterion.make_draw(indices)
        total += probability
        weights.index_add_(0, draw.indices, probability * draw.weights)
    assert total == pytest.approx(1, rel=1e-12)
    return weights @ values, torch.einsum("p,pbd->bd", weights, gradients)


def assert_equal(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        scale = max(1.0, float(b.abs().max()))
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25)
@given(data=st.data())
@pytest.mark.slow
def test_reweighted_estimates_are_unbiased(name, data):
    """Every sampler, number of draws, grouping and weights, before and after it has learned."""
    n_paths = data.draw(st.sampled_from(list(GROUPS)), label="P")
    weights = data.draw(
        st.none() | st.lists(st.floats(1e-3, 1e3), min_size=n_paths, max_size=n_paths),
        label="weights",
    )
    loss = Bumps(n_paths, weights=weights)
    grouped = (
        loss.grouped(by=GROUPS[n_paths]) if data.draw(st.booleans(), label="grouped") else loss
    )
    n_units = len(grouped.paths)
    n_draws = data.draw(st.sampled_from(possible_draws(name, n_units)), label="k")
    sampler = CASES[name].make(range(n_units))
    criterion = StochasticLoss(grouped, sampler, n_draws)
    if data.draw(st.booleans(), label="seasoned"):
        season(sampler)
    x, y = batch()
    possible = (sampler.probabilities > 0).nonzero().flatten()
    foreseen = CASES[name].biased and sampler.observes is not None  # declared before it is there
    assert criterion.unbiased == (len(possible) == n_units and not foreseen)
    assert criterion.unbiased or CASES[name].biased
    reached = grouped.path_weights[possible] @ grouped.path_losses(x, y, possible).mean(dim=1)
    expected = loss(x, y) if criterion.unbiased else reached
    assert_equal(expectation(criterion, x, y), value_and_gradient(expected, x))


@pytest.mark.parametrize("name", UNBIASED)
def test_groups_by_a_column_are_unbiased(name):
    rates = [10.0, 40.0, 40.0, 20.0, 40.0, 10.0, 40.0]
    table = PathTable(Path(i, metadata={"rate": r}, cost=r) for i, r in enumerate(rates))
    loss = Bumps(table, weights=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0])
    groups = loss.grouped(by="rate")
    criterion = StochasticLoss(groups, CASES[name].make(range(3)), n_draws=2)
    x, y = batch()
    assert_equal(expectation(criterion, x, y), value_and_gradient(loss(x, y), x))


def test_a_path_of_no_weight_may_be_left_out():
    loss = Bumps(3, weights=[0.5, 0.5, 0.0])
    criterion = StochasticLoss(loss, Importance([0.3, 0.7, 0.0]))
    x, y = batch()
    assert criterion.unbiased
    assert_equal(expectation(criterion, x, y), value_and_gradient(loss(x, y), x))


@pytest.mark.parametrize("n_paths", [2, 3, 7])
@pytest.mark.parametrize("n_draws", [1, 2])
def test_bias_without_reweighting(n_paths, n_draws):
    """As published, importance sampling follows sum_p pi_p L_p: off by sum_p (pi_p - w_p) L_p."""
    loss, probabilities = Bumps(n_paths), skewed(range(n_paths))
    criterion = StochasticLoss(loss, Importance(probabilities), n_draws=n_draws, reweight=False)
    x, y = batch()
    path_losses = loss.path_losses(x, y, range(n_paths)).mean(dim=1)
    excess = (probabilities - 1 / n_paths) @ path_losses
    actual, full = expectation(criterion, x, y), value_and_gradient(loss(x, y), x)
    expected = value_and_gradient(excess, x)
    assert not criterion.unbiased
    assert abs(expected[0]) > 1e-2 * abs(full[0])
    assert_equal([a - b for a, b in zip(actual, full, strict=True)], expected)


@pytest.mark.parametrize("n_paths", [1, 2, 3, 7])
def test_uniform_draws_need_no_reweighting(n_paths):
    loss = Bumps(n_paths)
    criterion = StochasticLoss(loss, Uniform(), reweight=False)
    x, y = batch()
    assert_equal(expectation(criterion, x, y), value_and_gradient(loss(x, y), x))


def test_all_paths_without_replacement_are_the_full_loss_with_or_without_reweighting():
    x, y = batch()
    for reweight in (True, False):
        sampler = Importance(skewed(range(3)), replacement=False)
        criterion = StochasticLoss(Bumps(3), sampler, n_draws=3, reweight=reweight)
        assert criterion.unbiased
        torch.testing.assert_close(criterion(x, y), criterion.loss(x, y), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "sampler", [Importance([0.5, 0.5, 0.0]), Energy([1.0, 1.0, 0.1], threshold=0.2)]
)
def test_a_path_that_is_never_drawn_is_a_bias(sampler):
    loss = Bumps(3)
    criterion = StochasticLoss(loss, sampler)
    x, y = batch()
    assert not criterion.unbiased
    reached = loss.path_losses(x, y, [0, 1]).mean(dim=1).sum() / 3
    draws = [(p, criterion.make_draw([p])) for p in (0, 1)]
    mean = sum(0.5 * criterion.estimate(x, y, draw) for _, draw in draws)
    torch.testing.assert_close(mean, reached, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reweight", [True, False])
def test_training_weighs_draws_as_they_were_enumerated(name, reweight, monkeypatch):
    """Ties the proofs above to what a forward pass does: the same weights and the same value."""
    n_paths, n_draws = 3, 2
    sampler = CASES[name].make(range(n_paths))
    criterion = StochasticLoss(Bumps(n_paths), sampler, n_draws, reweight=reweight, generator=0)
    season(sampler)
    x, y = batch()
    monkeypatch.setattr(sampler, "wants_observation", lambda: False)  # what was enumerated holds
    for _ in range(5):
        value = criterion(x, y)
        draw = criterion.last_draw
        again = criterion.make_draw(draw.indices)
        torch.testing.assert_close(draw.weights, again.weights, rtol=1e-14, atol=0)
        torch.testing.assert_close(value, criterion.estimate(x, y, again), rtol=1e-14, atol=0)
