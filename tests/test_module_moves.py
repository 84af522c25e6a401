"""No value changes by what torch does with modules: empty, cast, made for inference."""

import copy
from contextlib import contextmanager

import pytest
import torch
from torch import nn

import tests.testing.test_conformance as conformance
from multipath import (
    BalancedLoss,
    PathTable,
    StochasticLoss,
    TargetCache,
    TermLoss,
    TransformLoss,
)
from multipath.diagnostics import estimate_variance
from multipath.draws import Draw, DrawCounts
from multipath.optim import PSAGA, PAdam
from multipath.samplers import Energy
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT, Scattering1D
from tests.samplers.cases import CASES
from tests.samplers.cases import make as make_sampler
from tests.simulated_device import SimulatedDevice

pytestmark = pytest.mark.slow  # every class in every way

LOSSES = {
    **conformance.LOSSES,
    "balanced scattering": lambda: BalancedLoss(
        TransformLoss(Scattering1D(256, J=5, Q=(2, 1), T=64)), range(1, 31)
    ),
    "stft, function as window": lambda: TransformLoss(
        MultiResolutionSTFT([32, 64], window=torch.hamming_window)
    ),
}
NETWORKS = [name for name in LOSSES if name.startswith("layers")]  # which are cast on purpose
QUICK = ["quadratic", "quadratic, grouped", "subset of a quadratic", "terms", "layers", "sliced"]
QUICK += ["jtfs", "scattering of images", "stft, function as window", "wavelet packet", "balanced"]
ROWS = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LOSSES]
N_PATHS = 4


def name_of(row):
    return row if isinstance(row, str) else row.values[0]


class Model(nn.Module):
    """A network that holds its loss and a criterion."""

    def __init__(self, name):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.loss = LOSSES[name]()
        self.criterion = StochasticLoss(self.loss, n_draws=2, generator=0)


def batch_of(name, dtype=torch.float32):
    row = conformance.TestLosses()
    row.name = name
    x, y = row.make_batch(torch.Generator().manual_seed(0))
    return x.to(dtype), y.to(dtype)


def values(model, x, y):
    """The full loss, and the values, gradients and paths of two steps, from the first draw on."""
    model.criterion.train().generator.manual_seed(1)
    model.loss.train(model.layer.training)
    with torch.no_grad():
        found = [model.loss(x, y), model.loss.path_weights]
    for _ in range(2):
        leaf = x.clone().requires_grad_()
        value = model.criterion(leaf, y)
        value.backward()
        found += [value.detach(), leaf.grad, model.criterion.last_draw.indices]
    return found


def same(found, expected):
    return all(a.dtype == b.dtype and a.equal(b) for a, b in zip(found, expected, strict=True))


@contextmanager
def swapping(switch):
    """Torch's other way to convert parameters, which is to become the default."""
    torch.__future__.set_swap_module_params_on_conversion(switch)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def emptied(model, saved):
    return model.to_empty(device="cpu").load_state_dict(saved)


def assigned(model, saved):
    return model.load_state_dict(saved, assign=True)


def sent_away(model, saved):
    return emptied(model.to("meta"), saved)


@pytest.mark.parametrize("name", ROWS)
def test_built_without_storage_and_restored(name):
    x, y = batch_of(name)
    model = Model(name).eval()  # for the sake of batch norms
    saved = copy.deepcopy(model.state_dict())
    expected = values(model, x, y)
    for swap, restore in ((True, emptied), (False, emptied), (False, assigned), (False, sent_away)):
        with swapping(swap):
            with torch.device("meta"):
                bare = Model(name).eval()
            restore(bare, saved)
        assert same(values(bare, x, y), expected)


@pytest.mark.parametrize("name", ["jtfs", "scattering of images", "stft", "wavelet packet"])
def test_filters_follow_the_module_and_come_back_from_anywhere(name):
    x, y = batch_of(name)
    loss = LOSSES[name]()
    expected, before = loss(x, y), dict(loss.named_buffers())
    with SimulatedDevice():
        loss.to("meta").half()
        assert {each.device.type for each in loss.buffers()} == {"meta"}
        loss.cpu()
    for way in (loss.cpu, lambda: loss.to("meta").cpu(), loss.share_memory):
        way()
        assert same(dict(loss.named_buffers()).values(), before.values())
        assert loss(x, y).equal(expected)


