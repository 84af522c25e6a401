"""Life of a path-wise optimizer: copies, states, settings, and what it refuses."""

import copy

import pytest
import torch

from multipath import StochasticLoss
from multipath.errors import ConfigurationError, DrawError, InputError
from multipath.optim import PSAGA, PAdam
from multipath.testing import QuadraticLoss


def make(optimizer=PSAGA, n_paths=4, seed=0, weights=None, **options):
    criterion = StochasticLoss(QuadraticLoss(n_paths, weights=weights), generator=seed)
    x = torch.nn.Parameter(torch.ones(1, 2, dtype=torch.float64))
    return criterion, x, optimizer([x], criterion, lr=0.01, **options)


def advance(criterion, x, optimizer, n=1):
    for _ in range(n):
        optimizer.zero_grad()
        criterion(x, torch.zeros_like(x)).backward()
        optimizer.step()


@pytest.mark.parametrize("weights", [None, [2.0, 1.0, 1.0], [0.1, 0.0, 0.5]])
def test_saga_follows_the_full_gradient_whatever_the_weights(weights):
    criterion, x, optimizer = make(PSAGA, n_paths=3, weights=weights, adaptive=False, seed=1)
    advance(criterion, x, optimizer, 40)
    full = torch.autograd.grad(criterion.loss(x, torch.zeros_like(x)), x)[0]
    expected = torch.zeros_like(x)
    possible = criterion.loss.path_weights.nonzero().flatten().tolist()
    for path in possible:  # expectation over the draws of the next step
        trial_criterion, trial_x, trial = copy.deepcopy((criterion, x, optimizer))
        draw = trial_criterion.make_draw([path])
        trial.zero_grad()
        trial_criterion.estimate(trial_x, torch.zeros_like(x), draw).backward()
        trial_criterion._pending = draw
        trial.step()
        expected += (x - trial_x).detach() / 0.01 / len(possible)
    torch.testing.assert_close(expected, full, rtol=1e-10, atol=1e-12)


def test_half_precision_parameters_keep_float32_state():
    criterion = StochasticLoss(QuadraticLoss(2), generator=0)
    x = torch.nn.Parameter(torch.ones(1, 2, dtype=torch.bfloat16))
    optimizer = PSAGA([x], criterion, lr=0.1)
    advance(criterion, x, optimizer, 3)
    (state,) = optimizer.state.values()
    assert {m["direction"].dtype for m in state["paths"].values()} == {torch.float32}
    restored = PSAGA([x], criterion, lr=0.1)
    restored.load_state_dict(optimizer.state_dict())
    (again,) = restored.state.values()
    assert again["sum"].dtype == torch.float32
    assert torch.equal(again["sum"], state["sum"])


def test_parameters_without_gradient_are_left_alone():
    criterion = StochasticLoss(QuadraticLoss(2), generator=0)
    x, idle = (torch.nn.Parameter(torch.ones(1, 2)) for _ in range(2))
    optimizer = PAdam([x, idle], criterion, lr=0.1, weight_decay=0.5)
    advance(criterion, x, optimizer, 3)
    assert torch.equal(idle, torch.ones(1, 2))
    assert idle not in optimizer.state


