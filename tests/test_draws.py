"""Draws: their probabilities and weights, and paths that are drawn twice."""

import pytest
import torch

from multipath import StochasticLoss
from multipath.samplers import Importance
from multipath.testing import QuadraticLoss

PROBABILITIES = [0.1, 0.2, 0.3, 0.4]


@pytest.fixture
def batch():
    return torch.ones(3, 2, requires_grad=True), torch.zeros(3, 2)


@pytest.mark.parametrize("n_draws", [1, 2, 5])
def test_weights_and_probabilities_of_a_draw(batch, n_draws):
    weights = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    loss = QuadraticLoss(4, weights=weights)
    criterion = StochasticLoss(loss, Importance(PROBABILITIES), n_draws=n_draws, generator=1)
    value = criterion(*batch)
    draw = criterion.last_draw
    pi = torch.tensor(PROBABILITIES, dtype=torch.float64)[draw.indices]
    torch.testing.assert_close(draw.probabilities, pi)
    torch.testing.assert_close(draw.weights, weights[draw.indices] / (n_draws * pi))
    expected = sum(
        w * loss.path_losses(*batch, [p]).mean()
        for w, p in zip(draw.weights, draw.indices, strict=True)
    )
    torch.testing.assert_close(value, expected.float())


def test_without_reweighting_paths_count_equally(batch):
    criterion = StochasticLoss(
        QuadraticLoss(4), Importance(PROBABILITIES), n_draws=2, reweight=False, generator=0
    )
    criterion(*batch)
    assert criterion.last_draw.weights.tolist() == [0.5, 0.5]
    assert not criterion.unbiased


def test_a_path_drawn_twice_is_evaluated_once(batch):
    class Counting(QuadraticLoss):
        asked = ()

        def path_losses(self, input, target, indices):
            self.asked = tuple(indices)
            return super().path_losses(input, target, indices)

    loss = Counting(2)
    criterion = StochasticLoss(loss, Importance([0.0, 1.0]), n_draws=6, generator=0)
    value = criterion(*batch)
    assert loss.asked == (1,)
    torch.testing.assert_close(value, loss.path_losses(*batch, [1]).mean() / 2)
