"""What path-wise optimizers promise: unbiased, without variance where it can be, small, exact."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath import PathDecomposedLoss, StochasticLoss
from multipath.optim import PSAGA, PAdam
from multipath.optim._foreach import round_into
from multipath.optim.psaga import add_compensated
from multipath.samplers import Importance
from multipath.testing import QuadraticLoss

ZERO = torch.zeros(1, 2, dtype=torch.float64)


def make(kind=PSAGA, n_paths=4, sampler=None, start=1.0, loss=None, reweight=True, **options):
    loss = loss or QuadraticLoss(n_paths)
    criterion = StochasticLoss(loss, sampler, generator=0, reweight=reweight)
    x = torch.nn.Parameter(torch.full_like(ZERO, start))
    return criterion, x, kind([x], criterion, **{"lr": 0.01, **options})


def visit(run, path=None):
    """One step, at a path drawn or given; its update of x, undivided by the rate."""
    criterion, x, optimizer = run
    if path is not None:
        criterion._pending = criterion.make_draw([path])
    before = x.detach().clone()
    optimizer.zero_grad()
    criterion(x, ZERO).backward()
    optimizer.step()
    return (before - x.detach()) / optimizer.param_groups[0]["lr"]


@given(
    st.floats(0, 1),
    st.sampled_from([1, 2, 3, 7]),
    st.integers(0, 2**31),
)
def test_expected_update_is_the_gradient_whatever_the_damping(alpha, n_paths, seed):
    """By enumeration of the next draw, importance weights included."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(n_paths, generator=generator, dtype=torch.float64) + 0.1
    sampler = Importance(weights / weights.sum())
    run = make(n_paths=n_paths, sampler=sampler, alpha=alpha, adaptive=False)
    for path in range(n_paths):
        visit(run, path)
    criterion, x, _ = run
    full = torch.autograd.grad(criterion.loss(x, ZERO), x)[0]
    updates = [visit(copy.deepcopy(run), path) for path in range(n_paths)]
    expected = sum(p * u for p, u in zip(sampler.probabilities, updates, strict=True))
    torch.testing.assert_close(expected, full, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["paths", "visits"])
def test_damping_by_zero_is_p_adam(kind):
    sampler = Importance(torch.tensor([0.5, 0.3, 0.2]))
    saga = make(PSAGA, 3, sampler, alpha=0.0, clock=kind)
    adam = make(PAdam, 3, Importance(torch.tensor([0.5, 0.3, 0.2])), clock=kind)
    for _ in range(40):
        visit(saga)
        visit(adam)
        assert torch.equal(saga[1], adam[1])


class Shifted(PathDecomposedLoss):
    """L_p = |x - shift_p|^2 / 2: the optimum is the mean shift, where no path is at rest."""

    def path_losses(self, input, target, indices):
        shifts = torch.as_tensor(indices, dtype=input.dtype)[:, None, None]
        return ((input - shifts) ** 2).sum(dim=-1) / 2


def test_saga_converges_linearly_where_sgd_stalls():
    """With one constant step size; from halving to halving the error falls by a constant factor."""
    errors = {}
    for name in ("saga", "sgd"):
        run = make(loss=Shifted(4), lr=0.1, adaptive=False, start=10.0)
        criterion, x, optimizer = run
        if name == "sgd":
            optimizer = torch.optim.SGD([x], lr=0.1)
            criterion.redraw_after(optimizer)
            run = criterion, x, optimizer
        errors[name] = []
        for _ in range(400):
            visit(run)
            errors[name].append((x - 1.5).abs().max().item())
    at = {name: [max(e[k - 20 : k]) for k in (100, 200, 300, 400)] for name, e in errors.items()}
    assert at["saga"][3] < 1e-9
    assert all(later < 1e-2 * earlier for earlier, later in zip(at["saga"], at["saga"][1:]))  # noqa: B905
    assert at["sgd"][3] > 0.1  # the spread of the shifts, times the step size, keeps it moving


