"""Features of a network as paths: values by hand, early stop, constancy, costs, refusals."""

import pytest
import torch
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


def test_layers_asked_alone_are_those_asked_together():
    """Also where the next layer works in place."""
    loss, (x, y) = make(), images()
    together = loss.path_losses(x, y, range(3))
    for path in range(3):
        assert torch.equal(loss.path_losses(x, y, [path])[0], together[path])


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
