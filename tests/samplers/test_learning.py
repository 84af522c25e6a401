"""What samplers that learn are told, when, and what they make of it."""

import logging
import subprocess
import sys
from pathlib import Path as FilePath

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import multipath
from multipath import Path, PathTable, StochasticLoss, TransformLoss
from multipath.samplers import AdaptiveImportance, Energy, Mixture, Uniform
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT


class Recorder(Uniform):
    """Remembers what it is told."""

    def __init__(self, observes, every=1):
        super().__init__()
        self.observes, self.every, self.asked, self.told = observes, every, 0, []

    def wants_observation(self):
        self.asked += 1
        return (self.asked - 1) % self.every == 0

    def observe(self, indices, values):
        self.told.append((indices.tolist(), values))


def batch(dtype=torch.float64):
    x = torch.linspace(-1, 2, 6, dtype=dtype).reshape(3, 2).requires_grad_()
    return x, torch.linspace(0, 1, 6, dtype=dtype).reshape(3, 2)


def gradient_norms(loss, x, y, indices):
    """By the book: one path and one item of the batch at a time."""
    norms = []
    for p in indices:
        squares = []
        for b in range(len(x)):
            (gradient,) = torch.autograd.grad(loss.path_losses(x[b : b + 1], y[b : b + 1], [p]), x)
            squares.append(gradient.double().square().sum())
        norms.append(torch.stack(squares).mean().sqrt())
    return torch.stack(norms)


@pytest.mark.parametrize("grouped", [False, True])
def test_gradient_norms_are_measured_without_disturbing_the_backward(grouped):
    loss = QuadraticLoss(6, weights=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    loss = loss.grouped(by=[[0, 3], [1, 2, 5], [4]]) if grouped else loss
    recorder = Recorder("gradient_norms")
    criterion = StochasticLoss(loss, recorder, n_draws=4, generator=0)
    x, y = batch()
    criterion(x, y).backward()
    ((indices, values),) = recorder.told
    assert indices == criterion.last_draw.indices.unique().tolist()
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, gradient_norms(loss, x, y, indices), rtol=1e-12, atol=0)
    measured, x.grad = x.grad, None
    criterion.estimate(x, y, criterion.last_draw).backward()
    assert torch.equal(measured, x.grad)


def test_gradient_norms_of_a_transform_and_of_a_reconstruction_inside_a_graph():
    loss = TransformLoss(MultiResolutionSTFT([64, 256], [16, 64]))
    recorder = Recorder("gradient_norms")
    criterion = StochasticLoss(loss, recorder, n_draws=6, generator=0)
    weight = torch.ones(1, requires_grad=True)
    sound = torch.randn(2, 1024, generator=torch.Generator().manual_seed(0))
    x = weight * sound
    criterion(x, 0.3 * sound).backward()
    ((indices, values),) = recorder.told
    leaf = sound.clone().requires_grad_()
    expected = gradient_norms(loss, leaf, 0.3 * sound, indices)
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=0)


def test_target_norms_are_averaged_over_the_batch():
    loss, recorder = QuadraticLoss(5), Recorder("target_norms")
    x, y = batch()
    StochasticLoss(loss, recorder, n_draws=3, generator=0)(x.detach(), y)
    ((indices, values),) = recorder.told
    torch.testing.assert_close(values, loss.target_norms(y, indices).mean(dim=1))


def test_only_new_draws_of_training_with_gradients_are_observed():
    x, y = batch()
    recorder = Recorder("gradient_norms", every=2)
    criterion = StochasticLoss(QuadraticLoss(5), recorder, generator=0)
    with torch.no_grad():
        criterion(x, y)
    criterion.eval()(x, y)
    criterion.train()
    criterion.estimate(x, y, criterion.make_draw([1]))
    assert recorder.asked == 0
    optimizer = torch.optim.SGD([x], lr=0.0)
    criterion.redraw_after(optimizer)
    for _ in range(4):
        for _ in range(3):  # micro-batches with one draw
            criterion(x, y)
        optimizer.step()
    assert recorder.asked == 4
    assert len(recorder.told) == 2
    StochasticLoss(QuadraticLoss(5), other := Recorder("gradient_norms"))(x.detach(), y)
    assert other.told == []  # nothing to differentiate


def test_a_path_that_does_not_depend_on_the_input_has_no_gradient():
    class Half(QuadraticLoss):
        def path_losses(self, input, target, indices):
            values = super().path_losses(input, target, indices)
            return values * (torch.as_tensor(indices) > 0)[:, None]

    recorder = Recorder("gradient_norms")
    criterion = StochasticLoss(Half(2), recorder, n_draws=9, generator=0)
    criterion(*batch())
    assert recorder.told[0][0] == [0, 1]
    assert recorder.told[0][1][0] == 0 < recorder.told[0][1][1]


