"""Variance and bias of gradient estimates against the sum over all draws, and what goes with it."""

import math
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import multipath.diagnostics._gradients
from multipath import PathDecomposedLoss, StochasticLoss, TransformLoss
from multipath.diagnostics import EstimatorRow, estimate_variance
from multipath.errors import ConfigurationError, InputError
from multipath.samplers import (
    AdaptiveImportance,
    Categorical,
    Energy,
    Importance,
    Reshuffle,
    Stratified,
    Uniform,
)
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT
from tests.samplers.cases import CASES, GROUPS, Bumps, make, possible_draws, season

from .cases import PLANE, Linear, batch, table_with


def gradient_of(value, x):
    return torch.autograd.grad(value, x)[0].flatten()


def by_enumeration(criterion, x, y):
    """Variance, bias and the probability that each path is drawn, draw by draw."""
    x = x.clone().requires_grad_()
    full = gradient_of(criterion.loss(x, y), x)
    draws = list(criterion.sampler.enumerate(criterion.n_draws))
    probabilities = torch.tensor([probability for _, probability in draws], dtype=torch.float64)
    estimates = torch.stack(
        [gradient_of(criterion.estimate(x, y, criterion.make_draw(i)), x) for i, _ in draws]
    )
    mean = probabilities @ estimates
    variance = probabilities @ (estimates - mean).square().sum(dim=1)
    covered = torch.zeros(len(criterion.loss.paths), dtype=torch.float64)
    for indices, probability in draws:
        covered[sorted(set(indices))] += probability
    return float(variance), float((mean - full).norm()), covered


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25)
@given(data=st.data())
@pytest.mark.slow
def test_numbers_are_those_of_the_enumeration(name, data):
    make_loss = data.draw(st.sampled_from([QuadraticLoss, Bumps]), label="loss")
    n_paths = data.draw(st.sampled_from([1, 2, 3]), label="P")
    weights = data.draw(
        st.none() | st.lists(st.floats(0.1, 10), min_size=n_paths, max_size=n_paths),
        label="weights",
    )
    loss = make_loss(
        n_paths, weights=weights, reduction=data.draw(st.sampled_from(["mean", "sum"]))
    )
    if data.draw(st.booleans(), label="grouped"):
        loss = loss.grouped(by=GROUPS[n_paths])
    n_units = len(loss.paths)
    k = data.draw(st.sampled_from([k for k in possible_draws(name, n_units) if k < 3]), label="k")
    reweight = data.draw(st.booleans(), label="reweight")
    sampler = CASES[name].make(range(n_units))
    criterion = StochasticLoss(loss, sampler, k, reweight, generator=0)
    season(sampler)
    x, y = batch()
    costs = torch.arange(n_units, dtype=torch.float64) + 0.5
    report = estimate_variance(
        loss, x, y, {"it": sampler}, k, reweight=reweight, costs=costs, step_cost=0.25
    )
    row, _ = report.rows
    variance, bias, covered = by_enumeration(criterion, x, y)
    inputs = x.clone().requires_grad_()
    full = gradient_of(loss(inputs, y), inputs)
    share = 1 / len(x) if loss.reduction == "mean" else 1
    each = [share * loss.path_losses(inputs, y, [p]).sum() for p in range(n_units)]
    norms = [gradient_of(value, inputs).norm() for value in each]
    torch.testing.assert_close(report.gradient_norms, torch.stack(norms), rtol=1e-12, atol=0)
    largest = float(loss.path_weights @ report.gradient_norms)
    assert row.variance == pytest.approx(variance, rel=1e-12, abs=1e-12 * largest**2)
    assert row.bias == pytest.approx(bias, rel=1e-12, abs=1e-7 * largest)
    assert row.bias**2 == pytest.approx(bias**2, rel=1e-12, abs=1e-12 * largest**2)
    assert row.mean_square_error == row.variance + row.bias**2
    assert report.gradient_norm == pytest.approx(full.norm().item(), rel=1e-12)
    assert row.relative_variance == pytest.approx(row.variance / report.gradient_norm**2)
    assert row.cost == pytest.approx(0.25 + float(covered @ costs), rel=1e-12)
    assert row.work == pytest.approx(row.mean_square_error * row.cost)
    assert row.unbiased == criterion.unbiased
    assert not (row.unbiased and row.bias)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("n_paths", [1, 2, 3, 7])
