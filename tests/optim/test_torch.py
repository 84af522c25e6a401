"""Path-wise optimizers behave like those of torch: every habit of a training loop, a row each."""

import copy
import pickle

import pytest
import torch

from multipath import StochasticLoss
from multipath.samplers import Importance
from multipath.testing import QuadraticLoss

from .cases import OPTIMIZERS

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


class Run:
    """A tiny model in training: x of shape (1, 2) and a bias, three unequal paths."""

    def __init__(self, name, dtype=torch.float64, seed=0, **options):
        kind, switches = OPTIMIZERS[name]
        sampler = Importance(torch.tensor([0.5, 0.3, 0.2]))
        self.criterion = StochasticLoss(QuadraticLoss(3), sampler, generator=seed)
        start = torch.tensor([[1.0, -2.0]], dtype=dtype)
        self.x, self.bias = (torch.nn.Parameter(start * factor) for factor in (1, 0.1))
        self.optimizer = kind(
            [self.x, self.bias], self.criterion, **{"lr": 0.01, **switches, **options}
        )

    def loss(self, factor=1.0):
        value = self.x + self.bias
        return factor * self.criterion(value, torch.full_like(value, 0.3))

    def step(self, n=1):
        for _ in range(n):
            self.optimizer.zero_grad()
            self.loss().backward()
            self.optimizer.step()
        return self

    @property
    def weights(self):
        return torch.cat([self.x, self.bias]).detach().clone()


def same(first, second, exact=True):
    if exact:
        return torch.equal(first.weights, second.weights)
    return torch.allclose(first.weights, second.weights, rtol=1e-6, atol=1e-9)


@every_optimizer
def test_gradient_clipping_acts_before_the_step(name):
    clipped, by_hand = Run(name), Run(name)
    for run in (clipped, by_hand):
        run.loss().backward()
    torch.nn.utils.clip_grad_norm_([clipped.x, clipped.bias], 0.1)
    norm = torch.stack([by_hand.x.grad, by_hand.bias.grad]).norm()
    for parameter in (by_hand.x, by_hand.bias):
        parameter.grad *= 0.1 / (norm + 1e-6)
    for run in (clipped, by_hand):
        run.optimizer.step()
    assert same(clipped, by_hand)


@every_optimizer
def test_schedulers_that_cycle_betas(name):
    run = Run(name)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(run.optimizer, 0.05, total_steps=12)
    for _ in range(11):
        run.step()
        scheduler.step()
    assert torch.isfinite(run.weights).all()


@every_optimizer
def test_rates_may_be_tensors(name):
    assert same(Run(name, lr=torch.tensor(0.01, dtype=torch.float64)).step(5), Run(name).step(5))


@every_optimizer
def test_weight_decay_is_decoupled(name):
    plain, decayed = Run(name), Run(name, weight_decay=0.1)
    before = plain.weights
    plain.step()
    decayed.step()
    torch.testing.assert_close(plain.weights - decayed.weights, 0.01 * 0.1 * before)


@every_optimizer
def test_parameters_without_gradient_stand_still(name):
    run, other = Run(name, weight_decay=0.1), Run(name, weight_decay=0.1)
    idle = torch.nn.Parameter(torch.ones(3))
    run.optimizer.add_param_group({"params": [idle]})
    for number in range(6):
        for each in (run, other):
            each.optimizer.zero_grad()
            each.loss().backward()
        if number == 3:
            run.bias.grad = None
            before = run.bias.detach().clone()
        run.optimizer.step()
        if number == 3:
            assert torch.equal(run.bias, before)
        other.optimizer.step()
    assert torch.equal(idle, torch.ones(3))
    assert idle not in run.optimizer.state
    assert run.optimizer.state[run.x]["step"] == 6
    assert run.optimizer.state[run.bias]["step"] == 5