@pytest.mark.parametrize("name", CASES)
def test_samplers_built_without_storage_go_on(name):
    x = torch.linspace(-1, 2, 6).reshape(3, 2).requires_grad_()
    y = torch.linspace(0, 1, 6).reshape(3, 2)

    def steps(criterion, n):
        paths = []
        for _ in range(n):
            criterion(x, y).backward()
            paths.append(criterion.last_draw.indices.tolist())
        return paths

    def make():
        with torch.device("cpu"):  # probabilities given by the user are numbers
            sampler = CASES[name].make(range(N_PATHS))
        loss = QuadraticLoss(N_PATHS, weights=[1.0, 2.0, 3.0, 4.0])
        return StochasticLoss(loss, sampler, n_draws=2, generator=0)

    criterion = make()
    steps(criterion, 5)
    saved = criterion.state_dict()
    expected = steps(criterion, 20)
    with torch.device("meta"):
        bare = make()
    bare.to_empty(device="cpu").load_state_dict(saved)
    assert steps(bare, 20) == expected


@pytest.mark.parametrize("name", [row for row in ROWS if name_of(row) not in NETWORKS])
def test_casts_of_the_model_change_no_value(name):
    model = Model(name)
    kinds = (torch.float32, torch.bfloat16, torch.float64)
    batches = {dtype: batch_of(name, dtype) for dtype in kinds}
    expected = {dtype: values(model, *batches[dtype]) for dtype in kinds}
    for dtype in (torch.float16, torch.float32, torch.bfloat16, torch.float64, torch.float32):
        model.to(dtype)
        kind = dtype if dtype in kinds else torch.float32
        assert same(values(model, *batches[kind]), expected[kind])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ROWS)
def test_made_and_used_for_inference_then_trained(name, dtype):
    x, y = batch_of(name, dtype)
    reference = Model(name).to(dtype) if name in NETWORKS else Model(name)
    saved = copy.deepcopy(reference.criterion.state_dict())
    expected = values(reference, x, y)
    network = conformance.network().to(dtype)
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        # the weights of a network made for inference could never be trained: these are from before
        patch.setattr(conformance, "network", lambda: network)
        model = Model(name)
        model.criterion(x, y)
        target = y.clone()
        assert target.is_inference()
    assert same(values(model, x, target), expected)
    model.criterion.load_state_dict(saved)
    assert same(values(model, x, target), expected)
    assert not any(each.is_inference() for each in (model.loss.path_weights, *model.loss.buffers()))


@pytest.mark.parametrize("name", CASES)
def test_samplers_made_drawn_from_and_restored_for_inference_then_trained(name):
    x = torch.linspace(-1, 2, 6, dtype=torch.float64).reshape(3, 2).requires_grad_()
    y = torch.linspace(0, 1, 6, dtype=torch.float64).reshape(3, 2)

    def make():
        loss = QuadraticLoss(N_PATHS, weights=[1.0, 2.0, 3.0, 4.0])
        return StochasticLoss(loss, CASES[name].make(range(N_PATHS)), n_draws=2, generator=0)

    def walk(criterion, n):
        found = []
        for _ in range(n):
            x.grad = None
            criterion(x, y).backward()
            found += [criterion.last_draw.indices, x.grad.clone(), criterion.sampler.probabilities]
        return found

    reference = make()
    expected = walk(reference, 6)
    saved = reference.state_dict()
    expected_later = walk(reference, 6)
    with torch.inference_mode():
        criterion = make()
        draw = criterion.make_draw([0, 1])
        criterion(x, y)
    criterion.estimate(x, y, draw).backward()
    assert same(walk(criterion, 6), expected)
    with torch.inference_mode():
        restored = make()
        restored.load_state_dict(saved)
    assert same(walk(restored, 6), expected_later)


