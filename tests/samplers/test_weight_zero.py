"""A path of weight 0 adds nothing to the loss: drawing it would waste the step."""

import pytest
import torch

from multipath import StochasticLoss
from multipath.errors import ConfigurationError
from multipath.samplers import (
    AdaptiveImportance,
    Categorical,
    Energy,
    Importance,
    Mixture,
    Reshuffle,
    Stratified,
    Uniform,
)
from multipath.testing import QuadraticLoss

WEIGHTS = torch.tensor([0.2, 0.0, 0.3, 0.0, 0.5, 0.0], dtype=torch.float64)
ACTIVE = [0, 2, 4]
LAW = [0.1, 0.4, 0.1, 0.2, 0.1, 0.1]
ENERGIES = [1.0, 9.0, 2.0, 9.0, 3.0, 9.0]
STRATA = [[0, 1], [2, 4], [3, 5]]  # the last has no path of positive weight


class Given(Categorical):
    """One that does not think of weights at all."""

    @property
    def probabilities(self):
        return torch.tensor(LAW, dtype=torch.float64)


def given(replacement):
    sampler = Given()
    sampler.replacement = replacement
    return sampler


SAMPLERS = {
    "uniform": Uniform,
    "uniform, distinct": lambda: Uniform(replacement=False),
    "importance": lambda: Importance(LAW),
    "importance, distinct": lambda: Importance(LAW, replacement=False),
    "energy": lambda: Energy(ENERGIES),
    "energy, distinct": lambda: Energy(ENERGIES, replacement=False),
    "energy, threshold": lambda: Energy(ENERGIES, threshold=0.2),
    "energy, running": Energy,
    "adaptive": AdaptiveImportance,
    "adaptive, distinct": lambda: AdaptiveImportance(replacement=False),
    "stratified": lambda: Stratified(by=STRATA),
    "stratified, given": lambda: Stratified(by=STRATA, probabilities=LAW),
    "reshuffle": Reshuffle,
    "mixture": lambda: Mixture([Uniform(), Importance(LAW)]),
    "user's": lambda: given(replacement=True),
    "user's, distinct": lambda: given(replacement=False),
}


def criterion(name, n_draws=2, weights=WEIGHTS, reweight=True):
    loss = QuadraticLoss(len(weights), weights=weights)
    return StochasticLoss(loss, SAMPLERS[name](), n_draws, reweight, generator=0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_it_is_never_drawn_while_training(name):
    estimator, drawn = criterion(name), set()
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    for _ in range(60):
        estimator(x, torch.zeros_like(x)).backward()
        drawn |= set(estimator.last_draw.indices.tolist())
    assert drawn == set(ACTIVE)


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_possible_draw_holds_it_and_estimates_stay_unbiased(name):
    estimator = criterion(name)
    x, y = torch.randn(2, 3, 6, dtype=torch.float64)
    draws = list(estimator.sampler.enumerate(2))
    assert {path for indices, _ in draws for path in indices} <= set(ACTIVE)
    assert sum(probability for _, probability in draws) == pytest.approx(1, abs=1e-12)
    if estimator.unbiased:
        mean = sum(p * estimator.estimate(x, y, estimator.make_draw(list(i))) for i, p in draws)
        torch.testing.assert_close(mean, estimator.loss(x, y), rtol=1e-12, atol=1e-12)
    inclusion = estimator.sampler.inclusion(2)
    counts = torch.zeros(6, dtype=torch.float64)
    for indices, probability in draws:
        for path in indices:
            counts[path] += probability / 2
    torch.testing.assert_close(inclusion, counts, rtol=0, atol=1e-12)


def test_all_samplers_but_those_that_leave_paths_out_are_unbiased():
    biased = {name for name in SAMPLERS if not criterion(name).unbiased}
    assert biased == set()


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_law_is_that_of_the_loss_without_it(name):
    """Covariance and coverage, on which diagnostics rely, against the enumeration."""
    sampler = criterion(name).sampler
    mean, second = torch.zeros(6, dtype=torch.float64), torch.zeros(6, 6, dtype=torch.float64)
    covered = torch.zeros(6, dtype=torch.float64)
    for indices, probability in sampler.enumerate(2):
        counts = torch.bincount(torch.tensor(indices), minlength=6).double()
        mean += probability * counts
        second += probability * counts[:, None] * counts
        covered += probability * (counts > 0).double()
    covariance = second - mean[:, None] * mean
    torch.testing.assert_close(sampler.count_covariance(2), covariance, rtol=0, atol=1e-12)
    torch.testing.assert_close(sampler.coverage(2), covered, rtol=0, atol=1e-12)


def test_draws_that_are_not_reweighted_estimate_the_loss():
    estimator = criterion("uniform", reweight=False)
    assert estimator.unbiased
    x, y = torch.randn(2, 3, 6, dtype=torch.float64)
    draws = estimator.sampler.enumerate(2)
    mean = sum(p * estimator.estimate(x, y, estimator.make_draw(list(i))) for i, p in draws)
    torch.testing.assert_close(mean, estimator.loss(x, y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["uniform, distinct", "reshuffle", "importance, distinct"])
def test_no_more_distinct_paths_than_there_are(name):
    with pytest.raises(ConfigurationError, match="only 3 paths can be drawn"):
        criterion(name, n_draws=4)


def test_a_law_on_nothing_else_is_refused():
    loss = QuadraticLoss(2, weights=[1.0, 0.0])
    with pytest.raises(ConfigurationError, match="every path with a positive probability has weig"):
        StochasticLoss(loss, Importance([0.0, 1.0]))


def test_an_epoch_under_way_goes_on_without_paths_that_lost_their_weight():
    sampler, generator = Reshuffle(), torch.Generator().manual_seed(0)
    loss = QuadraticLoss(6)
    sampler.bind(loss.paths, loss.path_weights)
    first = sampler.draw(2, generator)[0].tolist()
    sampler.rebind(loss.paths, WEIGHTS)
    rest = [path for path in ACTIVE if path not in first]
    drawn = [sampler.draw(1, generator)[0].item() for _ in rest]
    assert sorted(drawn) == rest
