"""PAdam and PSAGA follow Algorithm 1: beside its slow twin, and on sums done by hand."""

import math

import pytest
import torch

from multipath import PathDecomposedLoss, StochasticLoss
from multipath.errors import ConfigurationError, DrawError
from multipath.optim import PSAGA, PAdam
from multipath.samplers import Importance, Uniform
from multipath.samplers.base import Sampler
from tests.reference.algorithm1 import Algorithm1

LR = 0.01


class Quadratic(PathDecomposedLoss):
    """L_p = (p + 1) sum_d (input_d - target_d - p)^2, of minima and curvatures that differ."""

    def path_losses(self, input, target, indices):
        p = torch.as_tensor(indices, dtype=input.dtype)[:, None, None]
        return ((p + 1) * (input - target - p) ** 2).sum(dim=-1)

    def gradient(self, w, target, p):
        """By hand: with respect to an input that is the same for the whole batch."""
        means = target.double().mean(dim=0).tolist()
        return [2 * (p + 1) * (w_i - mean - p) for w_i, mean in zip(w, means, strict=True)]


class Given(PathDecomposedLoss):
    """L_p = sum_d input_d target_d: the target is the gradient, whatever the path."""

    def path_losses(self, input, target, indices):
        return (input * target).sum(dim=-1).expand(len(indices), -1)


class Scripted(Sampler):
    """Plays a list of paths."""

    def __init__(self, script, probabilities=None):
        self.script, self.given = iter(script), probabilities

    @property
    def probabilities(self):
        given = self.given or [1 / self.n_paths] * self.n_paths
        return torch.tensor(given, dtype=torch.float64)

    def draw(self, n_draws, generator):
        indices = torch.tensor([next(self.script) for _ in range(n_draws)])
        return indices, self.probabilities[indices]


class Model(torch.nn.Module):
    """Two parameters of different shape that make one vector of five weights."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        start = torch.linspace(-1, 1, 5, dtype=dtype)
        self.bias = torch.nn.Parameter(start[:2].clone())
        self.matrix = torch.nn.Parameter(start[2:].clone().reshape(3, 1))

    def forward(self, batch=1):
        return torch.cat([self.bias, self.matrix.flatten()]).expand(batch, -1)


def targets(seed, steps, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, 3, 5, generator=generator, dtype=torch.float64).to(dtype)


def skewed(n_paths):
    values = torch.arange(1, n_paths + 1, dtype=torch.float64)
    return values / values.sum()


def train(optimizer, criterion, model, batches, factor=1.0):
    """The weights after every step."""
    trajectory = []
    for target in batches:
        optimizer.zero_grad()
        (factor * criterion(model(len(target)), target)).backward()
        optimizer.step()
        trajectory.append(model()[0].detach().clone())
    return torch.stack(trajectory)


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


@pytest.mark.parametrize("optimizer_class", [PAdam, PSAGA])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize("factor", [1e-8, 1e8, 1e-24])
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


def test_eps_lies_inside_the_root():
    model = Model()
    criterion = StochasticLoss(Given(1), generator=0)
    optimizer = PAdam(model.parameters(), criterion, lr=1.0, eps=0.25)
    assert optimizer.defaults["eps"] == 0.25
    start = model()[0].detach().clone()
    after = train(optimizer, criterion, model, [torch.full((1, 5), 2.0, dtype=torch.float64)])
    torch.testing.assert_close(start - after[0], torch.full_like(start, 2 / math.sqrt(0.25 + 4)))


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


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saved_and_loaded_training_continues_bit_for_bit(name, dtype, tmp_path):
    optimizer_class, switches, _ = OPTIMIZERS[name]
    batches = targets(3, 40, dtype)

    def make(seed):
        model = Model(dtype)
        criterion = StochasticLoss(Quadratic(7), Importance(skewed(7)), generator=seed)
        optimizer = optimizer_class(
            model.parameters(), criterion, lr=LR, weight_decay=0.01, **switches
        )
        return model, criterion, optimizer

    model, criterion, optimizer = make(seed=5)
    train(optimizer, criterion, model, batches[:20])
    states = [part.state_dict() for part in (model, criterion, optimizer)]
    torch.save(states, tmp_path / "checkpoint.pt")
    uninterrupted = train(optimizer, criterion, model, batches[20:])

    model, criterion, optimizer = make(seed=6)
    states = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for part, state in zip((model, criterion, optimizer), states, strict=True):
        part.load_state_dict(state)
    resumed = train(optimizer, criterion, model, batches[20:])
    assert torch.equal(resumed, uninterrupted)


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


@pytest.mark.parametrize("optimizer_class", [PAdam, PSAGA])
class TestErrors:
    def test_step_without_a_draw(self, optimizer_class):
        model, criterion = Model(), StochasticLoss(Quadratic(3))
        optimizer = optimizer_class(model.parameters(), criterion, lr=LR)
        with pytest.raises(DrawError, match=r"found no draw.*criterion\(input, target\)"):
            optimizer.step()

    def test_step_twice_on_one_draw(self, optimizer_class):
        model, criterion = Model(), StochasticLoss(Quadratic(3))
        optimizer = optimizer_class(model.parameters(), criterion, lr=LR)
        train(optimizer, criterion, model, targets(0, 1))
        before = model()[0].detach().clone()
        with pytest.raises(DrawError, match=r"a stale draw.*criterion\(input, target\)"):
            optimizer.step()
        assert torch.equal(model()[0], before)

    def test_evaluation_makes_no_draw(self, optimizer_class):
        model, criterion = Model(), StochasticLoss(Quadratic(3))
        optimizer = optimizer_class(model.parameters(), criterion, lr=LR)
        criterion.eval()
        criterion(model(3), targets(0, 1)[0]).backward()
        with pytest.raises(DrawError, match=r"training mode \(criterion.train\(\)\)"):
            optimizer.step()

    def test_several_draws_a_step(self, optimizer_class):
        criterion = StochasticLoss(Quadratic(3), n_draws=2)
        with pytest.raises(ConfigurationError, match=r"2 draws per step.*loss\.grouped\(by="):
            optimizer_class(Model().parameters(), criterion, lr=LR)
