"""A path-wise optimizer over its life: states, settings, and what it refuses."""

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


BYTES = {  # per weight and visited path; per weight besides
    ("PAdam", None): (PAdam, {}, 8, 0),
    ("PAdam", "bfloat16"): (PAdam, {"state_dtype": torch.bfloat16}, 4, 0),
    ("PSAGA", None): (PSAGA, {}, 8, 8),
    ("PSAGA", "bfloat16"): (PSAGA, {"state_dtype": torch.bfloat16}, 4, 8),
    ("PSAGA on gradients", None): (PSAGA, {"adaptive": False}, 4, 8),
    ("PSAGA on gradients", "bfloat16"): (
        PSAGA, {"adaptive": False, "state_dtype": torch.bfloat16}, 2, 8
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BYTES, ids=str)
def test_bytes_of_state(case):
    """The table of docs/reference/optim.rst."""
    kind, options, per_path, besides = BYTES[case]
    criterion = StochasticLoss(QuadraticLoss(100), generator=0)
    x = torch.nn.Parameter(torch.zeros(1, 50))
    optimizer = kind([x], criterion, **options)
    for path in (3, 99, 3, 41):
        criterion._pending = criterion.make_draw([path])
        criterion(x, torch.ones(1, 50)).backward()
        optimizer.step()
    assert sum(map(count_bytes, optimizer.state.values())) == 50 * (3 * per_path + besides)


def count_bytes(value):
    if isinstance(value, dict):
        return sum(map(count_bytes, value.values()))
    return value.untyped_storage().nbytes() if isinstance(value, torch.Tensor) else 0


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


def test_a_refused_group_is_not_added():
    _, _, optimizer = make(PAdam)
    with pytest.raises(ConfigurationError, match="lr must not be negative"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": -1.0})
    assert len(optimizer.param_groups) == 1


def test_refused_criteria():
    x = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(ConfigurationError, match=r"that draws the paths, .* got Quad"):
        PAdam([x], QuadraticLoss(2))
    with pytest.raises(ConfigurationError, match=r"2 draws per step.*loss\.grouped\(by="):
        PAdam([x], StochasticLoss(QuadraticLoss(2), n_draws=2))
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
