"""Draws by the gradient norms seen so far."""

import subprocess
import sys
from pathlib import Path as FilePath

import pytest
import torch

import multipath
from multipath import Path, PathTable, StochasticLoss
from multipath.samplers import AdaptiveImportance
from multipath.testing import QuadraticLoss

from .cases import batch, gradient_norms


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


@pytest.mark.slow
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
