"""Two processes that share a seed draw alike and train like one on the joint batch."""

import os

import pytest
import torch
import torch.distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from multipath import StochasticLoss
from multipath.errors import ConfigurationError
from multipath.optim import PSAGA, PAdam
from multipath.samplers import AdaptiveImportance, Importance, Uniform
from multipath.testing import QuadraticLoss
from tests.ranks import start_ranks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
        reason="this build of torch has no gloo",
    ),
]

OPTIMIZERS = {
    "PAdam": (PAdam, {}),
    "PSAGA": (PSAGA, {"alpha": 0.8, "clock": "visits"}),
    "PSAGA on gradients": (PSAGA, {"adaptive": False}),
    "PSAGA, bfloat16": (PSAGA, {"state_dtype": torch.bfloat16}),
}
MESHES = {"fsdp": (2,), "hsdp": (2, 1)}  # the second has two replicas, each in one part
STEPS = 12


def build():
    """Two ranks cannot share five rows or one row equally: one holds nothing of the last layer."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    sampler = Importance(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    return model, StochasticLoss(QuadraticLoss(4), sampler, generator=7)


def optimize(name, model, criterion):
    kind, options = OPTIMIZERS[name]
    return kind(model.parameters(), criterion, lr=0.01, weight_decay=0.01, **options)


def train(model, criterion, optimizer, part, steps=range(STEPS)):
    """Trains on a part of each batch of four; the paths drawn."""
    draws = []
    for step in steps:
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))[part]
        optimizer.zero_grad()
        criterion(model(x), torch.zeros(len(x), 1)).backward()
        optimizer.step()
        draws.append(int(criterion.last_draw.indices))
    return draws


def whole(tensor):
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def learn(part):
    """What a sampler that learns draws from its part of each batch, and what it has learned."""
    criterion = StochasticLoss(QuadraticLoss(6), AdaptiveImportance(), n_draws=2, generator=0)
    draws = []
    for batch in torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(1)).double():
        x = batch[part].requires_grad_()
        criterion(x, torch.zeros_like(x)).backward()
        draws.append(criterion.last_draw.indices)
    return torch.stack(draws), criterion.sampler.state_dict()["estimates"]


def weight():
    return torch.nn.Parameter(torch.ones(1, 3))


def linked(sampler, seed):
    criterion = StochasticLoss(QuadraticLoss(4), sampler, generator=seed)
    criterion.redraw_after(torch.optim.SGD([weight()], lr=0.1))
    return criterion


def forward(criterion):
    criterion(weight(), torch.zeros(1, 3))
    return criterion


def linked_before_there_were_ranks(seed):
    criterion = StochasticLoss(QuadraticLoss(4), generator=seed)
    criterion.attach(torch.optim.SGD([weight()], lr=0.1))
    return forward(criterion)


def unset_generator(seed):
    torch.manual_seed(seed)
    return PAdam([weight()], StochasticLoss(QuadraticLoss(4)))


SEEDED = {
    "path-wise": lambda seed: PAdam([weight()], StochasticLoss(QuadraticLoss(4), generator=seed)),
    "path-wise, no generator": unset_generator,
    "path-wise, first draw": linked_before_there_were_ranks,
    "learning, linked": lambda seed: linked(AdaptiveImportance(), seed),
    "learning, first draw": lambda seed: forward(
        StochasticLoss(QuadraticLoss(4), AdaptiveImportance(), generator=seed)
    ),
    "fixed": lambda seed: forward(linked(Uniform(), seed)),  # may draw apart
}


def message(check, seed):
    try:
        check(int(seed))
    except ConfigurationError as error:
        return str(error)


def rank_main(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    part = slice(2 * rank, 2 * rank + 2)
    results = {}
    for name in OPTIMIZERS:
        model, criterion = build()
        ddp = DistributedDataParallel(model)
        draws = train(ddp, criterion, optimize(name, ddp, criterion), part)
        results["ddp", name] = draws, [whole(p) for p in model.parameters()]

        for how, mesh_shape in MESHES.items():
            model, criterion = build()
            names = ("replicate", "shard")[-len(mesh_shape) :]
            mesh = torch.distributed.init_device_mesh("cpu", mesh_shape, mesh_dim_names=names)
            fully_shard(model, mesh=mesh)
            optimizer = optimize(name, model, criterion)
            draws = train(model, criterion, optimizer, part, range(STEPS // 2))
            optimizer = resumed(name, model, criterion, optimizer, f"{folder}/{rank}.pt")
            draws += train(model, criterion, optimizer, part, range(STEPS // 2, STEPS))
            results[how, name] = draws, [whole(p) for p in model.parameters()]
            results[f"{how} state", name] = [
                (p.to_local().numel(), kept.placements == p.placements, kept.to_local().numel())
                for p, state in optimizer.state.items()
                for entry in state["paths"].values()
                for kept in entry.values()
                if isinstance(kept, torch.Tensor)
            ]
    results["learned"] = learn(part)
    results["seeds"] = {
        (name, seeds): message(check, seeds == "equal" or rank)
        for name, check in SEEDED.items()
        for seeds in ("equal", "different")
    }
    torch.save(results, f"{folder}/results{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    # FSDP keeps the group of its mesh alive, whose threads may abort an interpreter that winds down
    os._exit(0)


def resumed(name, model, criterion, optimizer, file):
    """A new optimizer with the state of the old one, of this rank's part."""
    torch.save(optimizer.state_dict(), file)
    again = optimize(name, model, criterion)
    again.load_state_dict(torch.load(file, weights_only=True))
    return again


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    start_ranks(rank_main, str(folder), world=2)
    return [torch.load(folder / f"results{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("how", ["ddp", *MESHES])
def test_two_processes_are_one_on_the_joint_batch(ranks, name, how):
    model, criterion = build()
    draws = train(model, criterion, optimize(name, model, criterion), slice(None))
    tolerance = 5e-3 if (how, name) == ("fsdp", "PSAGA, bfloat16") else 1e-6  # parts round apart
    for rank in ranks:
        other_draws, weights = rank[how, name]
        assert other_draws == draws
        for actual, expected in zip(weights, model.parameters(), strict=True):
            torch.testing.assert_close(actual, expected.detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("how", MESHES)
def test_sharded_state_follows_the_parameter(ranks, name, how):
    for rank in ranks:
        assert rank[f"{how} state", name]
        for of_parameter, same_placement, of_state in rank[f"{how} state", name]:
            assert same_placement
            assert of_state == of_parameter


def test_two_ranks_learn_what_one_learns_from_the_joint_batch(ranks):
    draws, estimates = learn(slice(None))
    for rank in ranks:
        assert torch.equal(rank["learned"][0], draws)
        learned = rank["learned"][1]
        torch.testing.assert_close(learned, estimates, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", SEEDED)
def test_ranks_that_would_draw_apart_are_refused_where_that_would_harm(ranks, name):
    for rank in ranks:
        assert rank["seeds"][name, "equal"] is None
        if name == "fixed":
            assert rank["seeds"][name, "different"] is None
        else:
            assert "ranks disagree about the draws: give" in rank["seeds"][name, "different"]


def test_ranks_hold_the_same_weights(ranks):
    for key in ranks[0]:
        if key[0] in ("ddp", *MESHES):
            assert all(map(torch.equal, ranks[0][key][1], ranks[1][key][1]))