@pytest.mark.parametrize("name", CASES)
def test_samplers_by_themselves_and_counts_restored_for_inference(name):
    table = PathTable(N_PATHS)
    seasoned = make_sampler(name, N_PATHS)
    saved = seasoned.state_dict()
    with torch.inference_mode():
        sampler, counts = CASES[name].make(range(N_PATHS)), DrawCounts(table)
        sampler.bind(table)
        sampler.load_state_dict(saved)
        counts.load_state_dict(counts.state_dict())
    draws = []
    for each in (seasoned, sampler):
        each.wants_observation()
        each.observe(torch.tensor([1, 3]), torch.tensor([2.0, 5.0], dtype=torch.float64))
        generator = torch.Generator().manual_seed(0)
        draws.append([each.draw(2, generator) for _ in range(6)])
    assert all(same(a, b) for a, b in zip(*draws, strict=True))
    for indices, shares in draws[1]:
        counts.add(Draw(indices, shares, shares))
    assert int(counts.counts.sum()) == 12


def test_measured_for_inference_then_trained():
    x, y = batch_of("stft", torch.float64)
    loss = LOSSES["stft"]()

    def train(criterion):
        leaf = x.clone().requires_grad_()
        value = criterion(leaf, y)
        value.backward()
        return [value.detach(), leaf.grad, criterion.loss.path_weights]

    makers = [
        lambda: StochasticLoss.for_training(loss, y, n_draws=2, power=0.5, generator=0),
        lambda: StochasticLoss(loss, Energy.from_targets(loss, y), generator=0),
        lambda: StochasticLoss(BalancedLoss.from_targets(loss, y).grouped([[0, 1]]), generator=0),
        lambda: StochasticLoss(loss.subset([1]), generator=0),
    ]
    for make in makers:
        expected = train(make())
        with torch.inference_mode():
            criterion = make()
            restored = make()
            restored.load_state_dict(criterion.state_dict())
        assert same(train(criterion), expected)
        assert same(train(restored), expected)


def test_variance_measured_for_inference():
    x, y = batch_of("scattering")
    loss = TermLoss({"product": lambda x, y: (x * y).mean(dim=1), "slope": conformance.slope})
    expected = estimate_variance(loss, x, y)
    with torch.inference_mode():
        found = estimate_variance(loss, x.clone(), y.clone())
    assert found.gradient_norms.equal(expected.gradient_norms)
    assert found.rows == expected.rows


@pytest.mark.parametrize("make", [PAdam, PSAGA])
def test_steps_after_a_state_was_loaded_for_inference(make):
    def start():
        criterion = StochasticLoss(QuadraticLoss(N_PATHS), generator=0)
        weight = nn.Parameter(torch.ones(1, 3, dtype=torch.float64))
        return criterion, weight, make([weight], criterion, lr=0.1)

    def walk(criterion, weight, optimizer, n=8):
        for _ in range(n):
            optimizer.zero_grad()
            criterion(weight, torch.zeros(1, 3, dtype=torch.float64)).backward()
            optimizer.step()
        return weight.detach().clone()

    criterion, weight, optimizer = start()
    middle = walk(criterion, weight, optimizer)
    saved = copy.deepcopy((criterion.state_dict(), optimizer.state_dict()))
    expected = walk(criterion, weight, optimizer)
    again = start()
    with torch.no_grad():
        again[1].copy_(middle)
    with torch.inference_mode():
        again[0].load_state_dict(saved[0])
        again[2].load_state_dict(saved[1])
    assert walk(*again).equal(expected)


def test_targets_remembered_for_inference_serve_training():
    cache = TargetCache(2**24)
    loss = TransformLoss(Scattering1D(256, J=5, Q=(2, 1), T=64), distance="l2", cache=cache)
    x, y = batch_of("scattering", torch.float64)
    with torch.inference_mode(), cache.keyed(range(len(y))):
        loss(x, y)
    leaf = x.clone().requires_grad_()
    with cache.keyed(range(len(y))):
        loss(leaf, y).backward()
    assert cache.hits == len(y)
    plain = x.clone().requires_grad_()
    loss(plain, y).backward()
    assert (leaf.grad - plain.grad).abs().max() <= 1e-12 * plain.grad.abs().max()
