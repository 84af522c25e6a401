"""Samplers draw what their probabilities say, and refuse what is not a distribution."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from multipath import PathTable, TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.samplers import Energy, Importance, Uniform
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT

SAMPLERS = {
    "uniform": Uniform,
    "importance": lambda: Importance([0.1, 0.2, 0.05, 0.15, 0.5]),
    "importance with an impossible path": lambda: Importance([0.3, 0.0, 0.3, 0.4, 0.0]),
    "energy": lambda: Energy([1.0, 0.0, 2.0, 5.0, 0.5], floor=0.2),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_frequencies_follow_the_probabilities(name):
    sampler = SAMPLERS[name]()
    sampler.bind(PathTable(5))
    indices, probabilities = sampler.draw(20_000, torch.Generator().manual_seed(0))
    assert torch.equal(probabilities, sampler.probabilities[indices])
    counts = torch.bincount(indices, minlength=5).double()
    possible = sampler.probabilities > 0
    assert counts[~possible].sum() == 0
    expected = 20_000 * sampler.probabilities[possible]
    assert stats.chisquare(counts[possible], expected).pvalue > 1e-4


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("n_draws", [1, 2])
def test_enumeration_is_a_probability_law(name, n_draws):
    sampler = SAMPLERS[name]()
    sampler.bind(PathTable(5))
    law = list(sampler.enumerate(n_draws))
    assert len({indices for indices, _ in law}) == 5**n_draws
    assert sum(probability for _, probability in law) == pytest.approx(1, abs=1e-14)
    for path in range(5):  # marginals
        marginal = sum(q * indices.count(path) for indices, q in law) / n_draws
        assert marginal == pytest.approx(sampler.probabilities[path].item(), abs=1e-14)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.floats(0, 1))
def test_energy_mixes_norms_with_a_uniform_floor(energies, floor):
    pi = Energy(energies, floor=floor).probabilities
    assert pi.sum().item() == pytest.approx(1)
    assert (pi >= floor / len(energies) * (1 - 1e-9)).all()
    expected = (1 - floor) * torch.tensor(energies, dtype=torch.float64) / sum(energies)
    torch.testing.assert_close(pi, expected + floor / len(energies))


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
    torch.testing.assert_close(weighted.probabilities, plain * weights / (plain * weights).sum())


def test_unbiased_exactly_when_every_path_is_possible():
    assert Importance([0.5, 0.5]).unbiased
    assert not Importance([1.0, 0.0]).unbiased
    assert not Energy([1.0, 0.0], floor=0.0).unbiased
    assert Energy([1.0, 0.0], floor=0.1).unbiased


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([0.5, 0.6], "must sum to 1, got 1.1; divide"),
        ([0.2, 0.2], "must sum to 1, got 0.4"),
        ([1.5, -0.5], "must not be negative, got -0.5 for path 1"),
        ([float("nan"), 1.0], "must be finite"),
        ([[0.5, 0.5]], r"vector of shape \(P,\), got \(1, 2\)"),
        ([], "vector of shape"),
        ("ab", "must be numbers, one for each path, got 'ab'"),
        (None, "must be numbers, one for each path, got None"),
    ],
)
def test_refused_probabilities(probabilities, message):
    with pytest.raises(ConfigurationError, match=message):
        Importance(probabilities)


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
