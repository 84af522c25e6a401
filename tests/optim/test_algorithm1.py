"""PAdam and PSAGA follow Algorithm 1, beside its slow twin."""

import pytest
import torch

from multipath import StochasticLoss
from multipath.optim import PSAGA, PAdam
from multipath.samplers import Importance
from multipath.testing import QuadraticLoss
from multipath.testing.shipped import rising
from tests.reference.algorithm1 import Algorithm1

from .cases import LR, Model, Scripted, gradient, targets, train

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


def even(n_paths):
    return torch.full((n_paths,), 1 / n_paths, dtype=torch.float64)


DRAWS = {  # probabilities, weights of the loss, whether draws are reweighted
    "uniform": (even, even, True),
    "importance, as published": (rising, even, False),
    "importance, reweighted": (rising, even, True),
    "importance, of a weighted loss": (rising, lambda n_paths: rising(n_paths).flip(0), True),
}
PLAIN = {}  # without eps: the default, which the twin reads from .defaults
DECAY = {"weight_decay": 0.01}
EVERYTHING = {"weight_decay": 0.01, "eps": 1e-3, "betas": (0.8, 0.95)}
RUNS = [
    ("uniform", PLAIN),
    ("uniform", DECAY),
    ("importance, as published", DECAY),
    ("importance, as published", EVERYTHING),
    ("importance, reweighted", PLAIN),
    ("importance, reweighted", EVERYTHING),
    ("importance, of a weighted loss", PLAIN),
]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("n_paths", [1, 2, 3, 7])
@pytest.mark.parametrize(("draws", "options"), RUNS, ids=str)
@pytest.mark.slow
def test_optimizer_follows_algorithm_1(name, draws, n_paths, options):
    kind, switches, twin_switches = OPTIMIZERS[name]
    pi, weights = (law(n_paths) for law in DRAWS[draws][:2])
    reweight = DRAWS[draws][2]
    loss, model = QuadraticLoss(n_paths, weights=weights), Model()
    criterion = StochasticLoss(loss, Importance(pi), reweight=reweight, generator=n_paths)
    optimizer = kind(model.parameters(), criterion, lr=LR, **switches, **options)
    options = {"eps": optimizer.defaults["eps"], **options, **twin_switches}
    start, w = model()[0].tolist(), weights.tolist()
    twin = Algorithm1(start, n_paths, lr=LR, path_weights=w, **options)
    for target in targets(n_paths, 60):
        (actual,) = train(optimizer, criterion, model, [target])
        p = int(criterion.last_draw.indices)
        factor = float(weights[p] / pi[p]) if reweight else 1.0
        twin.step(p, gradient(loss, twin.w, target, p), factor)
        expected = torch.tensor(twin.w, dtype=torch.float64)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
        assert_same_state(optimizer, model, twin)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("clock", "rate"), [("visits", [0.6, 0.3, 0.1]), ("paths", None)])
def test_sparse_visits_and_clocks_follow_algorithm_1(name, clock, rate):
    """Long absences, two parameters of which one has a gradient at some steps only."""
    optimizer_class, switches, twin_switches = OPTIMIZERS[name]
    script = [0, 0, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 2] * 3
    loss, model = QuadraticLoss(3), Model()
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
        slope = gradient(loss, w, target, p)
        twins[0].step(p, slope[:2])
        if number % 3 == 1:  # its time stands still then
            model.matrix.grad = None
        else:
            twins[1].step(p, slope[2:])
        optimizer.step()
        expected = torch.tensor(twins[0].w + twins[1].w, dtype=torch.float64)
        torch.testing.assert_close(model()[0].detach(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("optimizer_class", [PAdam, PSAGA])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize("factor", [1e-8, 1e8, 1e-24])
@pytest.mark.slow
def test_updates_do_not_depend_on_the_scale_of_the_loss(optimizer_class, dtype, rtol, factor):
    """1e-24: the square of such a gradient, 1e-48, is zero in float32."""
    trajectories = []
    for scale in (1.0, factor):
        model = Model(dtype)
        criterion = StochasticLoss(QuadraticLoss(3), generator=0)
        optimizer = optimizer_class(model.parameters(), criterion, lr=LR)
        trajectories.append(train(optimizer, criterion, model, targets(0, 60, dtype), scale))
    torch.testing.assert_close(*trajectories, rtol=rtol, atol=rtol)
    assert (trajectories[0][-1] - trajectories[0][0]).abs().max() > 0.3  # they went somewhere
