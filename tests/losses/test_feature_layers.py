"""Features of a network as paths: values by hand, early stop, constancy, costs, refusals."""

import copy
import pickle
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import distributed as dist
from torch import nn

from multipath import FeatureLayers
from multipath.errors import ConfigurationError, InputError


class Net(nn.Module):
    """Layers out of order, one twice, one never, one that works in place."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.last = nn.Conv2d(4, 2, 3)
        self.first = nn.Conv2d(1, 4, 3)
        self.inplace = nn.ReLU(inplace=True)
        self.pair = nn.GRU(8, 3)
        self.never = nn.Linear(1, 1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = self.drop(self.inplace(self.first(x)))
        self.calls.append("first")
        x = self.inplace(self.last(x))
        self.calls.append("last")
        self.pair(x.flatten(2)[:, :, :8])
        return x


def make(**options):
    torch.manual_seed(0)
    return FeatureLayers(Net(), ["last", "first", "inplace"], **options).double()


def images(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 1, 9, 8, generator=generator, dtype=torch.float64).unbind()


def by_hand(net, x):
    first = net.first(x)
    return {"first": first, "inplace": first.relu(), "last": net.last(first.relu())}


@pytest.mark.parametrize("distance", ["squared", "absolute"])
@pytest.mark.parametrize("normalize", [True, False])
def test_equals_the_formula(normalize, distance):
    loss, (x, y) = make(normalize=normalize, distance=distance, eps=0.1), images()
    values = loss.path_losses(x, y, range(3))
    ours, theirs = by_hand(loss.network, x), by_hand(loss.network, y)
    for row, name in enumerate(["last", "first", "inplace"]):
        a, b = ours[name], theirs[name]
        for item in range(3):
            total, places = 0.0, a[0, 0].numel()
            for i in range(a.shape[2]):
                for j in range(a.shape[3]):
                    u, v = a[item, :, i, j], b[item, :, i, j]
                    if normalize:
                        u, v = (w / (w @ w + 0.01).sqrt() for w in (u, v))
                    total += ((u - v) ** 2 if distance == "squared" else (u - v).abs()).sum()
            torch.testing.assert_close(values[row, item], total / places)


def test_the_forward_stops_after_the_deepest_layer_asked_for():
    loss, (x, y) = make(), images()
    loss.path_losses(x, y, [1])
    assert loss.network.calls == []
    loss.path_losses(x, y, [2, 1])
    assert loss.network.calls == []  # the first of the two calls of that layer
    loss.path_losses(x, y, [0, 1])
    assert loss.network.calls == ["first", "first"]  # once for each signal


def test_hooks_are_removed_whatever_happens():
    loss, (x, y) = make(), images()
    loss(x, y)
    with pytest.raises(RuntimeError):
        loss(x[:, :, :1], y[:, :, :1])
    assert not any(module._forward_hooks for module in loss.network.modules())


def test_a_frozen_network_is_a_constant_left_as_it_was():
    loss, (x, y) = make(), images()
    loss.train()
    loss.network.last.eval()
    x.requires_grad_(), y.requires_grad_()
    loss(x, y).backward()
    assert x.grad.abs().sum() > 0
    assert y.grad is None
    assert all(weight.grad is None for weight in loss.parameters())
    assert all(weight.requires_grad for weight in loss.parameters())
    assert loss.network.drop.training
    assert not loss.network.last.training


def test_a_network_can_be_trained_along():
    loss, (x, y) = make(frozen=False), images()
    loss.eval()
    loss(x, y).backward()
    assert loss.network.first.weight.grad.abs().sum() > 0


def test_channels_may_come_last():
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Linear(3, 5))
    conv = nn.Sequential(nn.Conv1d(3, 5, 1))
    conv[0].load_state_dict({"weight": linear[0].weight[..., None], "bias": linear[0].bias})
    x, y = torch.randn(2, 2, 7, 3)
    expected = FeatureLayers(conv, ["0"])(x.mT, y.mT)
    torch.testing.assert_close(FeatureLayers(linear, ["0"], channel_dim=-1)(x, y), expected)


def test_half_precision_is_compared_in_single():
    loss, (x, y) = make().float(), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(x.float(), y.float())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(x.float(), y.float()), rtol=0.05, atol=0)


def test_costs_are_parameters_or_operations_or_given():
    stack = nn.Sequential(
        nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Sequential(nn.Conv1d(2, 4, 3), nn.Tanh())
    )
    layers, tied = ["0", "1", "2", "2.0"], nn.Linear(3, 3)
    parameters = FeatureLayers(stack, layers).paths.costs
    torch.testing.assert_close(parameters, torch.tensor([9.0, 9, 37, 37]).double() / 9)
    twin = nn.Linear(3, 3, bias=False)
    twin.weight = tied.weight
    repeated = nn.Sequential(tied, nn.Sequential(twin), nn.Linear(3, 1))
    costs = FeatureLayers(repeated, ["0", "2"]).paths.costs
    torch.testing.assert_close(costs, torch.tensor([13.0, 17.0]).double() / 13)
    x = torch.zeros(1, 1, 12)
    operations = FeatureLayers(stack, layers, example=x).paths.costs
    first, second = 2 * 2 * 3 * 10, 2 * 4 * 2 * 3 * 8
    expected = torch.tensor([1.0, 1, 1, 1]).double() + torch.tensor([0, 0, second, second]) / (
        first + 1
    )
    torch.testing.assert_close(operations, expected)
    given = FeatureLayers(stack, ["0", "2"], costs=[2.0, 5.0], example=x)
    assert given.paths.costs.tolist() == [2.0, 5.0]
    assert stack.training
    assert not any(module._forward_hooks for module in stack.modules())


def test_a_function_may_be_the_distance():
    loss, (x, y) = make(distance=lambda d: d.flatten(1).abs().amax(dim=1)), images()
    assert bool((loss.path_losses(x, y, range(3)) <= 2).all())
    assert loss(x, x) == 0


def test_layers_without_places_are_one_place():
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, y = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for dim in (1, -1):
        loss = FeatureLayers(net, ["1", "2"], normalize=False, channel_dim=dim)
        expected = [(net[:n](x) - net[:n](y)).square().sum(dim=1) for n in (2, 3)]
        torch.testing.assert_close(loss.path_losses(x, y, [0, 1]), torch.stack(expected))


@pytest.mark.parametrize("eps", [1e-5, 1e-13, 1e-23, 1e-60])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0, 1e25])
def test_features_of_any_size_give_finite_numbers(eps, size):
    net = nn.Sequential(nn.Conv1d(1, 2, 3, bias=False))
    loss = FeatureLayers(net, ["0"], eps=eps)
    x, y = torch.randn(2, 1, 1, 8, generator=torch.Generator().manual_seed(0)) * size
    values = loss.path_losses(x.requires_grad_(), y, [0])
    values.sum().backward()
    assert values.isfinite().all()
    assert x.grad.isfinite().all()
    if size / eps > 1e3:  # then size is nothing to normalized features
        exact = FeatureLayers(net, ["0"], eps=1e-5).double()
        expected = exact.path_losses(x.double() / size, y.double() / size, [0]).float()
        torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-6)


def test_a_network_may_catch_what_it_likes():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
            self.failures = []

        def forward(self, x):
            try:
                return self.last(self.first(x))
            except Exception as error:
                self.failures.append(error)
                return self.last(x)

    x, y = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    net = Careful()
    expected = (net.first(x) - net.first(y)).square().sum(dim=1)
    loss = FeatureLayers(net, ["first"], normalize=False)
    torch.testing.assert_close(loss.path_losses(x, y, [0])[0], expected)
    assert not net.failures  # leaving the forward is none


@pytest.mark.parametrize(
    ("network", "layers", "options", "message"),
    [
        (nn.Sequential(nn.Tanh()), ["1"], {}, "Sequential has no layer '1'; it has 1, such as 0"),
        (Net(), ["frist"], {}, "no layer 'frist'; it has 6, such as first"),
        (Net(), "first", {}, "list of names, got the string 'first'"),
        (Net(), [], {}, "at least one path, got 0"),
        (Net(), ["first", "first"], {}, "must be unique, got 'first'"),
        (torch.relu, ["0"], {}, "network must be a torch.nn.Module"),
        (Net(), ["first"], {"distance": "cosine"}, 'distance must be "squared", "absolute"'),
        (Net(), ["first"], {"eps": 0.0}, "eps must be positive, got 0.0"),
        (Net(), ["first"], {"costs": [1.0, 2.0]}, "each of the 1 layers, got 2"),
        (Net(), ["first"], {"costs": [-1.0]}, "cost of path first must be positive"),
    ],
)
def test_settings_that_cannot_work_are_refused(network, layers, options, message):
    with pytest.raises(ConfigurationError, match=message):
        FeatureLayers(network, layers, **options)


def test_layers_that_do_not_run_are_refused():
    with pytest.raises(InputError, match="the forward of Net does not reach never"):
        FeatureLayers(Net(), ["first", "never"], example=torch.zeros(1, 1, 9, 8))


def test_outputs_that_are_no_tensor_are_refused():
    loss = FeatureLayers(Net(), ["pair"])
    with pytest.raises(InputError, match="layer 'pair' must return one tensor, got tuple"):
        loss(torch.zeros(1, 1, 9, 8), torch.zeros(1, 1, 9, 8))


def test_features_of_other_shapes_are_refused():
    loss, (x, y) = make(), images()
    with pytest.raises(InputError, match=r"same shape, got \(3, 4, 7, 6\) and \(3, 4, 6, 6\)"):
        loss.path_losses(x, y[:, :, 1:], [1])


class Odd(nn.Module):
    """Weights tied, listed, bound, partial, in a closure; children called twice or from a list."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.norm, self.drop = nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Tanh())])
        self.parallel = nn.DataParallel(nn.Sequential(nn.Linear(4, 4)))
        self.again, self.weights = self.first, [self.first.weight, self.second.bias]
        self.steps = [self.first.forward, partial(nn.Module.__call__, self.drop)]
        self.step = lambda x: self.norm(x)
        self.hidden = nn.Linear(4, 4).requires_grad_(False)
        self.count, self.during = 0, lambda: None

    def forward(self, x):
        self.count += 1
        for step in [*self.steps, self.step, self.again, *self.blocks, self.second, self.parallel]:
            x = step(x)
        self.during()
        return self.first(self.hidden(x + nn.functional.linear(x, *self.weights)))


