"""No tensor strays from its device, none is wider than it can hold, and nothing waits for it."""

import copy

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import tests.testing.test_conformance as conformance
from multipath import BalancedLoss, StochasticLoss
from multipath._internal import ranks
from multipath.diagnostics import estimate_variance
from multipath.importance import theta_importance
from multipath.jets import JetOrder
from multipath.optim import PSAGA, PAdam
from multipath.samplers import Energy
from multipath.testing import QuadraticLoss
from tests.samplers.cases import CASES
from tests.simulated_device import Remote, SimulatedDevice

LOSSES = conformance.LOSSES
QUICK = ["quadratic, weighted", "balanced, grouped", "subset of a quadratic", "terms", "layers"]
QUICK += ["sliced", "sliced, unequal", "jtfs", "scattering of images", "stft", "wavelet packet"]
ROWS = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LOSSES]
MASSES = "sliced, masses"


def batch_of(name):
    row = conformance.TestLosses()
    row.name = name
    return row.make_batch(torch.Generator().manual_seed(0))


def close(found, expected, tolerance=1e-5):
    found = found.inner if isinstance(found, Remote) else found
    return (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_losses_without_storage_give_shapes(name):
    x, y = (each.to("meta") for each in batch_of(name))
    criterion = StochasticLoss(LOSSES[name](), n_draws=2, generator=0).to("meta")
    for mode in (criterion.eval(), criterion.train()):
        leaf = x.clone().requires_grad_()
        value = mode(leaf, y)
        value.backward()
        assert (value.device.type, value.shape) == ("meta", ())
        assert (leaf.grad.device.type, leaf.grad.shape) == ("meta", x.shape)
    loss = criterion.eval().loss
    paths, order = range(len(loss.paths)), JetOrder(2)
    assert loss.target_norms(y, paths).shape == (len(paths), len(y))
    jets = loss.path_loss_jets(torch.stack([x] * len(order)), y, paths, order)
    assert jets.shape == (len(order), len(paths), len(y))


@pytest.mark.parametrize("name", ROWS)
def test_losses_on_a_device_are_those_on_the_cpu(name):
    x, y = batch_of(name)
    loss = LOSSES[name]()
    here = x.clone().requires_grad_()
    expected = loss(here, y)
    expected.backward()
    norms = loss.target_norms(y, range(len(loss.paths)))
    with SimulatedDevice():
        there = copy.deepcopy(loss).to("meta")
        a, b = x.to("meta").requires_grad_(), y.to("meta")
        value = there(a, b)
        value.backward()
        assert close(there.target_norms(b, range(len(loss.paths))), norms)
    assert close(value, expected)
    assert close(a.grad, here.grad)


@pytest.mark.parametrize("name", ROWS)
def test_training_does_not_wait_for_the_device(name):
    x, y = batch_of(name)
    checked = name == MASSES  # masses are checked by their values
    with SimulatedDevice() as device:
        criterion = StochasticLoss(LOSSES[name](), n_draws=2, generator=0).to("meta")
        a, b = x.to("meta").requires_grad_(), y.to("meta")
        for path in range(len(criterion.loss.paths)):  # filters go to the device when first needed
            criterion.loss.path_losses(a, b, [path]).sum().backward()
        device.waits = device.copies = checked
        for _ in range(3):
            criterion(a, b).backward()


@pytest.mark.parametrize("name", CASES)
def test_samplers_on_a_device(name):
    def train(x, y):
        loss = QuadraticLoss(4, weights=[1.0, 2.0, 3.0, 4.0])
        criterion = StochasticLoss(loss, CASES[name].make(range(4)), n_draws=2, generator=0)
        if criterion.sampler.observes is None:
            device.waits = False
        paths = []
        for _ in range(6):
            criterion(x, y).backward()
            paths.append(criterion.last_draw.indices.tolist())
        return paths

    x, y = torch.linspace(-1, 2, 12).reshape(2, 2, 3)
    with SimulatedDevice() as device:
        expected = train(x.clone().requires_grad_(), y)
        assert train(x.to("meta").requires_grad_(), y.to("meta")) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LOSSES if name != MASSES])  # silence has none
def test_measurements_on_a_device_are_those_on_the_cpu(name):
    x, y = batch_of(name)

    def measure(loss, x, y):
        trained = StochasticLoss.for_training(loss, y, n_draws=2, power=0.5, generator=0)
        energy = StochasticLoss(loss, Energy.from_targets(loss, y), generator=0)
        balanced = BalancedLoss.from_targets(loss, y)
        report = estimate_variance(loss, x, y, n_draws=[1])
        return [
            trained.sampler.probabilities,
            trained.loss.path_weights,
            energy.sampler.probabilities,
            balanced.path_weights,
            report.gradient_norms,
            torch.tensor([row.variance for row in report.rows]),
        ]

    loss = LOSSES[name]()
    expected = measure(loss, x, y)
    with SimulatedDevice():
        found = measure(copy.deepcopy(loss).to("meta"), x.to("meta"), y.to("meta"))
    assert all(close(a, b, 1e-4) for a, b in zip(found, expected, strict=True))
    assert {each.device.type for each in found} == {"cpu"}


