"""Bookkeeping lives on the CPU, in float64, whatever torch's default device and dtype are."""

import pytest
import torch

from multipath import BalancedLoss, PathTable, StochasticLoss
from multipath.diagnostics import estimate_variance
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


@pytest.mark.parametrize("optimizer", [PAdam, PSAGA])
def test_path_wise_steps_do_not_depend_on_the_defaults(optimizer, defaults):
    def walk():
        criterion = StochasticLoss(QuadraticLoss(4), generator=0)
        x, y = batch()
        x = torch.nn.Parameter(x.detach().clone())
        training = optimizer([x], criterion, lr=0.1)
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
