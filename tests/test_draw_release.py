"""A draw is released by the step that ends it, or loudly not: wrappers, stages, checkpoints."""

import copy
import gc
import logging
import weakref
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from lightning.fabric import Fabric
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch.optim import SGD, Optimizer
from torch.utils.checkpoint import checkpoint

from multipath import StochasticLoss
from multipath.errors import ConfigurationError
from multipath.optim import PSAGA, PAdam
from multipath.samplers import AdaptiveImportance, Uniform
from multipath.testing import QuadraticLoss

PATHS = [62, 45, 29, 58, 41, 50]
"""What a plain loop draws of 64 paths with seed 0."""


class Sam(Optimizer):
    """Two steps of its own, and the inner optimizer in the second."""

    def __init__(self, params, base):
        super().__init__(params, {"rho": 0.05})
        self.base_optimizer = base(self.param_groups, lr=0.01)
        self.param_groups = self.base_optimizer.param_groups

    def first_step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight]["before"] = weight.detach().clone()
                weight.data.add_(weight.grad, alpha=0.05 / (weight.grad.norm() + 1e-12))

    def second_step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.data.copy_(self.state[weight]["before"])
        self.base_optimizer.step()


class Lookahead:
    """No optimizer itself."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        self.optimizer.step()


class Forwarding:
    """Passes every attribute on, and so looks like the optimizer inside."""

    def __init__(self, inner):
        self.__dict__["inner"] = inner

    def __getattr__(self, name):
        return getattr(self.__dict__["inner"], name)

    def step(self):
        self.__dict__["inner"].step()


class Slotted:
    __slots__ = ("optimizer",)

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        self.optimizer.step()


class Unprepared(Optimizer):
    """Skips the constructor of its base."""

    def __init__(self, optimizer=None):
        if optimizer is not None:
            self.optimizer = optimizer

    def step(self):
        self.optimizer.step()


def lightning(optimizer):
    wrapped = LightningOptimizer(optimizer)
    wrapped._strategy = SimpleNamespace(
        optimizer_step=lambda optimizer, closure, **_: optimizer.step(closure)
    )
    return wrapped


def fabric(optimizer):
    model = torch.nn.Linear(1, 1)
    return Fabric(accelerator="cpu", devices=1).setup(model, optimizer)[1]


WRAPPERS = {
    "none": lambda optimizer: optimizer,
    "Lightning": lightning,
    "Fabric": fabric,
    "Accelerate": lambda optimizer: Accelerator(cpu=True).prepare(optimizer),
    "Lookahead": Lookahead,
    "Lookahead in Lookahead": lambda optimizer: Lookahead(Lookahead(optimizer)),
    "forwarding": Forwarding,
    "slots": Slotted,
    "no constructor": Unprepared,
}


def setting(n_paths=64, **options):
    criterion = StochasticLoss(QuadraticLoss(n_paths), generator=0, **options)
    return criterion, torch.nn.Parameter(torch.zeros(1, n_paths)), torch.ones(1, n_paths)


def train(criterion, x, y, step, n=6):
    paths = []
    for _ in range(n):
        criterion(x, y).backward()
        paths.append(int(criterion.last_draw.indices))
        step()
    return paths


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_optimizer_releases_its_draws(name):
    criterion, x, y = setting()
    wrapped = WRAPPERS[name](SGD([x], lr=0.01))
    criterion.redraw_after(wrapped)
    assert train(criterion, x, y, wrapped.step) == PATHS


def test_two_forwards_of_sam_see_one_path():
    criterion, x, y = setting()
    optimizer = Sam([x], SGD)
    criterion.redraw_after(optimizer)
    paths = []
    for _ in range(6):
        for step in (optimizer.first_step, optimizer.second_step):
            optimizer.zero_grad()
            criterion(x, y).backward()
            paths.append(int(criterion.last_draw.indices))
            step()
    assert paths[::2] == paths[1::2] == PATHS


@pytest.mark.parametrize(
    "given",
    [
        lambda x: torch.nn.Linear(1, 1),
        lambda x: [SGD([x], lr=0.1)],
        lambda x: Unprepared(),
        lambda x: SGD,
        lambda x: None,
    ],
    ids=["a module", "a list", "no constructor", "a class", "None"],
)
def test_what_has_no_step_to_wait_for_is_refused_and_changes_nothing(given):
    criterion, x, y = setting()
    optimizer = SGD([x], lr=0.01)
    criterion.redraw_after(optimizer)
    with pytest.raises(ConfigurationError, match=r"takes the optimizer whose step\(\) ends a draw"):
        criterion.redraw_after(given(x))
    assert train(criterion, x, y, optimizer.step) == PATHS


def test_several_optimizers_in_one_wrapper_are_refused():
    criterion, x, _ = setting()
    pair = Lookahead(SGD([x], lr=0.1))
    pair.other = SGD([x], lr=0.1)
    with pytest.raises(ConfigurationError, match="Lookahead holds 2 optimizers; call redraw_after"):
        criterion.redraw_after(pair)


def test_a_plain_loop_is_never_warned(caplog):
    criterion, x, y = setting()
    with caplog.at_level(logging.WARNING):
        train(criterion, x, y, lambda: None, 150)
    assert not caplog.records


@pytest.mark.parametrize("warn_after", [None, 7])
def test_a_draw_that_is_never_released_warns_once(caplog, warn_after):
    criterion, x, y = setting()
    if warn_after is not None:
        criterion.warn_after = warn_after
    criterion.redraw_after(SGD([torch.zeros(1, requires_grad=True)], lr=0.1))
    kept = SGD([x], lr=0.01)  # a later stage steps with another one
    stage = SGD([x], lr=0.01)
    criterion.redraw_after(stage)
    n = criterion.warn_after
    with caplog.at_level(logging.WARNING):
        assert len(set(train(criterion, x, y, kept.step, n - 1))) == 1
        assert not caplog.records
        train(criterion, x, y, kept.step, n)
    (record,) = caplog.records
    assert f"one draw has served {n} forwards" in record.getMessage()
    assert "redraw_after" in record.getMessage()
    assert "discard_draw" in record.getMessage()


def test_an_optimizer_that_is_gone_holds_no_draw():
    criterion, x, y = setting()
    criterion.redraw_after(SGD([x], lr=0.01))
    gc.collect()
    assert train(criterion, x, y, lambda: None) == PATHS


def test_linking_again_and_again_leaves_nothing_behind():
    criterion, x, y = setting()
    first, second = SGD([x], lr=0.01), SGD([x], lr=0.01)
    for _ in range(1000):
        criterion.redraw_after(first)
        criterion.redraw_after(second)
    hooks = [len(optimizer._optimizer_step_post_hooks) for optimizer in (first, second)]
    assert hooks == [0, 1]
    assert train(criterion, x, y, second.step) == PATHS
    gone = weakref.ref(criterion)
    del criterion
    gc.collect()
    assert gone() is None
    assert not second._optimizer_step_post_hooks


def test_a_copy_between_forward_and_step_draws_for_itself():
    criterion, x, y = setting()
    optimizer = SGD([x], lr=0.01)
    criterion.redraw_after(optimizer)
    criterion(x, y).backward()
    twin = copy.deepcopy(criterion)
    assert twin._linked() is None
    assert train(twin, x, y, lambda: None, 5) == PATHS[1:]
    optimizer.step()
    assert train(criterion, x, y, optimizer.step, 5) == PATHS[1:]


def test_two_optimizers_of_one_game_each_have_a_criterion_of_their_own():
    made, told = setting()[0], setting()[0]
    x, z = (torch.nn.Parameter(torch.zeros(1, 64)) for _ in range(2))
    y = torch.ones(1, 64)
    generator, critic = SGD([x], lr=0.01), SGD([z], lr=0.01)
    made.redraw_after(generator)
    told.redraw_after(critic)
    paths = [], []
    for _ in range(6):
        for criterion, weight, optimizer, seen in (
            (made, x, generator, paths[0]),
            (told, z, critic, paths[1]),
        ):
            criterion(weight, y).backward()
            seen.append(int(criterion.last_draw.indices))
            optimizer.step()
    assert paths == (PATHS, PATHS)


LINKS = {
    "not linked": lambda criterion, x: None,
    "SGD": lambda criterion, x: (
        (optimizer := SGD([x], lr=0.01)) and (criterion.redraw_after(optimizer), optimizer)[1]
    ),
    "PAdam": lambda criterion, x: PAdam([x], criterion, lr=0.01),
    "PSAGA": lambda criterion, x: PSAGA([x], criterion, lr=0.01),
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("inside", ["criterion", "model and criterion"])
def test_a_checkpointed_forward_has_the_value_and_the_gradient_of_one_draw(link, reentrant, inside):
    criterion, x, y = setting(n_draws=1)
    optimizer = LINKS[link](criterion, x)
    paths = []
    for _ in range(6):
        x.grad = None
        if inside == "criterion":
            region = lambda a: criterion(a, y)  # noqa: E731
        else:
            region = lambda a: criterion(2 * a.sin(), y)  # noqa: E731
        value = checkpoint(region, x, use_reentrant=reentrant)
        draw = criterion.last_draw
        value.backward()
        assert criterion.last_draw is draw
        again = x.detach().clone().requires_grad_()
        output = again if inside == "criterion" else 2 * again.sin()
        plain = criterion.estimate(output, y, draw)
        plain.backward()
        assert value.item() == plain.item()
        torch.testing.assert_close(x.grad, again.grad, rtol=0, atol=0)
        paths.append(int(draw.indices))
        if optimizer is not None:
            optimizer.step()
    assert paths == PATHS


@pytest.mark.parametrize("reentrant", [True, False])
def test_several_checkpointed_forwards_keep_their_own_draws(reentrant):
    criterion, _, y = setting()
    inputs = [torch.full((1, 64), float(i), requires_grad=True) for i in range(4)]
    values, draws = [], []
    for x in inputs:
        values.append(checkpoint(lambda a: criterion(a.square(), y), x, use_reentrant=reentrant))
        draws.append(criterion.last_draw)
    assert [int(draw.indices) for draw in draws] == PATHS[:4]
    (values[0] + 2 * values[2] + values[1] + values[3]).backward()
    for x, draw, factor in zip(inputs, draws, [1, 1, 2, 1], strict=True):
        again = x.detach().clone().requires_grad_()
        (factor * criterion.estimate(again.square(), y, draw)).backward()
        torch.testing.assert_close(x.grad, again.grad)


REGIONS = {
    "several calls": lambda criterion, y: lambda a: criterion(a, y) + 3 * criterion(a.sin(), y),
    "more work after the call": lambda criterion, y: lambda a: criterion(a, y) * a.square().sum(),
}


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_every_call_in_a_region_keeps_its_own_draw(region, reentrant, seed):
    """Against the same regions without checkpoints: the draws are those of the same stream."""
    gradients = []
    for checkpointed in (True, False):
        criterion = StochasticLoss(QuadraticLoss(64), generator=seed)
        y = torch.ones(1, 64)
        inputs = [torch.full((1, 64), 0.5 + i, requires_grad=True) for i in range(3)]
        function = REGIONS[region](criterion, y)
        if checkpointed:
            values = [checkpoint(function, x, use_reentrant=reentrant) for x in inputs]
        else:
            values = [function(x) for x in inputs]
        (values[0] + 2 * values[1] + values[2]).backward()
        gradients.append(torch.cat([x.grad for x in inputs]))
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=0)


@pytest.mark.filterwarnings("ignore:None of the inputs")  # in the first run of the outer one
@pytest.mark.parametrize("observes", [None, "losses"])
@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("inner_reentrant", [True, False])
@pytest.mark.parametrize("outer_reentrant", [True, False])
def test_checkpoints_within_checkpoints(outer_reentrant, inner_reentrant, linked, observes, caplog):
    """Values, gradients, draws and what is learned of them are those without checkpoints."""

    def train(within_outer, within_inner):
        sampler = AdaptiveImportance(observes=observes) if observes else Uniform()
        criterion = StochasticLoss(QuadraticLoss(64), sampler, generator=5)
        scale = torch.linspace(0.1, 0.9, 64, dtype=torch.float64, requires_grad=True)
        optimizer = SGD([scale], lr=0.1)
        if linked:
            criterion.redraw_after(optimizer)
        y = torch.ones(1, 64, dtype=torch.float64)

        def inner(a):
            return criterion(a * scale, y) + 2 * criterion((a * scale).sin(), y)

        def outer(a):
            nested = within_inner(inner, a.sin()) - within_inner(inner, a)
            return 3 * nested + criterion(a * scale, y)

        found = []
        for step in range(3):
            x = torch.full_like(y, 0.5 + step, requires_grad=True)
            value = within_outer(outer, x) + 0.5 * within_outer(outer, x.cos())
            optimizer.zero_grad()
            value.backward()
            found += [value.detach(), scale.grad.clone(), x.grad]
            optimizer.step()
        return found, criterion.sampler.probabilities

    def plain(function, a):
        return function(a)

    found = train(
        partial(checkpoint, use_reentrant=outer_reentrant),
        partial(checkpoint, use_reentrant=inner_reentrant),
    )
    torch.testing.assert_close(found, train(plain, plain), rtol=1e-9, atol=1e-12)
    assert not caplog.records


class Home(torch.autograd.Function):
    """A checkpoint of somebody's own."""

    @staticmethod
    def forward(ctx, x, run):
        ctx.run = run
        ctx.save_for_backward(x)
        return run(x)

    @staticmethod
    def backward(ctx, gradient):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            ctx.run(x).backward(gradient)
        return x.grad, None