def test_coverage_is_that_of_the_enumerated_law(name, n_paths):
    sampler = make(name, n_paths)
    for k in possible_draws(name, n_paths):
        covered = torch.zeros(n_paths, dtype=torch.float64)
        for indices, probability in sampler.enumerate(k):
            covered[sorted(set(indices))] += probability
        torch.testing.assert_close(sampler.coverage(k), covered, rtol=1e-12, atol=1e-12)


class Enumerated(Categorical):
    """Knows no closed form, and draws path 0 in three of four."""

    probabilities = torch.tensor([0.75, 0.25], dtype=torch.float64)

    def coverage(self, n_draws):
        return super(Categorical, self).coverage(n_draws)


def test_coverage_without_a_closed_form():
    covered = Enumerated().coverage(2)
    torch.testing.assert_close(covered, torch.tensor([15 / 16, 7 / 16], dtype=torch.float64))


@pytest.mark.slow
def test_agrees_with_what_training_would_see():
    """Monte Carlo through StochasticLoss and backward."""
    loss, (x, y) = Bumps(7), batch(1)
    sampler = Stratified(by=[[0, 3, 6], [1, 4], [2, 5]])
    row = estimate_variance(loss, x, y, sampler, n_draws=3).rows[0]
    criterion = StochasticLoss(loss, sampler, 3, generator=0)
    x = x.clone().requires_grad_()
    n = 4000
    estimates = torch.stack([gradient_of(criterion(x, y), x) for _ in range(n)])
    squares = (estimates - gradient_of(loss(x, y), x)).square().sum(dim=1)
    error = squares.std().item() / math.sqrt(n)
    assert row.bias == 0
    assert row.variance == pytest.approx(squares.mean().item(), abs=4 * error)
    assert 4 * error < 0.1 * row.variance


def test_equal_paths_have_no_variance():
    x, y = batch()
    equal = Linear(torch.tensor([[0.1, 0.7, -0.3]], dtype=torch.float64).expand(5, 3))
    report = estimate_variance(equal, x, y, n_draws=[1, 2])
    assert {row.variance for row in report.rows if "uniform" in row.name} == {0.0}
    assert {row.efficiency for row in report.rows if "uniform" in row.name} == {1.0}


def test_all_paths_at_once_have_no_variance():
    report = estimate_variance(Bumps(4), *batch(), Reshuffle(), n_draws=4)
    assert report.rows[0].variance == 0
    assert report.rows[0].efficiency == math.inf
    assert report.rows[0].cost == 4


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31), n_paths=st.integers(1, 6), n_draws=st.integers(1, 9))
@pytest.mark.slow
def test_no_independent_draws_beat_the_optimum(seed, n_paths, n_draws):
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(n_paths, 3, generator=generator, dtype=torch.float64)
    gradients[0] *= seed % 2  # a silent path now and then
    weights, masses = torch.rand(2, n_paths, generator=generator, dtype=torch.float64) + 1e-2
    loss = Linear(gradients, weights=weights)
    samplers = [Importance(masses / masses.sum()), Uniform(), AdaptiveImportance()]
    report = estimate_variance(loss, *batch(), samplers, n_draws)
    *rows, optimum = report.rows
    sizes = weights * report.gradient_norms
    power = report.gradient_norm**2
    closed = (sizes.sum().item() ** 2 - power) / n_draws
    assert optimum.variance == pytest.approx(closed, rel=1e-9, abs=1e-12 * power)
    assert optimum.bias == pytest.approx(0, abs=1e-7 * report.gradient_norm)
    for row in rows:
        assert row.variance >= optimum.variance * (1 - 1e-9) - 1e-12 * power
        assert row.efficiency <= 1 + 1e-9 or optimum.variance < 1e-9 * power
    if sizes.any():
        sampler = Importance(report.optimal_probabilities)
        reached = estimate_variance(loss, *batch(), sampler, n_draws).rows[0]
        assert reached.variance == optimum.variance


def test_the_optimum_is_reweighted_even_where_samplers_are_not():
    sampler = Importance([0.7, 0.2, 0.1])
    rows = [estimate_variance(Bumps(3), *batch(), sampler, reweight=r).rows for r in (True, False)]
    assert rows[0][1] == rows[1][1]
    assert rows[0][0].bias == 0 < rows[1][0].bias
    assert rows[0][0].unbiased
    assert not rows[1][0].unbiased