def test_an_overflow_is_dropped_and_said_once(caplog):
    class Overflowing(QuadraticLoss):
        def path_losses(self, input, target, indices):
            factor = torch.as_tensor([torch.inf if p == 1 else 1.0 for p in indices])
            return super().path_losses(input, target, indices) * factor[:, None]

    sampler = AdaptiveImportance()
    criterion = StochasticLoss(Overflowing(3), sampler, generator=0)
    with caplog.at_level(logging.WARNING, logger="multipath"):
        for _ in range(30):
            criterion(*batch())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "gradient_norms of path 1 came as inf" in caplog.text
    assert sampler.state_dict()["estimates"].isnan().tolist() == [False, True, False]
    assert torch.isfinite(sampler.probabilities).all()


def moving_average_law(sampler, factors, history, decay, floor, power=1.0, threshold=0.0):
    """Readable twin: averages by a loop over what was observed, then the law by its formula."""
    n_paths = len(factors)
    averages = {}
    for indices, values in history:
        for p, value in zip(indices, values, strict=True):
            averages[p] = decay * averages[p] + (1 - decay) * value if p in averages else value
    level = {p: factors[p] * average for p, average in averages.items()}
    kept = [
        p for p in range(n_paths) if p not in level or level[p] >= threshold * max(level.values())
    ]
    known = [p for p in kept if p in level]
    if sum(factors[p] ** power for p in known) > 0:
        mean = sum(level[p] ** power for p in known) / sum(factors[p] ** power for p in known)
    else:
        mean = 1.0
    score = {p: level[p] ** power if p in level else mean * factors[p] ** power for p in kept}
    total = sum(score.values())
    pi = torch.zeros(n_paths, dtype=torch.float64)
    for p in kept:
        pi[p] = (1 - floor) * score[p] / total + floor / len(kept) if total else 1 / len(kept)
    return pi


@settings(max_examples=60)
@given(data=st.data())
def test_learned_laws_against_a_readable_twin(data):
    n_paths = data.draw(st.integers(1, 9))
    number = st.floats(0.01, 10)
    weights = torch.tensor(data.draw(st.lists(number, min_size=n_paths, max_size=n_paths)))
    costs = data.draw(st.lists(number, min_size=n_paths, max_size=n_paths))
    floor, decay = data.draw(st.floats(0.0, 1.0)), data.draw(st.floats(0.0, 0.95))
    weights = weights.double()
    table = PathTable(Path(i, cost=cost) for i, cost in enumerate(costs))
    options = {}
    if data.draw(st.booleans(), label="energy"):
        options = {
            "power": data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])),
            "threshold": data.draw(st.sampled_from([0.0, 0.3])),
        }
        sampler, factors = Energy.running(decay, floor=floor, **options), weights.tolist()
    else:
        aware = data.draw(st.booleans(), label="cost aware")
        sampler = AdaptiveImportance(decay, floor, cost_aware=aware)
        factors = [w / c**0.5 if aware else w for w, c in zip(weights.tolist(), costs, strict=True)]
    sampler.bind(table, weights)
    history = []
    for _ in range(data.draw(st.integers(0, 4))):
        indices = data.draw(
            st.lists(st.integers(0, n_paths - 1), unique=True, min_size=1, max_size=n_paths)
        )
        values = data.draw(
            st.lists(st.just(0.0) | number, min_size=len(indices), max_size=len(indices))
        )
        sampler.observe(torch.tensor(indices), torch.tensor(values, dtype=torch.float64))
        history.append((indices, values))
    expected = moving_average_law(sampler, factors, history, decay, floor, **options)
    torch.testing.assert_close(sampler.probabilities, expected, rtol=1e-10, atol=1e-14)
    other = type(sampler)(floor=floor, decay=decay, **options)
    other.bind(table, sampler.weights)
    other.load_state_dict(sampler.state_dict())
    if isinstance(sampler, Energy) or not sampler.cost_aware:
        assert torch.equal(other.probabilities, sampler.probabilities)