ODD = ["first", "norm", "blocks.0.0", "blocks.0", "second", "parallel.module.0", "hidden"]


def odd(seed=0):
    torch.manual_seed(seed)
    return Odd().double()


def rows(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 5, 4, generator=generator, dtype=torch.float64).unbind()


def snapshot(network):
    """All that a use could change: attributes, tensors by identity and value, hooks, modes."""
    kept = {}
    for name, module in network.named_modules():
        attributes = dict(vars(module))
        for table in ("_parameters", "_buffers", "_modules"):
            for key, value in attributes.pop(table).items():
                attributes[table, key] = id(value)
        kept[name] = {k: dict(v) if isinstance(v, dict) else v for k, v in attributes.items()}
    tensors = {name: value.clone() for name, value in network.state_dict().items()}
    gradients = {n: (w.grad, w.requires_grad) for n, w in network.named_parameters()}
    return kept, tensors, gradients


def assert_untouched(network, before):
    kept, tensors, gradients = snapshot(network)
    assert kept == before[0]
    torch.testing.assert_close(tensors, before[1], rtol=0, atol=0)
    assert gradients == before[2]


def recorded(network, x):
    """The first output of each layer."""
    outputs = {}

    def record(name):
        return lambda module, arguments, output: outputs.update({name: outputs.get(name, output)})

    with ExitStack() as stack:
        for name in ODD:
            handle = network.get_submodule(name).register_forward_hook(record(name))
            stack.callback(handle.remove)
        network(x)
    return outputs