def test_efficiency_compares_equal_numbers_of_draws():
    samplers = [Importance([0.7, 0.2, 0.1]), Stratified(by=[[0, 1], [2]])]
    report = estimate_variance(Bumps(3), *batch(), samplers, [1, 4, 2], reweight=False)
    optimum = {row.n_draws: row.variance for row in report.rows if row.name == "optimal"}
    assert [row.n_draws for row in report.rows] == [1, 4, 2] * 3
    assert any(row.bias > 0 for row in report.rows)
    for row in report.rows:
        expected = optimum[row.n_draws] / (row.variance + row.bias**2)
        assert row.efficiency == pytest.approx(expected, rel=1e-12)


def test_a_loss_without_reduction_counts_by_its_mean():
    x, y = batch()
    mean = estimate_variance(Bumps(3), x, y)
    assert estimate_variance(Bumps(3, reduction="none"), x, y).rows == mean.rows


def test_any_shape_and_dtype_of_input():
    transform = MultiResolutionSTFT([64, 128, 256], [16, 32, 64], [64, 128, 256])
    loss = TransformLoss(transform)
    x, y = torch.randn(2, 2, 3, 512, generator=torch.Generator().manual_seed(0))
    cases = {
        "many channels": (x, y),
        "flat": (x.reshape(6, 512), y.reshape(6, 512)),
        "not contiguous": (x.transpose(0, 1), y.transpose(0, 1)),
        "float64": (x.double(), y.double()),
    }
    variances = [estimate_variance(loss, *pair).rows[0].variance for pair in cases.values()]
    assert variances == pytest.approx([variances[-1]] * 4, rel=1e-4)


def test_default_family():
    x, y = batch()
    loss = Bumps(table_with({"rate": PLANE["rate"]}))
    report = estimate_variance(loss, x, y, n_draws=[1, 6])
    names = list(dict.fromkeys(row.name for row in report.rows))
    family = ["uniform", "uniform, distinct", "energy", "adaptive", "stratified by rate", "optimal"]
    assert names == family
    rows = {(row.name, row.n_draws): row for row in report.rows}
    energy = estimate_variance(loss, x, y, Energy.from_targets(loss, [y])).rows[0]
    assert rows["energy", 1].variance == pytest.approx(energy.variance, rel=1e-9)
    # all but the floor of an adaptive sampler follows the gradients it has seen
    law = 0.9 * report.optimal_probabilities + 0.1 / 6
    adaptive = estimate_variance(loss, x, y, Importance(law)).rows[0]
    assert rows["adaptive", 1].variance == pytest.approx(adaptive.variance, rel=1e-9)


def test_default_family_leaves_out_what_cannot_be():
    x, _ = batch()
    gradients = torch.eye(3, dtype=torch.float64)
    report = estimate_variance(Linear(gradients), x, torch.zeros_like(x), n_draws=4)
    # no column "rate", no loudness, fewer than four paths
    assert [row.name for row in report.rows] == ["uniform", "adaptive", "optimal"]


def test_costs_default_to_those_of_the_table():
    loss = QuadraticLoss(table_with({}))
    row = estimate_variance(loss, *batch(), Uniform()).rows[0]
    assert row.cost == pytest.approx(1.5)


def test_names_of_samplers():
    report = estimate_variance(Bumps(3), *batch(), [Uniform(), Reshuffle(), Uniform(False)])
    names = [row.name for row in report.rows]
    assert names == ["Uniform", "Reshuffle", "Uniform 2", "optimal"]


