"""Bookkeeping lives on the CPU, in float64, whatever torch's default device and dtype are."""

import pytest
import torch

from multipath import BalancedLoss, PathTable, SlicedWasserstein, StochasticLoss, TransformLoss
from multipath.diagnostics import estimate_variance
from multipath.importance import theta_importance
from multipath.optim import PSAGA, PAdam
from multipath.samplers import (
    AdaptiveImportance,
    Energy,
    Importance,
    Mixture,
    Reshuffle,
    Stratified,
    Uniform,
)
from multipath.testing import QuadraticLoss
from tests.transforms.cases import SMALL

SAMPLERS = {
    "uniform": Uniform,
    "uniform, distinct": lambda: Uniform(replacement=False),
    "importance": lambda: Importance([0.4, 0.3, 0.2, 0.1]),
    "importance, distinct": lambda: Importance([0.4, 0.3, 0.2, 0.1], replacement=False),
    "energy": lambda: Energy([1.0, 2.0, 3.0, 4.0]),
    "energy, distinct": lambda: Energy([1.0, 2.0, 3.0, 4.0], replacement=False),
    "energy, running": Energy,
    "adaptive": AdaptiveImportance,
    "adaptive, distinct": lambda: AdaptiveImportance(replacement=False),
    "stratified": lambda: Stratified(by=[[0, 1], [2, 3]]),
    "reshuffle": Reshuffle,
    "mixture": lambda: Mixture([Uniform(), Energy([1.0, 2.0, 3.0, 4.0])], [0.3, 0.7]),
}


@pytest.fixture(params=["meta", "float64", "float16"])
def defaults(request):
    """Switches the default on, and off again after the test."""
    device, dtype = torch.get_default_device(), torch.get_default_dtype()

    def switch():
        if request.param == "meta":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(getattr(torch, request.param))

    yield switch
    torch.set_default_device(device)
    torch.set_default_dtype(dtype)


def train(sampler, x, y, n=12):
    criterion = StochasticLoss(QuadraticLoss(4), sampler, n_draws=2, generator=0)
    paths, weights = [], []
    for _ in range(n):
        criterion(x, y).backward()
        paths.append(criterion.last_draw.indices.tolist())
        weights.append(criterion.last_draw.weights)
    draws = list(criterion.sampler.enumerate(2))
    law = [criterion.sampler.probabilities, criterion.sampler.count_covariance(2)]
    law += [criterion.sampler.coverage(2), criterion.sampler.inclusion(2)]
    return paths, draws, [*weights, *law]


def batch():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 3, 4, generator=generator, dtype=torch.float32, device="cpu")
    return x.requires_grad_(), y


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_weights_and_laws_do_not_depend_on_the_defaults(name, defaults):
    x, y = batch()
    paths, draws, tensors = train(SAMPLERS[name](), x, y)
    defaults()
    same_paths, same_draws, same_tensors = train(SAMPLERS[name](), x, y)
    assert (same_paths, same_draws) == (paths, draws)
    assert all(a.equal(b) for a, b in zip(tensors, same_tensors, strict=True))
    assert {(t.dtype, t.device.type) for t in same_tensors} == {(torch.float64, "cpu")}


@pytest.mark.parametrize("make", [lambda: Uniform(replacement=False), Reshuffle])
def test_few_of_many_paths_do_not_depend_on_the_defaults(make, defaults):
    def draw():
        sampler, generator = make(), torch.Generator().manual_seed(0)
        sampler.bind(PathTable(100))
        draws = [sampler.fresh_draw(3, generator), sampler.draw(3, generator)]
        return [(indices.tolist(), shares.tolist()) for indices, shares in draws]

    expected = draw()
    defaults()
    assert draw() == expected


@pytest.mark.parametrize("state_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("optimizer", [PAdam, PSAGA])
def test_path_wise_steps_do_not_depend_on_the_defaults(optimizer, state_dtype, defaults):
    def walk():
        criterion = StochasticLoss(QuadraticLoss(4), generator=0)
        x, y = batch()
        x = torch.nn.Parameter(x.detach().clone())
        training = optimizer([x], criterion, lr=0.1, eps=1e-8, state_dtype=state_dtype)
        for _ in range(8):
            training.zero_grad()
            criterion(x, y).backward()
            training.step()
        saved = criterion.state_dict()
        StochasticLoss(QuadraticLoss(4), generator=1).load_state_dict(saved)
        return x.detach()

    expected = walk()
    defaults()
    assert walk().equal(expected)


def test_everything_measured_does_not_depend_on_the_defaults(defaults):
    def measure():
        x, y = batch()
        loss = QuadraticLoss(4, weights=[0.1, 0.2, 0.3, 0.4])
        balanced = BalancedLoss.from_targets(loss, y, power=0.5)
        criterion = StochasticLoss.for_training(balanced, [y], n_draws=2, generator=0)
        report = estimate_variance(loss, x, y, n_draws=[1, 2])
        value = criterion(x, y)
        value.backward()
        rows = [(row.name, row.variance, row.bias, row.cost) for row in report.rows]
        grouped = loss.grouped(by=[[0, 1], [2, 3]])
        return rows, [
            value.detach(), x.grad, balanced.path_weights, grouped(x, y).detach(),
            criterion.sampler.probabilities, PathTable(3).costs,
        ]  # fmt: skip

    rows, tensors = measure()
    defaults()
    same_rows, same = measure()
    assert same_rows == rows
    assert all(a.equal(b) for a, b in zip(tensors, same, strict=True))


@pytest.mark.parametrize("method", ["eigenvalue", "hutchinson", "gradient"])
def test_theta_importance_does_not_depend_on_the_defaults(method, defaults):
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64, "device": "cpu"}
    hidden, out = torch.randn(600, 3, **options), torch.randn(2, 600, **options) / 600
    weights = [each.requires_grad_() for each in (hidden, out)]
    x, y = torch.randn(4, 3, **options), torch.ones(4, 2, dtype=torch.float64, device="cpu")

    def measure():
        return theta_importance(
            QuadraticLoss(2),
            lambda x: (x @ hidden.T).tanh() @ out.T,
            torch.sin,
            [(x, y)],
            params=weights,
            method=method,
        ).curvature

    expected = measure()
    defaults()
    assert measure().equal(expected)


@pytest.mark.parametrize("name", SMALL)
def test_transforms_do_not_depend_on_the_defaults(name, defaults):
    def evaluate():
        loss = TransformLoss(SMALL[name]())
        generator = torch.Generator().manual_seed(0)
        signals = torch.randn(2, 3, 128, generator=generator, dtype=torch.float32, device="cpu")
        signals = signals[..., :64] if name == "scattering2d" else signals
        x, y = (each.unflatten(-1, getattr(loss.transform, "shape", (-1,))) for each in signals)
        x.requires_grad_()
        value = loss(x, y)
        value.backward()
        return value.detach(), x.grad, loss.transform

    value, gradient, _ = evaluate()
    defaults()
    same_value, same_gradient, transform = evaluate()
    assert same_value.equal(value)
    assert same_gradient.equal(gradient)
    if hasattr(transform, "inverse"):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(2, 128, generator=generator, dtype=torch.float64, device="cpu")
        assert (transform.inverse(transform(x), length=128) - x).abs().max() < 1e-12


def test_directions_are_at_least_in_single_precision(defaults):
    torch.set_default_dtype(torch.float16)
    assert SlicedWasserstein(3).projections.dtype == torch.float32