def test_a_frozen_network_is_untouched_at_every_moment():
    net, (x, y) = odd(), rows()
    plain = odd().eval()
    loss = FeatureLayers(net, ODD, normalize=False)
    seen = []
    net.register_forward_pre_hook(lambda *_: seen.append("hook"))
    net.first.register_forward_hook(lambda module, arguments, output: 2 * output)
    plain.first.register_forward_hook(lambda module, arguments, output: 2 * output)
    at = SimpleNamespace(net=net)  # in a closure, the net would be its stand-in
    net.during = lambda: (assert_untouched(at.net, at.before), seen.append("during"))
    net.blocks.eval()
    at.before = snapshot(net)
    value = loss(x.requires_grad_(), y)
    value.backward()
    assert_untouched(net, at.before)
    assert seen == ["hook", "during"] * 2
    assert x.grad.abs().sum() > 0

    found = [recorded(plain, signal) for signal in (x, y)]
    expected = [(found[0][n] - found[1][n]).square().sum(1).mean() for n in ODD]
    torch.testing.assert_close(value, torch.stack(expected).mean())


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_network_that_fails_is_left_as_it_was(failure, frozen):
    def fail(*_):
        raise failure

    net, (x, y) = odd(), rows()
    net.eval()
    handle = net.second.register_forward_pre_hook(fail)
    loss = FeatureLayers(net, ODD, frozen=frozen)
    before = snapshot(net)
    with pytest.raises(failure):
        loss(x, y)
    net.count = before[0][""]["count"]  # its own doing
    assert_untouched(net, before)
    handle.remove()
    loss(x, y)


def in_threads(functions):
    start = threading.Barrier(len(functions))

    def run(function):
        start.wait()
        return [function() for _ in range(30)]

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