class Stateful(Bumps):
    """Everything a careless caller could disturb: modes, statistics, parameters, random numbers."""

    def __init__(self):
        super().__init__(4)
        self.norm = torch.nn.BatchNorm1d(3).double()
        self.drop = torch.nn.Dropout(0.5).eval()

    def path_losses(self, input, target, indices):
        torch.rand(3)
        return super().path_losses(self.drop(self.norm(input)), target, indices)


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad])
def test_nothing_is_disturbed(context):
    loss, (x, y) = Stateful(), batch()
    x.requires_grad_()
    sampler = AdaptiveImportance()
    criterion = StochasticLoss(loss, sampler, 2, generator=3)
    criterion(x, y).backward()
    before = [t.clone() for t in loss.state_dict().values()]
    gradients = [x.grad.clone(), *(p.grad.clone() for p in loss.parameters())]
    state, stream = sampler.state_dict(), criterion.generator.get_state()
    modes, randomness = [m.training for m in loss.modules()], torch.get_rng_state()
    probabilities = sampler.probabilities.clone()
    with context():
        row = estimate_variance(loss, x, y, sampler, n_draws=2).rows[0]
        estimate_variance(loss, x, y)
    assert torch.equal(torch.get_rng_state(), randomness)
    assert torch.equal(criterion.generator.get_state(), stream)
    assert [m.training for m in loss.modules()] == modes
    assert len(set(modes)) == 2
    for old, new in zip(before, loss.state_dict().values(), strict=True):
        assert torch.equal(old, new)
    for old, new in zip(gradients, [x.grad, *(p.grad for p in loss.parameters())], strict=True):
        assert torch.equal(old, new)
    known = sampler.state_dict()["estimates"].nan_to_num(-1.0)
    assert torch.equal(known, state["estimates"].nan_to_num(-1.0))
    assert torch.equal(sampler.probabilities, probabilities)
    # and what it has learned is what was evaluated
    fixed = estimate_variance(loss, x, y, Importance(probabilities), n_draws=2).rows[0]
    assert row.variance == pytest.approx(fixed.variance, rel=1e-12)


def test_a_failure_leaves_the_mode_too():
    loss, (x, y) = Stateful(), batch()
    with pytest.raises(InputError, match="not finite"):
        estimate_variance(loss, x * math.nan, y)
    assert loss.training


def test_an_unbound_sampler_stays_unbound():
    sampler = Uniform()
    estimate_variance(Bumps(3), *batch(), sampler)
    assert sampler.n_paths is None


def test_best():
    report = estimate_variance(Bumps(3), *batch(), n_draws=[1, 2])
    made = [
        EstimatorRow("good", 1, 4.0, 0.0, 0.0, 1.0, 1.0, True),
        EstimatorRow("costly", 1, 3.0, 0.0, 0.0, 2.0, 1.0, True),
        EstimatorRow("biased", 1, 0.0, 2.5, 0.0, 0.9, 1.0, False),
        EstimatorRow("many", 4, 1.0, 0.0, 0.0, 8.0, 1.0, True),
        EstimatorRow("optimal", 1, 0.1, 0.0, 0.0, 1.0, 1.0, True),
    ]
    report = replace(report, rows=tuple(made))
    assert report.best().name == "good"
    assert report.best(by="variance").name == "many"
    assert report.best(by="variance", n_draws=1).name == "costly"
    with pytest.raises(ConfigurationError, match='"variance" or "work", got \'speed\''):
        report.best(by="speed")
    with pytest.raises(ConfigurationError, match="n_draws=3; choose among 1, 4"):
        report.best(n_draws=3)


def test_table():
    samplers = {"sure": Importance([1.0, 0.0]), "even": Uniform()}
    report = estimate_variance(Bumps(2), *batch(), samplers, n_draws=[1, 2])
    header, *lines = str(report).splitlines()
    assert header.split() == [
        *("sampler", "n_draws", "variance", "bias", "relative_variance", "cost", "work"),
        *("efficiency", "unbiased"),
    ]
    assert len({len(line) for line in (header, *lines)}) == 1
    cells = [line.split() for line in lines]
    assert [row[0] for row in cells] == ["sure", "sure", "even", "even", "optimal", "optimal"]
    assert [row[-1] for row in cells] == ["no", "no", "yes", "yes", "yes", "yes"]
    for row, line in zip(report.rows, cells, strict=True):
        expected = [row.n_draws, row.variance, row.bias, row.relative_variance]
        expected += [row.cost, row.work, row.efficiency]
        assert list(map(float, line[1:-1])) == pytest.approx(expected, rel=1e-3)


def test_progress_goes_to_standard_error(capsys):
    report = estimate_variance(Bumps(3), *batch(), progress=True)
    out, err = capsys.readouterr()
    assert not out
    assert "gradients of paths" in err
    assert report.rows == estimate_variance(Bumps(3), *batch()).rows
    assert capsys.readouterr() == ("", "")


