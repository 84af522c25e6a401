"""Draws by the energy of the targets, measured in advance or as they come."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath import StochasticLoss, TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.samplers import (
    Energy,
    Uniform,
)
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT

from .cases import batch


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.floats(0, 1))
@pytest.mark.slow
def test_energy_mixes_norms_with_a_uniform_floor(energies, floor):
    pi = Energy(energies, floor=floor).probabilities
    assert pi.sum().item() == pytest.approx(1)
    assert (pi >= floor / len(energies) * (1 - 1e-9)).all()
    expected = (1 - floor) * torch.tensor(energies, dtype=torch.float64) / sum(energies)
    torch.testing.assert_close(pi, expected + floor / len(energies))


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_energy_to_a_power_above_a_threshold(power):
    pi = Energy([1.0, 4.0, 0.3, 0.4], floor=0.3, threshold=0.1, power=power).probabilities
    kept = torch.tensor([1.0, 4.0, 0.0, 0.4], dtype=torch.float64)
    powers = torch.where(kept > 0, kept**power, 0.0)
    expected = 0.7 * powers / powers.sum() + 0.3 / 3 * (kept > 0).double()
    torch.testing.assert_close(pi, expected, rtol=1e-14, atol=0)


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


def test_a_running_energy_converges_to_the_energies_of_the_targets():
    loss, y = QuadraticLoss(4, weights=[0.4, 0.3, 0.2, 0.1]), batch()[1]
    criterion = StochasticLoss(loss, Energy.running(floor=0.2), n_draws=3, generator=0)
    for _ in range(30):
        criterion(*batch())
    expected = Energy.from_targets(loss, [y], floor=0.2).probabilities
    torch.testing.assert_close(criterion.sampler.probabilities, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Energy([0.0, 0.0]), ConfigurationError, "every path is silent"),
        (lambda: Energy([1.0, -1.0]), ConfigurationError, "finite, non-negative"),
        (lambda: Energy([1.0], floor=1.5), ConfigurationError, r"floor must lie in \[0, 1\]"),
        (lambda: Energy.from_targets(QuadraticLoss(2), []), InputError, "no batch of targets"),
        (
            lambda: Energy.from_targets(QuadraticLoss(2), [(torch.ones(1, 1), 0)]),
            InputError,
            "got tuple; for pairs",
        ),
        (
            lambda: Energy.from_targets(QuadraticLoss(2), [torch.full((1, 1), torch.nan)]),
            InputError,
            "NaN or infinite",
        ),
        (lambda: Uniform().probabilities, ConfigurationError, "part of a StochasticLoss"),
    ],
)
def test_refused_energies(make, error, message):
    with pytest.raises(error, match=message):
        make()