@pytest.mark.parametrize("frozen", [True, False])
def test_threads_share_a_network(frozen):
    net = odd().eval()
    loss = FeatureLayers(net, ODD, frozen=frozen)
    pairs = [rows(seed) for seed in range(4)]
    expected = [loss(*pair) for pair in pairs] + [net(pairs[0][0])]
    calls = [lambda pair=pair: loss(*pair) for pair in pairs]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        found = in_threads([*calls, lambda: net(pairs[0][0])])
    finally:
        sys.setswitchinterval(interval)
    for values, value in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.stack(values), value.expand(30, *value.shape))


def test_training_a_network_goes_on_while_it_is_looked_at():
    net, (x, y) = odd(), rows()
    loss = FeatureLayers(net, ODD)

    def step():
        net.zero_grad()
        torch.nn.functional.mse_loss(net(x), y).backward()
        return all(w.grad is not None for n, w in net.named_parameters() if "hidden" not in n)

    trained, _ = in_threads([step, lambda: loss(x, y)])
    assert all(trained)
    assert all(module.training for module in net.modules())


def test_copies_and_states_hold_the_network_alone():
    net, (x, y) = odd(), rows()
    net.step = net.norm
    loss = FeatureLayers(net.requires_grad_(), ODD)
    value = loss(x, y)
    assert {name.removeprefix("network.") for name in loss.state_dict()} == set(net.state_dict())
    assert copy.deepcopy(loss)(x, y) == value
    del net.during
    net.during = print_nothing
    assert pickle.loads(pickle.dumps(loss))(x, y) == value


def print_nothing():
    """What a pickled network may call."""


def test_a_compiled_part_is_seen_through():
    net, (x, y) = odd(), rows()
    expected = FeatureLayers(net, ["blocks.0.0", "hidden"])(x, y)
    net.blocks[0] = torch.compile(net.blocks[0], backend="eager")
    net.norm.compile(backend="eager")
    value = FeatureLayers(net, ["blocks.0._orig_mod.0", "hidden"])(x, y)
    torch.testing.assert_close(value, expected)


def test_a_compiled_loss_has_the_same_value_every_time():
    net, (x, y) = odd(), rows()
    loss = FeatureLayers(net, ODD)
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="eager")
    expected = loss(x, y)
    with torch._dynamo.config.patch(error_on_recompile=True), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for _ in range(3):
            torch.testing.assert_close(compiled(x, y), expected)


class Slotted(nn.Module):
    __slots__ = ("factor", "inner")

    def __init__(self):
        super().__init__()
        self.factor = 3
        self.layer = nn.Linear(4, 4)
        object.__setattr__(self, "inner", self.layer)

    def forward(self, x):
        return self.factor * self.inner(x)


def test_what_a_module_keeps_in_slots():
    network = nn.Sequential(Slotted(), nn.Tanh()).double()
    before = snapshot(network)
    x, y = rows()
    FeatureLayers(network, ["0.layer", "1"])(x.clone().requires_grad_(), y).backward()
    assert_untouched(network, before)
    found = FeatureLayers(network, ["0"], normalize=False)(x, y)
    wanted = (network[0](x) - network[0](y)).square().sum(dim=1).mean()
    torch.testing.assert_close(found, wanted)


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.Sequential(nn.Tanh()))


def traced():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(nn.Sequential(nn.Tanh()), torch.zeros(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.DataParallel(nn.Tanh()), "is a DataParallel, .* use network.module$"),
        (
            lambda: torch.compile(nn.Tanh(), backend="eager"),
            "is a OptimizedModule, .* use network._orig_mod$",
        ),
        (scripted, "is a RecursiveScriptModule, .* use the nn.Module that it was made from"),
        (traced, "is a TopLevelTracedModule, .* use the nn.Module that it was made from"),
        (lambda: nn.Sequential(nn.Tanh(), scripted()), "network.1 is a RecursiveScriptModule"),
        (lambda: nn.Sequential(nn.LazyLinear(2)), "network.0 is a LazyLinear, .* use it once"),
    ],
)
def test_networks_that_cannot_be_looked_into_are_refused(make, message):
    with pytest.raises(ConfigurationError, match=message):
        FeatureLayers(make(), ["0"])


def test_a_distributed_network_is_refused():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        net = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(2, 2)))
        with pytest.raises(ConfigurationError, match=r"use network\.module$"):
            FeatureLayers(net, ["module.0"])
        with pytest.raises(ConfigurationError, match=r"use network\.0\.module$"):
            FeatureLayers(nn.Sequential(net), ["0"])
    finally:
        dist.destroy_process_group()


def test_a_second_name_of_a_module_is_refused():
    with pytest.raises(ConfigurationError, match="'again' is the same module as 'first'"):
        FeatureLayers(odd(), ["again"])