def test_what_extras_are_missing(monkeypatch):
    report = estimate_variance(Bumps(3), *batch())
    monkeypatch.delitem(sys.modules, "multipath._plots.variance", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(ModuleNotFoundError, match=r"multipath-loss\[applications\]"):
        report.plot()
    with pytest.raises(ModuleNotFoundError, match=r"multipath-loss\[applications\]"):
        estimate_variance(Bumps(3), *batch(), progress=True)


class Constant(PathDecomposedLoss):
    """Does not look at the input."""

    def path_losses(self, input, target, indices):
        return target.sum(dim=-1).expand(len(indices), -1)


class Secretive(Uniform):
    """Has neither closed forms nor an enumeration."""

    def count_covariance(self, n_draws):
        raise NotImplementedError("Secretive does not enumerate its draws")


X = torch.zeros(2, 3)


ERRORS = {
    "no loss": ({"loss": torch.nn.MSELoss()}, ConfigurationError, "got MSELoss"),
    "criterion": ({"loss": StochasticLoss(Bumps(3), generator=0)}, ConfigurationError, "n.loss"),
    "batches differ": ({"target": torch.zeros(3, 3)}, InputError, "same batch size"),
    "no tensor": ({"target": [0.0]}, InputError, "target must be a tensor, got list"),
    "integers": ({"input": X.long()}, InputError, "floating-point numbers, got torch.int64"),
    "NaN": ({"target": X * math.nan}, InputError, "gradient of path 0 is not finite"),
    "independent": ({"loss": Constant(3)}, InputError, "no path of the loss depends on the input"),
    "unknown sampler": ({"samplers": ["uniform"]}, ConfigurationError, "got 'uniform'"),
    "a class": ({"samplers": Uniform}, ConfigurationError, "Uniform\\(\\), got <class"),
    "no sampler": ({"samplers": []}, ConfigurationError, "samplers is empty"),
    "reserved": ({"samplers": {"optimal": Uniform()}}, ConfigurationError, "'optimal'"),
    "another loss's": ({"samplers": Importance([1.0])}, ConfigurationError, "1 probabilities"),
    "too many": (
        {"samplers": Uniform(False), "n_draws": [1, 9]},
        ConfigurationError,
        "make 9 draws",
    ),
    "no law": ({"samplers": Secretive()}, ConfigurationError, "define its count_covariance"),
    "no draws": ({"n_draws": 0}, ConfigurationError, "n_draws must be a positive integer, got 0"),
    "half a draw": ({"n_draws": 0.5}, ConfigurationError, "positive integer, got 0.5"),
    "no numbers": ({"n_draws": []}, ConfigurationError, "n_draws names no number"),
    "costs": ({"costs": [1.0]}, ConfigurationError, r"shape \(3,\), got \(1,\)"),
    "free": ({"costs": [1.0, 0.0, 1.0]}, ConfigurationError, "costs must be positive and finite"),
    "paid": ({"step_cost": -1.0}, ConfigurationError, "not negative, got -1.0"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    arguments, error, message = ERRORS[case]
    with pytest.raises(error, match=message):
        estimate_variance(**{"loss": Bumps(3), "input": X, "target": X, **arguments})


def test_gradients_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(multipath.diagnostics._gradients, "MAX_BYTES", 2**20)
    estimate_variance(Bumps(3), X, X, Uniform())
    with pytest.raises(InputError, match=r"300 paths with respect to 6 numbers.*grouped"):
        estimate_variance(Bumps(300), X, X, Uniform())


def test_settings_are_refused_before_the_long_work(monkeypatch):
    def too_late(*_):
        raise AssertionError

    loss = Bumps(3)
    monkeypatch.setattr(loss, "path_losses", too_late)
    with pytest.raises(ConfigurationError, match="make 4 draws"):
        estimate_variance(loss, X, X, Reshuffle(), n_draws=4)
    with pytest.raises(ConfigurationError, match="positive integer, got 0"):
        estimate_variance(loss, X, X, n_draws=[1, 0])


def test_a_bias_is_computed_whatever_the_sampler_says_of_itself():
    class Boastful(Importance):
        unbiased = True

    loss, (x, y) = QuadraticLoss(2), batch()
    said, honest = (
        estimate_variance(loss, x, y, [kind([1.0, 0.0])]).rows[0] for kind in (Boastful, Importance)
    )
    assert said.bias == honest.bias > 0
    row = estimate_variance(loss, x, y, [Importance([0.3, 0.7])]).rows[0]
    assert row.bias == 0.0