def test_groups_and_schedulers():
    criterion = StochasticLoss(QuadraticLoss(3), generator=0)
    x, y = (torch.nn.Parameter(torch.ones(1, 2)) for _ in range(2))
    optimizer = PSAGA([{"params": [x]}, {"params": [y], "lr": 0.0}], criterion, lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=[0.1, 0.0], total_steps=10)
    for _ in range(9):
        optimizer.zero_grad()
        criterion(x + y, torch.zeros(1, 2)).backward()
        optimizer.step()
        scheduler.step()
    assert torch.isfinite(x).all()
    assert not torch.equal(x, torch.ones(1, 2))
    assert torch.equal(y, torch.ones(1, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr must not be negative, got -1.0"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"eps": -1.0}, "eps must not be negative"),
        ({"betas": (0.9, 1.0)}, "betas must be two numbers in"),
        ({"betas": 0.9}, "betas must be two numbers in"),
        ({"lr": float("nan")}, "lr must not be negative, got nan"),
        ({"betas": (0.9,)}, "betas must be two numbers in"),
        ({"clock": "sundial"}, 'clock must be "paths" or "visits", got .sundial'),
        ({"state_dtype": torch.float16}, "state_dtype must be None, torch.bfloat16, .*float16"),
    ],
)
@pytest.mark.parametrize("optimizer", [PAdam, PSAGA])
def test_refused_settings(optimizer, options, message):
    criterion = StochasticLoss(QuadraticLoss(2))
    with pytest.raises(ConfigurationError, match=message):
        optimizer([torch.nn.Parameter(torch.ones(1))], criterion, **options)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_refused_damping(alpha):
    with pytest.raises(ConfigurationError, match=r"alpha must be in \[0, 1\], got"):
        make(PSAGA, alpha=alpha)


def test_a_refused_group_is_not_added():
    _, _, optimizer = make(PAdam)
    with pytest.raises(ConfigurationError, match="lr must not be negative"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": -1.0})
    assert len(optimizer.param_groups) == 1


def test_refused_criteria():
    x = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(ConfigurationError, match=r"that draws the paths, .* got Quad"):
        PAdam([x], QuadraticLoss(2))
    criterion, x, optimizer = make()
    criterion.n_draws = 2
    with pytest.raises(DrawError, match="takes one path at a time and the criterion drew 2"):
        advance(criterion, x, optimizer)


def test_complex_parameters_are_refused():
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.complex64))
    with pytest.raises(ConfigurationError, match="does not support complex parameters"):
        PAdam([weight], StochasticLoss(QuadraticLoss(2)))


def test_sparse_gradients_are_refused_before_anything_changes():
    criterion = StochasticLoss(QuadraticLoss(2), generator=0)
    layer = torch.nn.Embedding(3, 2, sparse=True)
    optimizer = PAdam(layer.parameters(), criterion)
    criterion(layer(torch.tensor([1])), torch.zeros(1, 2)).backward()
    for _ in range(2):  # the draw is not used up either
        with pytest.raises(InputError, match="got a sparse gradient"):
            optimizer.step()


def test_states_of_other_optimizers_are_refused():
    adam, saga, wider = make(PAdam), make(PSAGA), make(PSAGA, n_paths=9)
    for triple in (adam, saga, wider):
        advance(*triple, 12)
    with pytest.raises(ConfigurationError, match=r"not that of a PSAGA.*lack adaptive, alpha"):
        saga[2].load_state_dict(adam[2].state_dict())
    with pytest.raises(
        ConfigurationError, match=r"not that of a PAdam.*differs in compensation, sum"
    ):
        adam[2].load_state_dict(saga[2].state_dict())
    plain = torch.optim.AdamW([saga[1]])
    with pytest.raises(ConfigurationError, match=r"not that of a PAdam.*lack clock, state_dtype"):
        adam[2].load_state_dict(plain.state_dict())
    older = adam[2].state_dict()
    older["state"] = {0: {"step": 1, "paths": {0: {"last_step": 1, "mean": adam[1]}}}}
    with pytest.raises(ConfigurationError, match="another version: it differs in age, direction"):
        adam[2].load_state_dict(older)
    criterion = StochasticLoss(QuadraticLoss(4), generator=0)
    longer = PAdam([torch.nn.Parameter(torch.ones(1, 3))], criterion)
    with pytest.raises(
        ConfigurationError, match=r"shape \(1, 2\) and the parameter has .*\(1, 3\)"
    ):
        longer.load_state_dict(adam[2].state_dict())
    with pytest.raises(ConfigurationError, match=r"knows path \d and the loss has 4 paths"):
        saga[2].load_state_dict(wider[2].state_dict())
