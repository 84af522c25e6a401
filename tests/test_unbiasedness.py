"""Estimates are unbiased, exactly: the sum over all draws of probability times estimate is L."""

from itertools import product

import pytest
import torch

from multipath import PathDecomposedLoss, StochasticLoss
from multipath.samplers import Importance, Uniform

GROUPS = [[0, 3, 4], [1], [2, 5, 6]]


class Bumps(PathDecomposedLoss):
    """Paths whose losses and gradients have nothing in common: L_p = |sin((p + 1) x) - y|^2."""

    def path_losses(self, input, target, indices):
        p = torch.as_tensor(indices, dtype=input.dtype)[:, None, None]
        return (torch.sin((p + 1) * input) - target).square().sum(dim=-1)


def skewed(n_paths):
    """Probabilities proportional to 1, 4, 9, ..."""
    squares = torch.arange(1, n_paths + 1, dtype=torch.float64) ** 2
    return squares / squares.sum()


def make_sampler(name, n_paths):
    return Uniform() if name == "Uniform" else Importance(skewed(n_paths))


def batch():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), y


def value_and_gradient(value, x):
    (gradient,) = torch.autograd.grad(value, x)
    return value.detach(), gradient


def expectation(criterion, x, y):
    """Of the estimate and its gradient, over every draw that the sampler can make."""
    total, mean, mean_gradient = 0.0, torch.zeros((), dtype=x.dtype), torch.zeros_like(x)
    for indices, probability in criterion.sampler.enumerate(criterion.n_draws):
        estimate = criterion.estimate(x, y, criterion.make_draw(indices))
        value, gradient = value_and_gradient(estimate, x)
        total += probability
        mean += probability * value
        mean_gradient += probability * gradient
    assert total == pytest.approx(1, rel=1e-12)
    return mean, mean_gradient


def assert_equal(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def weights_of(n_paths, kind):
    return None if kind == "equal" else [2.0 ** (p % 3) for p in range(n_paths)]


@pytest.mark.parametrize("sampler", ["Uniform", "Importance"])
@pytest.mark.parametrize("n_paths", [1, 2, 3, 7])
@pytest.mark.parametrize("n_draws", [1, 2])
@pytest.mark.parametrize("weights", ["equal", "unequal"])
def test_reweighted_estimate_is_unbiased(sampler, n_paths, n_draws, weights):
    loss = Bumps(n_paths, weights=weights_of(n_paths, weights))
    criterion = StochasticLoss(loss, make_sampler(sampler, n_paths), n_draws=n_draws)
    x, y = batch()
    assert criterion.unbiased
    assert_equal(expectation(criterion, x, y), value_and_gradient(loss(x, y), x))


@pytest.mark.parametrize("sampler", ["Uniform", "Importance"])
@pytest.mark.parametrize("n_draws", [1, 2])
@pytest.mark.parametrize("weights", ["equal", "unequal"])
def test_groups_of_unequal_size_are_unbiased(sampler, n_draws, weights):
    loss = Bumps(7, weights=weights_of(7, weights))
    criterion = StochasticLoss(
        loss.grouped(by=GROUPS), make_sampler(sampler, len(GROUPS)), n_draws=n_draws
    )
    x, y = batch()
    assert_equal(expectation(criterion, x, y), value_and_gradient(loss(x, y), x))


@pytest.mark.parametrize("n_paths", [2, 3, 7])
@pytest.mark.parametrize("n_draws", [1, 2])
def test_bias_without_reweighting(n_paths, n_draws):
    """As published, importance sampling follows sum_p pi_p L_p: off by sum_p (pi_p - w_p) L_p."""
    loss, probabilities = Bumps(n_paths), skewed(n_paths)
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


def test_a_path_that_is_never_drawn_is_a_bias():
    loss = Bumps(3)
    criterion = StochasticLoss(loss, Importance([0.5, 0.5, 0.0]))
    x, y = batch()
    assert not criterion.unbiased
    reached = loss.path_losses(x, y, [0, 1]).mean(dim=1).sum() / 3
    draws = [(p, criterion.make_draw([p])) for p in (0, 1)]
    mean = sum(0.5 * criterion.estimate(x, y, draw) for _, draw in draws)
    torch.testing.assert_close(mean, reached, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sampler", ["Uniform", "Importance"])
@pytest.mark.parametrize("n_draws", [1, 2])
@pytest.mark.parametrize("reweight", [True, False])
def test_training_makes_the_draws_that_were_enumerated(sampler, n_draws, reweight):
    """Ties the proofs above to what a forward pass does: same weights, same value, same law."""
    n_paths, n_forwards = 3, 4000
    criterion = StochasticLoss(
        Bumps(n_paths),
        make_sampler(sampler, n_paths),
        n_draws=n_draws,
        reweight=reweight,
        generator=0,
    )
    x, y = batch()
    for _ in range(20):
        value = criterion(x, y)
        draw = criterion.last_draw
        again = criterion.make_draw(draw.indices)
        assert torch.equal(draw.weights, again.weights)
        assert torch.equal(value, criterion.estimate(x, y, again))
    counts = dict.fromkeys(product(range(n_paths), repeat=n_draws), 0)
    for _ in range(n_forwards):
        counts[tuple(criterion.new_draw().indices.tolist())] += 1
    for indices, probability in criterion.sampler.enumerate(n_draws):
        deviation = (probability * (1 - probability) / n_forwards) ** 0.5
        frequency = counts[indices] / n_forwards
        assert abs(frequency - probability) < 5 * deviation, (indices, frequency, probability)
