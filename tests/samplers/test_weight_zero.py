"""A path of weight 0 adds nothing to the loss: drawing it would waste the step."""

from functools import partial

import pytest
import torch

from multipath import StochasticLoss
from multipath.errors import ConfigurationError
from multipath.samplers import Categorical, Energy, Importance, Reshuffle, Stratified
from multipath.testing import QuadraticLoss
from multipath.testing._laws import law_of, mean_weights, moments

from .cases import CASES, UNBIASED

WEIGHTS = torch.tensor([0.2, 0.0, 0.3, 0.0, 0.5, 0.0], dtype=torch.float64)
ACTIVE = [0, 2, 4]
LAW = [0.1, 0.4, 0.1, 0.2, 0.1, 0.1]
STRATA = [[0, 1], [2, 4], [3, 5]]  # the last has no path of positive weight


class Given(Categorical):
    """One that does not think of weights at all."""

    def __init__(self, replacement):
        self.replacement = replacement

    @property
    def probabilities(self):
        return torch.tensor(LAW, dtype=torch.float64)


SAMPLERS = {
    **{name: partial(CASES[name].make, range(6)) for name in UNBIASED},
    "energy above a threshold": lambda: Energy([1.0, 9.0, 2.0, 9.0, 3.0, 9.0], threshold=0.2),
    "other strata": lambda: Stratified(by=STRATA),
    "other strata, given": lambda: Stratified(by=STRATA, probabilities=LAW),
    "user's": lambda: Given(replacement=True),
    "user's, distinct": lambda: Given(replacement=False),
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
def test_the_law_is_that_of_the_loss_without_it(name):
    """Shares, covariance and coverage, on which diagnostics rely, against the enumeration."""
    estimator = criterion(name)
    sampler, law = estimator.sampler, law_of(estimator.sampler, 2)
    mean, covariance = moments(sampler, 2)
    assert mean.nonzero().flatten().tolist() == ACTIVE
    covered = [sum(law[draw] for draw in law if path in draw) for path in range(6)]
    for found, expected in (
        (sum(law.values()), 1.0),
        (2 * sampler.inclusion(2), mean),
        (sampler.count_covariance(2), covariance),
        (sampler.coverage(2), torch.tensor(covered, dtype=torch.float64)),
        (mean_weights(estimator), WEIGHTS),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert estimator.unbiased


def test_draws_that_are_not_reweighted_estimate_the_loss():
    estimator = criterion("uniform", reweight=False)
    assert estimator.unbiased
    torch.testing.assert_close(mean_weights(estimator), WEIGHTS, rtol=0, atol=1e-12)


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
