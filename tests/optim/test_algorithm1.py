"""PAdam and PSAGA follow Algorithm 1, beside its slow twin."""

import pytest
import torch

from multipath import StochasticLoss
from multipath.optim import PSAGA, PAdam
from multipath.samplers import Importance, Uniform
from tests.reference.algorithm1 import Algorithm1

from .cases import LR, Model, Quadratic, Scripted, skewed, targets, train

OPTIMIZERS = {
    "PAdam": (PAdam, {}, {"adam": True, "saga": False}),
    "PSAGA": (PSAGA, {}, {"adam": True, "saga": True}),
    "PSAGA, damped": (PSAGA, {"alpha": 0.4}, {"adam": True, "saga": True, "alpha": 0.4}),
    "PSAGA on gradients": (PSAGA, {"adaptive": False}, {"adam": False, "saga": True}),
}


def assert_same_state(optimizer, model, twin):
    """Moments, memory and their sum, of every path that was visited."""
    saga = isinstance(optimizer, PSAGA)
    scale = len(twin.path_weights) / sum(twin.path_weights) if saga else 1.0
    begin, pairs = 0, []
    for parameter in (model.bias, model.matrix):
        state = optimizer.state[parameter]
        part = slice(begin, begin := begin + parameter.numel())
        pairs += [(state["sum"], summed_memory(twin, part) * scale)] if saga else []
        for p, kept in state["paths"].items():
            if "root" in kept:
                floor = torch.tensor(kept["floor"], dtype=torch.float64)
                mean = kept["direction"] * torch.hypot(kept["root"], floor)
                pairs += [(mean, twin.m[p][part])]
                pairs += [((kept["unit"] * kept["root"]) ** 2, twin.v[p][part])]
            else:
                pairs += [(kept["gradient"], twin.g_hat[p][part])]
        assert set(state["paths"]) == set(twin.m or twin.g_hat)
    actual = torch.cat([a.flatten() for a, _ in pairs])
    expected = torch.cat([torch.as_tensor(e, dtype=torch.float64) for _, e in pairs])
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)


def summed_memory(twin, part):
    terms = [
        twin.path_weights[q] * torch.tensor(twin.g_hat[q][part], dtype=torch.float64)
        for q in sorted(twin.g_hat)
    ]
    return torch.stack(terms).sum(dim=0)


DRAWS = {  # sampler, reweight, weight of path p in the update
    "uniform": (lambda n: Uniform(), True, lambda p, n: 1.0),
    "importance, as published": (lambda n: Importance(skewed(n)), False, lambda p, n: 1.0),
    "importance, reweighted": (
        lambda n: Importance(skewed(n)), True, lambda p, n: 1 / n / float(skewed(n)[p])
    ),
}  # fmt: skip


# Seed and hyperparameters; without eps: the default, which the twin reads from .defaults.
PLAIN = (0, {})


DECAY = (1, {"weight_decay": 0.01})


EVERYTHING = (2, {"weight_decay": 0.01, "eps": 1e-3, "betas": (0.8, 0.95)})


RUNS = [
    ("uniform", PLAIN),
    ("uniform", DECAY),
    ("importance, as published", DECAY),
    ("importance, as published", EVERYTHING),
    ("importance, reweighted", PLAIN),
    ("importance, reweighted", EVERYTHING),
]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("n_paths", [1, 2, 3, 7])
@pytest.mark.parametrize(("draws", "run"), RUNS, ids=str)
@pytest.mark.slow
def test_optimizer_follows_algorithm_1(name, draws, n_paths, run):
    optimizer_class, switches, twin_switches = OPTIMIZERS[name]
    make_sampler, reweight, weight = DRAWS[draws]
    seed, options = run
    loss, model = Quadratic(n_paths), Model()
    criterion = StochasticLoss(loss, make_sampler(n_paths), reweight=reweight, generator=seed)
    optimizer = optimizer_class(model.parameters(), criterion, lr=LR, **switches, **options)
    options = {**options, "eps": optimizer.defaults["eps"], **twin_switches}
    twin = Algorithm1(model()[0].tolist(), n_paths, lr=LR, **options)
    for target in targets(seed, 60):
        (actual,) = train(optimizer, criterion, model, [target])
        p = int(criterion.last_draw.indices)
        twin.step(p, loss.gradient(twin.w, target, p), weight(p, n_paths))
        expected = torch.tensor(twin.w, dtype=torch.float64)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
        assert_same_state(optimizer, model, twin)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("clock", "rate"), [("visits", [0.6, 0.3, 0.1]), ("paths", None)])