@pytest.mark.parametrize("state_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [PAdam, PSAGA])
def test_optimizers_on_a_device(make, dtype, state_dtype):
    def walk(move):
        criterion = StochasticLoss(QuadraticLoss(4), generator=0)
        weight = nn.Parameter(move(torch.linspace(0, 1, 6).reshape(2, 3)).to(dtype))
        optimizer = make([weight], criterion, lr=0.1, weight_decay=0.01, state_dtype=state_dtype)
        target = move(torch.zeros(2, 3)).to(dtype)
        for _ in range(12):
            optimizer.zero_grad()
            criterion(weight, target).backward()
            optimizer.step()
        fresh = make([weight], StochasticLoss(QuadraticLoss(4)), lr=0.1, state_dtype=state_dtype)
        fresh.load_state_dict(optimizer.state_dict())
        kept = [each for each in tree_leaves(fresh.state[weight]) if isinstance(each, torch.Tensor)]
        assert {each.device.type for each in kept} == {weight.device.type}
        return weight.detach()

    expected = walk(lambda each: each)
    with SimulatedDevice(waits=False):
        found = walk(lambda each: each.to("meta"))
    assert close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["eigenvalue", "hutchinson", "gradient", "gradient_ema"])
def test_theta_importance_on_a_device(method):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
    x, y = torch.randn(4, 5), torch.ones(4, 3)

    def decode(theta):
        return torch.stack([theta[:, 0], theta[:, 1], theta.prod(dim=1)], dim=1).sin()

    def measure(encoder, x, y, **options):
        return theta_importance(
            QuadraticLoss(3), encoder, decode, [(x, y)], method=method, **options
        ).curvature

    # torch.func does not see through simulated tensors: the loss is differentiated in reverse
    expected = measure(encoder, x, y, derivatives="reverse")
    with SimulatedDevice():
        there = copy.deepcopy(encoder).to("meta")
        found = measure(there, x.to("meta"), y.to("meta"), derivatives="reverse")
    assert found.device.type == "cpu"
    assert close(found, expected, 1e-3)


@pytest.mark.parametrize(
    ("float64", "backend", "reduced"),
    [
        (True, "cuda:nccl", (torch.float64, "meta")),
        (False, "cpu:gloo,cuda:gloo", (torch.float64, "cpu")),
        (False, "xpu:xccl", (torch.float32, "meta")),
    ],
)
def test_ranks_average_as_precisely_as_the_backend_can(float64, backend, reduced, monkeypatch):
    seen = []

    def double(total):
        seen.append((total.dtype, total.device.type))
        total.mul_(2)

    monkeypatch.setattr(ranks, "several_ranks", lambda: True)
    monkeypatch.setattr(ranks.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(ranks.dist, "get_backend_config", lambda: backend)
    monkeypatch.setattr(ranks.dist, "all_reduce", double)
    values = torch.tensor([1.0, 0.5, 3.0], dtype=torch.float64)
    with SimulatedDevice(float64=float64):
        mean = ranks.average_over_ranks(values, torch.device("meta"))
    assert mean.equal(torch.tensor([1.0, 0.5, 3.0], dtype=torch.float64))
    assert seen == [reduced]


@pytest.mark.parametrize("float64", [True, False])
def test_conformance_is_tested_on_any_device(float64, monkeypatch):
    monkeypatch.setattr(torch, "get_device_module", lambda device: torch.cpu)
    row = conformance.TestLosses()
    row.accelerator, row.name = "meta", "stft"
    with SimulatedDevice(float64=float64):
        row.test_a_gpu_gives_what_the_cpu_gives()


def test_what_a_device_refuses_is_found():
    x = torch.ones(2, 3)
    with SimulatedDevice(waits=False):
        there = x.to("meta")
        with pytest.raises(RuntimeError, match="two devices"):
            there @ torch.eye(3)
        with pytest.raises(TypeError, match="float64"):
            there.double()
        with pytest.raises(TypeError, match="float64"):
            torch.zeros(3, dtype=torch.float64, device="meta")
        for wait in (
            lambda: there.sum().item(),
            lambda: bool(there.sum() > 0),
            lambda: there.cpu(),
            lambda: there.tolist(),
            lambda: there.nonzero(),
            lambda: there[there > 0],
            lambda: x.copy_(there),
        ):
            with pytest.raises(RuntimeError, match="waits"):
                wait()
    with SimulatedDevice(), pytest.raises(TypeError, match="float64"):
        there.to("cpu", torch.float64)