@pytest.mark.parametrize("cost_aware", [False, True])
def test_adaptive_importance_finds_the_gradient_norms_and_lowers_the_variance(cost_aware):
    costs = [1.0, 1.0, 4.0, 9.0, 1.0]
    table = PathTable(Path(i, cost=cost) for i, cost in enumerate(costs))
    loss = QuadraticLoss(table, weights=[0.1, 0.1, 0.3, 0.1, 0.4])
    sampler = AdaptiveImportance(decay=0.5, floor=0.1, cost_aware=cost_aware)
    criterion = StochasticLoss(loss, sampler, n_draws=2, generator=0)
    x, y = batch()
    assert torch.allclose(sampler.probabilities.sum(), torch.ones(()).double())
    for _ in range(60):
        criterion(x, y)
    norms = gradient_norms(loss, x, y, range(5))
    torch.testing.assert_close(sampler.state_dict()["estimates"], norms, rtol=1e-12, atol=0)
    score = loss.path_weights * norms / (table.costs.sqrt() if cost_aware else 1)
    torch.testing.assert_close(sampler.probabilities, 0.9 * score / score.sum() + 0.1 / 5)

    def variance(pi):
        """Of one draw's gradient, over paths and added over the batch, exactly."""
        values = loss.path_losses(x, y, range(5)).sum(dim=1)
        gradients = torch.stack([torch.autograd.grad(v, x, retain_graph=True)[0] for v in values])
        weighted = loss.path_weights[:, None, None] * gradients
        return (weighted / pi[:, None, None]).square().sum(dim=(1, 2)) @ pi - weighted.sum(
            0
        ).square().sum()

    uniform, adapted = torch.full((5,), 0.2, dtype=torch.float64), sampler.probabilities
    price = (adapted @ table.costs) / (uniform @ table.costs) if cost_aware else 1.0
    assert variance(adapted) * price < 0.8 * variance(uniform)


def test_a_running_energy_converges_to_the_energies_of_the_targets():
    loss, y = QuadraticLoss(4, weights=[0.4, 0.3, 0.2, 0.1]), batch()[1]
    criterion = StochasticLoss(loss, Energy.running(floor=0.2), n_draws=3, generator=0)
    for _ in range(30):
        criterion(*batch())
    expected = Energy.from_targets(loss, [y], floor=0.2).probabilities
    torch.testing.assert_close(criterion.sampler.probabilities, expected, rtol=1e-12, atol=0)


def test_the_weights_of_a_draw_are_those_before_it_was_observed():
    loss = QuadraticLoss(4)
    criterion = StochasticLoss(loss, AdaptiveImportance(decay=0.0), n_draws=2, generator=3)
    x, y = batch()
    for step in range(5):
        before = criterion.sampler.probabilities.clone()
        criterion(x + step, y)
        draw = criterion.last_draw
        torch.testing.assert_close(draw.weights, 0.25 / (2 * before[draw.indices]))
        assert not torch.equal(criterion.sampler.probabilities, before)


def test_a_mixture_tells_every_component_that_wants_to_know():
    often, seldom, deaf = AdaptiveImportance(), AdaptiveImportance(every=3), Uniform()
    criterion = StochasticLoss(QuadraticLoss(1), Mixture([often, seldom, deaf]), generator=0)
    for step in range(4):
        x = torch.full((1, 1), 1.0 + step, dtype=torch.float64, requires_grad=True)
        criterion(x, torch.zeros(1, 1, dtype=torch.float64))
    averages = [float(sampler.state_dict()["estimates"]) for sampler in (often, seldom)]
    norms = [2.0, 4.0, 6.0, 8.0]  # of 2 x
    expected = norms[0]
    for norm in norms[1:]:
        expected = 0.9 * expected + 0.1 * norm
    assert averages == pytest.approx([expected, 0.9 * norms[0] + 0.1 * norms[3]])


RANK = """
import sys, torch
from torch import distributed as dist
from multipath import StochasticLoss
from multipath.samplers import AdaptiveImportance
from multipath.testing import QuadraticLoss
torch.set_num_threads(1)
rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if world > 1:
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
criterion = StochasticLoss(QuadraticLoss(6), AdaptiveImportance(), n_draws=2, generator=0)
whole = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
draws = []
for step in whole:
    x = step.chunk(world)[rank].clone().requires_grad_()
    criterion(x, torch.zeros_like(x)).backward()
    draws.append(criterion.last_draw.indices)
state = criterion.sampler.state_dict()["estimates"]
torch.save((torch.stack(draws), state), f"{folder}/{world}-{rank}.pt")
if world > 1:
    dist.destroy_process_group()
"""


def test_two_ranks_learn_what_one_learns_from_the_joint_batch(tmp_path):
    def start(rank, world):
        arguments = [sys.executable, "-c", RANK, str(rank), str(world), str(tmp_path)]
        root = str(FilePath(multipath.__file__).parent.parent)
        return subprocess.Popen(
            arguments, env={"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        )

    processes = [start(0, 2), start(1, 2), start(0, 1)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    draws, estimates = torch.load(tmp_path / "1-0.pt")
    for rank in range(2):
        their_draws, their_estimates = torch.load(tmp_path / f"2-{rank}.pt")
        assert torch.equal(their_draws, draws)
        torch.testing.assert_close(their_estimates, estimates, rtol=1e-12, atol=0, equal_nan=True)