@pytest.mark.parametrize("n_paths", [1, 2, 5])
@pytest.mark.parametrize("adaptive", [True, False])
def test_identical_paths_have_no_variance(n_paths, adaptive):
    """Once all were visited at one place, the next update is the same whatever is drawn."""

    class Same(PathDecomposedLoss):
        def path_losses(self, input, target, indices):
            return ((input - target) ** 2).sum(dim=-1).expand(len(indices), -1)

    run = make(loss=Same(n_paths), adaptive=adaptive, lr=0.0)
    for path in range(n_paths):
        visit(run, path)
    run[2].param_groups[0]["lr"] = 1.0
    updates = [visit(copy.deepcopy(run), path) for path in range(n_paths)]
    for update in updates:
        torch.testing.assert_close(update, updates[0], rtol=1e-10, atol=1e-12)
        assert (update != 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("state_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("adaptive", [True, False])
def test_the_running_sum_does_not_drift(dtype, state_dtype, adaptive):
    """After thousands of steps it is still the sum of the memories that the state holds."""
    criterion = StochasticLoss(QuadraticLoss(5), generator=0)
    x = torch.nn.Parameter(torch.linspace(-1, 1, 8, dtype=dtype)[None])
    optimizer = PSAGA([x], criterion, lr=0.0, adaptive=adaptive, state_dtype=state_dtype)
    noise = torch.Generator().manual_seed(0)
    for _ in range(3000):
        optimizer.zero_grad()
        target = torch.randn(x.shape, generator=noise).to(dtype)
        criterion(x, target).backward()
        optimizer.step()
    state = optimizer.state[x]
    fresh = sum(memory(entry) for entry in state["paths"].values())
    scale = sum(memory(entry).abs() for entry in state["paths"].values())
    actual = state["sum"].double() + state["compensation"].double()
    assert ((actual - fresh).abs() / scale).max() < 1e-5
    assert (state["sum"] != 0).all()
    assert state["visited"] == 5


def test_sums_keep_what_rounding_takes():
    """A hundred thousand terms, each too small to change the sum."""
    sums, lacking = [torch.ones(3)], [torch.zeros(3)]
    for _ in range(100_000):
        add_compensated(sums, lacking, [torch.full((3,), 1e-5 / 1000)])
    torch.testing.assert_close(sums[0], torch.full((3,), 1.001), rtol=1e-7, atol=0.0)


def memory(entry):
    entry = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in entry.items()}
    if "gradient" in entry:
        return entry["gradient"]
    return entry["scale"] * entry["direction"]


@given(st.floats(1e-30, 1e30), st.booleans(), st.integers(0, 2**40))
def test_rounding_is_to_a_neighbour_and_right_on_average(magnitude, negative, seed):
    value = torch.tensor(-magnitude if negative else magnitude, dtype=torch.float32)
    n = 2**12
    values, stored = [value.repeat(n)], [torch.zeros(n, dtype=torch.bfloat16)]
    round_into(stored, values, [torch.zeros(n, dtype=torch.int32)], seed)
    assert torch.equal(values[0], stored[0].float())
    assert len(stored[0].unique()) <= 2
    spacing = 2.0**-7 * 2 ** math.floor(math.log2(value.abs().item()))
    assert (stored[0].double() - value.double()).abs().max() < spacing
    # 4096 points of a sequence of low discrepancy: far closer than independent ones would be
    assert abs(stored[0].double().mean() - value.double()) < 2e-3 * spacing


def test_rounding_of_one_weight_is_right_over_time():
    value, n = torch.tensor([1.0 + 2.0**-9]), 20_000  # a quarter of the way to the next
    total = 0.0
    for seed in range(n):
        stored = [torch.zeros(1, dtype=torch.bfloat16)]
        round_into(stored, [value.clone()], [torch.zeros(1, dtype=torch.int32)], seed)
        total += float(stored[0] > 1)
    assert total / n == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / n))


def test_rounding_leaves_infinity_zero_and_nan_alone():
    special = torch.tensor([torch.inf, -torch.inf, 0.0, torch.nan])
    stored = [torch.zeros(4, dtype=torch.bfloat16)]
    round_into(stored, [special.clone()], [torch.zeros(4, dtype=torch.int32)], 0)
    assert torch.equal(stored[0][:3].float(), special[:3])
    assert stored[0][3].isnan()


def test_bfloat16_moments_do_not_stall():
    """beta2 = 0.999 moves the root by 0.05 % a step, an eighth of bfloat16's half spacing."""
    roots = {}
    for state_dtype in (torch.float32, torch.bfloat16):
        criterion = StochasticLoss(Linear(1), generator=0)
        x = torch.nn.Parameter(torch.zeros(1, 512))
        optimizer = PAdam([x], criterion, lr=0.0, state_dtype=state_dtype)
        generator = torch.Generator().manual_seed(0)
        for step in range(3000):
            scale = 4.0 if step < 100 else 1.0  # large at first, then it has to come down
            optimizer.zero_grad()
            criterion(x, scale * torch.randn(1, 512, generator=generator)).backward()
            optimizer.step()
        (entry,) = optimizer.state[x]["paths"].values()
        roots[state_dtype] = entry["unit"] * entry["root"].double()
    wide, narrow = roots.values()
    assert (narrow / wide).mean().item() == pytest.approx(1.0, abs=0.01)
    assert (narrow / wide).std() < 0.06  # of single weights: 2^-8 accumulated over 1000 steps
    # and what rounding to nearest would have left: it never comes down
    stalled = torch.tensor(4.0, dtype=torch.bfloat16)
    for _ in range(3000):
        stalled = torch.sqrt(0.999 * stalled.float() ** 2 + 0.001).bfloat16()
    assert stalled > 3


class Linear(PathDecomposedLoss):
    """The target is the gradient."""

    def path_losses(self, input, target, indices):
        return (input * target).sum(dim=-1).expand(len(indices), -1)


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
