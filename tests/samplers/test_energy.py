"""Draws by the energy of the targets, measured in advance or as they come."""

import pytest
import torch

from multipath import StochasticLoss, TransformLoss
from multipath.errors import InputError
from multipath.samplers import Energy
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT


def test_energy_measures_targets_without_gradients():
    loss = TransformLoss(MultiResolutionSTFT([64, 256], [16, 64]))
    x = torch.randn(6, 1024, requires_grad=True)
    norms = loss.target_norms(x, range(2))
    assert not norms.requires_grad
    whole = Energy.from_targets(loss, [x], floor=0.0)
    torch.testing.assert_close(
        whole.probabilities,
        (norms.double().mean(1) / norms.double().mean(1).sum()),
        rtol=1e-6,
        atol=0,
    )
    parts = Energy.from_targets(loss, [x[:1], x[1:]], floor=0.0)
    torch.testing.assert_close(parts.probabilities, whole.probabilities, rtol=1e-6, atol=0)


def test_energy_counts_the_weights_of_the_loss():
    y = torch.randn(3, 2)
    plain = Energy.from_targets(QuadraticLoss(3), [y], floor=0.0).probabilities
    weights = torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64)
    weighted = Energy.from_targets(QuadraticLoss(3, weights=weights), [y], floor=0.0)
    expected = plain * weights / (plain * weights).sum()
    torch.testing.assert_close(weighted.probabilities, expected)
    StochasticLoss(QuadraticLoss(3, weights=weights), weighted)  # they are not counted again
    torch.testing.assert_close(weighted.probabilities, expected)


def test_energies_measured_on_targets_take_all_settings():
    loss = QuadraticLoss(3)
    sampler = Energy.from_targets(
        loss, [torch.ones(1, 1)], 0.2, threshold=0.5, power=2.0, replacement=False
    )
    squares = loss.target_norms(torch.ones(1, 1), [0, 1, 2]).double()[:, 0] ** 2
    squares[squares < 0.25 * squares.max()] = 0  # of the norms: half
    kept = (squares > 0).double()
    expected = 0.8 * squares / squares.sum() + 0.2 * kept / kept.sum()
    torch.testing.assert_close(sampler.probabilities, expected)
    assert not sampler.replacement


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([], "no batch of targets"),
        ([(torch.ones(1, 1), 0)], "got tuple; for pairs"),
        ([torch.full((1, 1), torch.nan)], "NaN or infinite"),
    ],
)
def test_refused_targets(targets, message):
    with pytest.raises(InputError, match=message):
        Energy.from_targets(QuadraticLoss(2), targets)