def test_sparse_visits_and_clocks_follow_algorithm_1(name, clock, rate):
    """Long absences, two parameters of which one has a gradient at some steps only."""
    optimizer_class, switches, twin_switches = OPTIMIZERS[name]
    script = [0, 0, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 2] * 3
    loss, model = Quadratic(3), Model()
    criterion = StochasticLoss(loss, Scripted(script, [0.6, 0.3, 0.1]), reweight=False)
    optimizer = optimizer_class(
        model.parameters(), criterion, lr=LR, eps=1e-6, clock=clock, **switches
    )
    start = model()[0].tolist()
    twins = [
        Algorithm1(part, 3, lr=LR, eps=1e-6, rates=rate, **twin_switches)
        for part in (start[:2], start[2:])
    ]
    for number, (p, target) in enumerate(zip(script, targets(0, len(script)), strict=True)):
        optimizer.zero_grad()
        criterion(model(len(target)), target).backward()
        w = twins[0].w + twins[1].w
        gradient = loss.gradient(w, target, p)
        twins[0].step(p, gradient[:2])
        if number % 3 == 1:  # its time stands still then
            model.matrix.grad = None
        else:
            twins[1].step(p, gradient[2:])
        optimizer.step()
        expected = torch.tensor(twins[0].w + twins[1].w, dtype=torch.float64)
        torch.testing.assert_close(model()[0].detach(), expected, rtol=1e-10, atol=1e-12)


def test_clocks_agree_exactly_on_uniform_draws():
    trajectories = []
    for clock in ("paths", "visits"):
        model = Model()
        criterion = StochasticLoss(Quadratic(7), generator=0)
        optimizer = PSAGA(model.parameters(), criterion, lr=LR, clock=clock)
        trajectories.append(train(optimizer, criterion, model, targets(0, 60)))
    assert torch.equal(*trajectories)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weighted_paths_follow_algorithm_1(name):
    """Weights w_p of the loss multiply updates too, and weigh the mean of P-SAGA's memory."""
    optimizer_class, switches, twin_switches = OPTIMIZERS[name]
    weights = [0.5, 0.25, 0.25]
    loss, model = Quadratic(3, weights=weights), Model()
    criterion = StochasticLoss(loss, Importance(skewed(3)), generator=0)
    optimizer = optimizer_class(model.parameters(), criterion, lr=LR, **switches)
    twin = Algorithm1(
        model()[0].tolist(), 3, lr=LR, eps=optimizer.defaults["eps"], path_weights=weights,
        **twin_switches,
    )  # fmt: skip
    for target in targets(0, 100):
        train(optimizer, criterion, model, [target])
        p = int(criterion.last_draw.indices)
        twin.step(p, loss.gradient(twin.w, target, p), weights[p] / float(skewed(3)[p]))
    expected = torch.tensor(twin.w, dtype=torch.float64)
    torch.testing.assert_close(model()[0].detach(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(0.0, 0.0), (1e-60, 1e-30)])
@pytest.mark.parametrize("optimizer_class", [PAdam, PSAGA])
def test_one_path_is_adamw(optimizer_class, ours, theirs):
    """P-SAGA too: its memory is subtracted and added. torch has eps outside of the root."""
    trajectories = []
    for make in (
        lambda model, c: optimizer_class(model.parameters(), c, lr=LR, eps=ours, weight_decay=0.1),
        lambda model, c: torch.optim.AdamW(model.parameters(), lr=LR, eps=theirs, weight_decay=0.1),
    ):
        model, criterion = Model(), StochasticLoss(Quadratic(1), generator=0)
        trajectories.append(train(make(model, criterion), criterion, model, targets(0, 50)))
    torch.testing.assert_close(*trajectories, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("optimizer_class", [PAdam, PSAGA])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize("factor", [1e-8, 1e8, 1e-24])
@pytest.mark.slow
def test_updates_do_not_depend_on_the_scale_of_the_loss(optimizer_class, dtype, rtol, factor):
    """1e-24: the square of such a gradient, 1e-48, is zero in float32."""
    trajectories = []
    for scale in (1.0, factor):
        model = Model(dtype)
        criterion = StochasticLoss(Quadratic(3), generator=0)
        optimizer = optimizer_class(model.parameters(), criterion, lr=LR)
        trajectories.append(train(optimizer, criterion, model, targets(0, 60, dtype), scale))
    torch.testing.assert_close(*trajectories, rtol=rtol, atol=rtol)
    assert (trajectories[0][-1] - trajectories[0][0]).abs().max() > 0.3  # they went somewhere


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_is_allocated_on_the_first_visit(name):
    optimizer_class, switches, _ = OPTIMIZERS[name]
    model = Model()
    criterion = StochasticLoss(Quadratic(50), Scripted([4, 9, 4, 4, 30, 9]))
    optimizer = optimizer_class(model.parameters(), criterion, lr=LR, **switches)
    for visited, target in zip([1, 2, 2, 2, 3, 3], targets(0, 6), strict=True):
        train(optimizer, criterion, model, [target])
        for parameter in model.parameters():
            assert len(optimizer.state[parameter]["paths"]) == visited
    assert set(optimizer.state[model.bias]["paths"]) == {4, 9, 30}
