"""Path-wise optimizers behave like those of torch: every habit of a training loop, a row each."""

import pickle

import pytest
import torch

from multipath import StochasticLoss
from multipath.samplers import Importance
from multipath.testing import QuadraticLoss
from multipath.testing._run import Run

from .cases import OPTIMIZERS

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def start(name, **options):
    """Two parameters of shape (1, 2) in training, and three unequal paths."""
    kind, switches = OPTIMIZERS[name]
    sampler = Importance(torch.tensor([0.5, 0.3, 0.2]))
    criterion = StochasticLoss(QuadraticLoss(3), sampler, generator=0)
    values = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    parameters = [torch.nn.Parameter(factor * values) for factor in (1, 0.1)]
    options = {"lr": 0.01, **switches, **options}
    return Run(criterion, parameters, lambda params: kind(params, criterion, **options))


@every_optimizer
def test_schedulers_that_cycle_betas(name):
    run = start(name)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(run.optimizer, 0.05, total_steps=12)
    for _ in range(11):
        run.step()
        scheduler.step()
    assert torch.isfinite(run.weights).all()


@every_optimizer
def test_rates_may_be_tensors(name):
    tensor = torch.tensor(0.01, dtype=torch.float64)
    assert torch.equal(start(name, lr=tensor).step(5).weights, start(name).step(5).weights)


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
    zeroed, dropped = start(name), start(name).step(5)
    for _ in range(5):
        zeroed.optimizer.zero_grad(set_to_none=False)
        zeroed.loss().backward()
        zeroed.optimizer.step()
    assert torch.equal(zeroed.weights, dropped.weights)


@every_optimizer
def test_hooks_of_torch_run(name):
    run, calls = start(name), []
    run.optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    run.optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    run.optimizer.register_load_state_dict_post_hook(lambda _: calls.append("loaded"))
    run.step()
    run.optimizer.load_state_dict(run.optimizer.state_dict())
    assert calls == ["before", "after", "loaded"]


@every_optimizer
def test_parameters_without_gradient_are_not_decayed_and_their_time_stands_still(name):
    run = start(name, weight_decay=0.1)
    idle = torch.nn.Parameter(torch.ones(3))
    run.optimizer.add_param_group({"params": [idle]})
    run.step(3).backward()
    first, second = run.parameters
    before, second.grad = second.detach().clone(), None
    run.optimizer.step()
    assert torch.equal(second, before)
    assert torch.equal(idle, torch.ones(3))
    assert idle not in run.optimizer.state
    assert [run.optimizer.state[p]["step"] for p in (first, second)] == [4, 3]


@every_optimizer
def test_a_group_added_later_begins_its_own_time(name):
    run = start(name).step(5)
    late = torch.nn.Parameter(torch.zeros(1, 2, dtype=torch.float64))
    run.optimizer.add_param_group({"params": [late], "lr": 0.1})
    run.parameters.append(late)
    run.step()
    assert run.optimizer.state[late]["step"] == 1
    alone = start(name, lr=0.1)  # its first step is the first of any optimizer
    alone.criterion._pending = run.criterion.last_draw
    x = alone.parameters[0]
    before, x.grad = x.detach().clone(), late.grad
    alone.optimizer.step()
    tolerance = 0.02 if "bfloat16" in name else 1e-9  # the dither depends on the step
    torch.testing.assert_close(late, x - before, rtol=tolerance, atol=1e-12)


@every_optimizer
def test_memory_formats(name):
    """Blocks of different strides in one group, and one without elements."""
    results = []
    for layout in (torch.channels_last, torch.contiguous_format):
        kind, switches = OPTIMIZERS[name]
        criterion = StochasticLoss(QuadraticLoss(3), generator=0)
        values = torch.linspace(-1, 1, 48).reshape(2, 3, 4, 2)
        weight = torch.nn.Parameter(values.to(memory_format=layout))
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
def test_pickles_go_on_by_themselves(name):
    run = start(name).step(5)
    twin = pickle.loads(pickle.dumps(run))
    run.step(5)
    assert not torch.equal(run.weights, twin.weights)
    assert torch.equal(run.weights, twin.step(5).weights)
    assert twin.optimizer.param_groups[0]["params"][0] is twin.parameters[0]
