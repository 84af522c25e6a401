"""PSAGA is unbiased, has no variance where none is needed, and keeps its sums exact."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath import BalancedLoss, PathDecomposedLoss, StochasticLoss
from multipath.errors import ConfigurationError, InputError
from multipath.optim import PSAGA, PAdam
from multipath.optim._foreach import Scratch
from multipath.optim.psaga import add_exactly, settle
from multipath.samplers import Importance, Uniform
from multipath.testing import QuadraticLoss

from .cases import ZERO, Given, Scripted, make, visit


@pytest.mark.parametrize(
    ("n_paths", "script", "gradients", "positions"),
    [
        # Two paths of constant gradient 1 and 10: every revisit moves by the mean of the memory.
        (2, [0, 0, 1, 0, 1], [1, 1, 10, 1, 10], [-1, -2, -13, -18.5, -24]),
        # Path 2: 4. Path 0: 1 - 0 + 4/1. Path 2: 7 - 4 + (4 + 1)/2. Path 1: -2 - 0 + (7 + 1)/2.
        # Path 0: 3 - 1 + (7 + 1 - 2)/3.
        # (with the divisor one off, the third step of the first would end at -3 or -23)
        (3, [2, 0, 2, 1, 0], [4, 1, 7, -2, 3], [-4, -9, -14.5, -16.5, -20.5]),
    ],
)
def test_saga_mean_divides_by_the_paths_visited_before(n_paths, script, gradients, positions):
    x = torch.nn.Parameter(torch.zeros(1, 1, dtype=torch.float64))
    criterion = StochasticLoss(Given(n_paths), Scripted(script))
    optimizer = PSAGA([x], criterion, lr=1.0, adaptive=False)
    for gradient, position in zip(gradients, positions, strict=True):
        optimizer.zero_grad()
        criterion(x, torch.full((1, 1), float(gradient), dtype=torch.float64)).backward()
        optimizer.step()
        assert x.item() == pytest.approx(position, rel=1e-12)


@given(
    st.floats(0, 1),
    st.sampled_from([1, 2, 3, 7]),
    st.integers(0, 2**31),
)
@pytest.mark.slow
def test_expected_update_is_the_gradient_whatever_the_damping(alpha, n_paths, seed):
    """By enumeration of the next draw, with weights of the draws and of the loss."""
    generator = torch.Generator().manual_seed(seed)
    masses, weights = torch.rand(2, n_paths, generator=generator, dtype=torch.float64) + 0.1
    sampler = Importance(masses / masses.sum())
    loss = QuadraticLoss(n_paths, weights=weights)
    run = make(loss=loss, sampler=sampler, alpha=alpha, adaptive=False)
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


@pytest.mark.slow
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
@pytest.mark.slow
def test_the_running_sum_does_not_drift(dtype, state_dtype, adaptive):
    """After a thousand steps it is still the sum of the memories that the state holds."""
    criterion = StochasticLoss(QuadraticLoss(5), generator=0)
    x = torch.nn.Parameter(torch.linspace(-1, 1, 8, dtype=dtype)[None])
    optimizer = PSAGA([x], criterion, lr=0.0, adaptive=adaptive, state_dtype=state_dtype)
    noise = torch.Generator().manual_seed(0)
    for _ in range(1000):
        optimizer.zero_grad()
        target = torch.randn(x.shape, generator=noise).to(dtype)
        criterion(x, target).backward()
        optimizer.step()
    state = optimizer.state[x]
    fresh = sum(memory(entry) for entry in state["paths"].values())
    scale = sum(memory(entry).abs() for entry in state["paths"].values())
    actual = state["sum"].double() + state["compensation"].double()
    assert ((actual - fresh).abs() / scale).max() < 1e-7
    assert (state["sum"] != 0).all()
    assert state["visited"] == 5


@pytest.mark.parametrize("visited", [1e-320, 1e-40, 1e300, float("nan"), -1.0])
def test_no_loaded_number_overflows_a_step(visited):
    run = make(PSAGA, 3)
    visit(run)
    state = run[2].state_dict()
    state["state"][0]["visited"] = visited
    with pytest.raises(InputError, match="visited in the state of PSAGA must be"):
        run[2].load_state_dict(state)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [Uniform, lambda: Importance([0.7, 0.2, 0.05, 0.05])])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_sum_follows_gradients_that_fall_by_a_million(sampler, weighted):
    """What was added when gradients were large must be gone to the last bit when they are small."""
    loss = QuadraticLoss(4)
    if weighted:
        loss = BalancedLoss(loss, [1.0, 2.0, 3.0, 7.0])
    criterion = StochasticLoss(loss, sampler(), generator=0)
    x = torch.nn.Parameter(torch.zeros(1, 6))
    optimizer = PSAGA([x], criterion, lr=0.0, adaptive=False)
    noise, n_steps = torch.Generator().manual_seed(0), 1000
    for step in range(n_steps):
        criterion(x, torch.zeros(1, 6)).backward()
        x.grad = (torch.rand(1, 6, generator=noise) + 0.5) * 10 ** (-6 * step / n_steps)
        optimizer.step()
    state = optimizer.state[x]
    shares = 4 * loss.path_weights
    fresh = sum(float(shares[p]) * memory(entry) for p, entry in state["paths"].items())
    torch.testing.assert_close(state["sum"].double(), fresh, rtol=1e-6, atol=0.0)


def memory(entry):
    entry = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in entry.items()}
    if "gradient" in entry:
        return entry["gradient"]
    return entry["scale"] * entry["direction"]


@pytest.mark.slow
def test_sums_keep_what_rounding_takes():
    """A hundred thousand terms, each too small to change the sum."""
    sums, lacking = [torch.ones(3)], [torch.zeros(3)]
    scratch = Scratch().batch(sums)
    for _ in range(100_000):
        add_exactly(sums, lacking, [torch.full((3,), 1e-5 / 1000)], scratch)
        settle(sums, lacking, scratch("settled", torch.float32))
    torch.testing.assert_close(sums[0], torch.full((3,), 1.001), rtol=1e-7, atol=0.0)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_refused_damping(alpha):
    with pytest.raises(ConfigurationError, match=r"alpha must be in \[0, 1\], got"):
        make(PSAGA, alpha=alpha)