@every_optimizer
def test_a_group_added_later_begins_its_own_time(name):
    run = Run(name).step(5)
    late = torch.nn.Parameter(torch.zeros(1, 2, dtype=torch.float64))
    run.optimizer.add_param_group({"params": [late], "lr": 0.1})
    late_loss = run.criterion(run.x + late, torch.ones_like(late))
    run.optimizer.zero_grad()
    late_loss.backward()
    run.optimizer.step()
    assert run.optimizer.state[late]["step"] == 1
    alone = Run(name)  # its first step is the first of any optimizer
    (path,) = run.criterion.last_draw.indices.tolist()
    alone.criterion._pending = alone.criterion.make_draw([path])
    alone.x.grad = late.grad.clone()
    alone.optimizer.param_groups[0]["lr"] = 0.1
    start = alone.x.detach().clone()
    alone.optimizer.step()
    tolerance = 0.02 if "bfloat16" in name else 1e-9  # the dither depends on the step
    torch.testing.assert_close(late, alone.x - start, rtol=tolerance, atol=1e-12)


@every_optimizer
def test_mixed_dtypes_in_one_group(name):
    kind, switches = OPTIMIZERS[name]
    dtypes = [torch.float32, torch.float64, torch.bfloat16, torch.float32]
    weights = [torch.nn.Parameter(torch.ones(1, 2, dtype=dtype)) for dtype in dtypes]
    criterion = StochasticLoss(QuadraticLoss(3), generator=0)
    optimizer = kind(weights, criterion, lr=0.05, **switches)
    for _ in range(10):
        optimizer.zero_grad()
        value = sum(weight.double() for weight in weights)
        criterion(value, torch.zeros(1, 2, dtype=torch.float64)).backward()
        optimizer.step()
    assert [weight.dtype for weight in weights] == dtypes
    assert all((weight < 1).all() for weight in weights)
    assert torch.equal(weights[0], weights[3]) or "bfloat16" in name
    torch.testing.assert_close(weights[0].double(), weights[1], rtol=0.02, atol=0.02)


@every_optimizer
def test_gradients_set_to_zero_instead_of_none(name):
    zeroed, dropped = Run(name), Run(name).step(5)
    for _ in range(5):
        zeroed.optimizer.zero_grad(set_to_none=False)
        zeroed.loss().backward()
        zeroed.optimizer.step()
    assert same(zeroed, dropped)


@every_optimizer
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_memory_formats(name, layout):
    """Blocks of different strides in one group, and one without elements."""
    results = []
    for fmt in (layout, torch.contiguous_format):
        kind, switches = OPTIMIZERS[name]
        criterion = StochasticLoss(QuadraticLoss(3), generator=0)
        start = torch.linspace(-1, 1, 48).reshape(2, 3, 4, 2)
        weight = torch.nn.Parameter(start.to(memory_format=fmt))
        empty = torch.nn.Parameter(torch.zeros(0, 2))
        optimizer = kind([weight, empty], criterion, lr=0.01, **switches)
        for _ in range(5):
            optimizer.zero_grad()
            value = torch.cat([weight.reshape(-1, 2), empty])
            criterion(value, torch.zeros_like(value)).backward()
            optimizer.step()
        results.append(weight.detach())
    assert torch.equal(*results)


@every_optimizer
@pytest.mark.parametrize("how", [copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
def test_copies_and_pickles_go_on_by_themselves(name, how):
    run = Run(name).step(5)
    twin = how(run)
    run.step(5)
    assert not same(run, twin)
    assert same(run, twin.step(5))
    assert twin.optimizer.param_groups[0]["params"][0] is twin.x


@every_optimizer
def test_hooks_of_torch_run(name):
    run, calls = Run(name), []
    run.optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    run.optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    run.optimizer.register_load_state_dict_post_hook(lambda _: calls.append("loaded"))
    run.step()
    run.optimizer.load_state_dict(run.optimizer.state_dict())
    assert calls == ["before", "after", "loaded"]