@pytest.mark.parametrize("linked", [False, True])
def test_a_repetition_that_cannot_be_told_apart(linked, caplog):
    criterion, x, y = setting()
    optimizer = SGD([x], lr=0.0)  # values differ by their paths alone
    if linked:
        criterion.redraw_after(optimizer)
    values = []

    def evaluate(a):
        values.append(criterion(a, y))
        return values[-1]

    for _ in range(6):
        Home.apply(x, evaluate).backward()
        optimizer.step()
    first, repeated = values[::2], values[1::2]
    assert len({value.item() for value in repeated}) >= 4  # another path nearly each time
    assert linked or [v.item() for v in first] == [v.item() for v in repeated]
    told = [record for record in caplog.records if "within a backward pass" in record.message]
    assert len(told) == (not linked)


def test_a_repetition_after_loading_takes_the_draw_that_was_loaded():
    saved, x, y = setting()
    expected = saved(x, y).item()
    criterion = setting()[0]
    criterion(x, y), criterion(x, y)  # draws of its own, until others are loaded
    criterion.load_state_dict(saved.state_dict())
    values = []
    z = x.detach().clone().requires_grad_()
    hooked = z * 1
    hooked.register_hook(lambda _: values.append(criterion(x.detach(), y).item()))
    hooked.sum().backward()
    assert values == [expected]


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_without_gradients_is_an_evaluation(reentrant):
    criterion, x, y = setting()
    with torch.no_grad():
        for _ in range(3):
            checkpoint(criterion, x, y, use_reentrant=reentrant)
    assert criterion.last_draw is None
    assert train(criterion, x, y, lambda: None) == PATHS


def test_an_optimizer_made_of_several_steps_as_one():
    class Both(Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 0.01})
            weights = self.param_groups[0]["params"]
            self.first, self.second = SGD(weights[:1], lr=0.01), SGD(weights[1:], lr=0.01)

        def step(self):
            self.first.step()
            self.second.step()

    criterion, x, y = setting()
    optimizer = Both([x, torch.nn.Parameter(torch.zeros(1))])
    criterion.redraw_after(optimizer)
    assert train(criterion, x, y, optimizer.step) == PATHS
    scheduler = torch.optim.lr_scheduler.LambdaLR(SGD([x], lr=0.1), lambda step: 1.0)
    with pytest.raises(ConfigurationError, match="got LambdaLR"):
        criterion.redraw_after(scheduler)


def test_a_criterion_in_training_mode_without_gradients_says_so_once(caplog):
    criterion, x, y = setting()
    with caplog.at_level(logging.WARNING):
        checkpoint(criterion, x, y, use_reentrant=True).backward()
        assert not caplog.records
        with torch.no_grad():
            for _ in range(3):
                criterion(x, y)
    (record,) = caplog.records
    assert "training mode was called without gradients" in record.getMessage()
    assert "criterion.eval()" in record.getMessage()
