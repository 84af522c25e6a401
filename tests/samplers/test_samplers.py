"""Probabilities from energies, and what samplers refuse."""

import copy
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath import Path, PathTable, StochasticLoss, TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.samplers import (
    AdaptiveImportance,
    Energy,
    Importance,
    Mixture,
    Reshuffle,
    Stratified,
    Uniform,
)
from multipath.samplers._systematic import look_up
from multipath.samplers.base import Sampler
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.floats(0, 1))
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


def test_a_uniform_number_at_either_end_finds_a_path_that_is_possible():
    cumulative = torch.tensor([0.0, 0.3, 0.3], dtype=torch.float64)
    ends = torch.tensor([0.0, 1 - 2.0**-53, 1.0], dtype=torch.float64)
    assert look_up(cumulative, ends).tolist() == [1, 1, 1]


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


def bound(sampler, n_paths=4, n_draws=1):
    return StochasticLoss(QuadraticLoss(n_paths), sampler, n_draws)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Energy([1.0], threshold=1.0), r"threshold must lie in \[0, 1\), got 1"),
        (lambda: Energy([1.0], power=-1.0), "power must be finite and not negative, got -1"),
        (lambda: Energy.running(decay=1.0), r"decay must lie in \[0, 1\), got 1"),
        (lambda: AdaptiveImportance(floor=-0.1), r"floor must lie in \[0, 1\], got -0.1"),
        (lambda: AdaptiveImportance(every=0), "every must be a positive integer, got 0"),
        (lambda: AdaptiveImportance(every=True), "every must be a positive integer, got True"),
        (lambda: AdaptiveImportance().probabilities, "AdaptiveImportance knows its paths only"),
        (lambda: Reshuffle().probabilities, "Reshuffle knows its paths only"),
        (lambda: Stratified("rate").probabilities, "Stratified knows its paths only"),
        (lambda: Stratified("rate", [0.5, 0.6]), "probabilities must sum to 1, got 1.1"),
        (
            lambda: bound(Stratified([[0, 1, 2, 3]], [0.5, 0.5])),
            "2 probabilities for a loss with 4",
        ),
        (lambda: bound(Energy([1.0, 2.0])), "2 energies for a loss with 4 paths"),
        (lambda: Mixture([]), r"a Mixture needs samplers, .* got \[\]"),
        (lambda: Mixture([Uniform]), "a Mixture needs samplers"),
        (lambda: Mixture([Uniform()], [0.5]), "mixture weights must sum to 1, got 0.5"),
        (lambda: Mixture([Uniform()], [0.5, 0.5]), "got 2 weights for 1 samplers"),
        (
            lambda: Mixture([AdaptiveImportance(), Energy()]),
            "must learn from the same thing, got gradient_norms and target_norms",
        ),
        (
            lambda: bound(Uniform(replacement=False), n_draws=5),
            "Uniform cannot make 5 draws without replacement: only 4 paths",
        ),
        (lambda: bound(Reshuffle(), n_draws=5), "Reshuffle cannot make 5 draws"),
        (
            lambda: bound(Importance([0.5, 0.5, 0.0, 0.0], replacement=False), n_draws=3),
            "Importance cannot make 3 draws without replacement: only 2 paths",
        ),
        (lambda: bound(Mixture([Uniform(), Reshuffle()]), n_draws=5), "Reshuffle cannot make 5"),
        (
            lambda: bound(AdaptiveImportance(floor=0.0, replacement=False), n_draws=2),
            "left with less than 2 paths when it learns with floor=0, threshold=0; set a positive",
        ),
        (
            lambda: bound(Energy.running(threshold=0.1, replacement=False), n_draws=2),
            "floor=0.1, threshold=0.1",
        ),
    ],
)
def test_refused_settings(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_strata_come_from_columns_functions_and_lists():
    table = PathTable(Path(i, metadata={"rate": 2.0 ** (i % 2)}) for i in range(4))
    labels = ["even", "odd", "even", "odd"]
    for by in ("rate", lambda path: path.index % 2, [[0, 2], [1, 3]], labels, [0, 1, 0, 1]):
        sampler = Stratified(by)
        sampler.bind(table)
        assert {indices for indices, _ in sampler.enumerate(2)} == {(0, 1), (0, 3), (2, 1), (2, 3)}
    with pytest.raises(InputError, match="no column 'scale'"):
        Stratified("scale").bind(table)


def test_a_sampler_that_cannot_enumerate_says_so():
    class Silent(Uniform):
        enumerate = Sampler.enumerate

    with pytest.raises(NotImplementedError, match="Silent does not enumerate its draws"):
        Silent().enumerate(1)


@pytest.mark.parametrize("options", [{"threshold": 0.1}, {"floor": 0.0}])
def test_what_may_be_left_out_later_is_declared_from_the_start(options):
    """Paths not seen yet are possible; told, they may not be."""
    learning = [Energy.running(**options)]
    if "floor" in options:
        learning.append(AdaptiveImportance(**options))
    for sampler in learning:
        assert not sampler.unbiased
        assert not bound(sampler).unbiased
        assert not bound(Mixture([Importance([0.5, 0.5, 0.0, 0.0]), copy.copy(sampler)])).unbiased
        assert bound(Mixture([Uniform(), sampler])).unbiased
        assert not bound(Mixture([Uniform(), sampler], [0.0, 1.0])).unbiased
    assert Energy([1.0, 0.5], **options).unbiased
    halves = [Importance([1.0, 0.0]), Importance([0.0, 1.0])]
    assert bound(Mixture(halves), n_paths=2).unbiased


def test_one_sampler_does_not_serve_two_losses():
    weights, others = [0.1, 0.2, 0.7], [0.7, 0.2, 0.1]
    for make in (Uniform, AdaptiveImportance, lambda: Mixture([AdaptiveImportance()])):
        first = StochasticLoss(QuadraticLoss(3, weights=weights), make())
        before = first.sampler.probabilities.clone()
        with pytest.raises(ConfigurationError, match="with other weights; make one sampler for"):
            StochasticLoss(QuadraticLoss(3, weights=others), first.sampler)
        costly = PathTable(Path(i, cost=1.0 + i) for i in range(3))
        with pytest.raises(ConfigurationError, match="with another table of paths; make one"):
            StochasticLoss(QuadraticLoss(costly, weights=weights), first.sampler)
        assert torch.equal(first.sampler.probabilities, before)
        for same in (first.sampler, copy.deepcopy(first.sampler)):
            StochasticLoss(QuadraticLoss(3, weights=weights), same)
    by_rate = Stratified("rate")
    for rates, message in (([1, 1, 2], None), ([1, 2, 1], "with another table of paths")):
        table = PathTable(Path(i, metadata={"rate": rate}) for i, rate in enumerate(rates))
        with pytest.raises(ConfigurationError, match=message) if message else nullcontext():
            by_rate.bind(table)


def test_binding_anew_on_purpose_keeps_what_was_learned():
    sampler = Mixture([AdaptiveImportance(floor=0.0), Uniform()], [1.0, 0.0])
    sampler.bind(PathTable(2), torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert sampler.wants_observation()
    sampler.observe(torch.tensor([0, 1]), torch.tensor([1.0, 2.0], dtype=torch.float64))
    sampler.rebind(PathTable(2), torch.tensor([0.8, 0.2], dtype=torch.float64))
    torch.testing.assert_close(sampler.probabilities * 3, torch.tensor([2.0, 1.0]).double())
    with pytest.raises(ConfigurationError, match="for 2 paths and the loss has 3"):
        sampler.rebind(PathTable(3))
