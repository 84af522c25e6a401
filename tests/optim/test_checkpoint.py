"""Checkpoints of several processes: each rank gets its part back, or says why it cannot."""

import os
from datetime import timedelta

import pytest
import torch
import torch.distributed
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from multipath import StochasticLoss
from multipath.errors import ConfigurationError
from multipath.optim import PSAGA, PAdam, prepare_for_checkpoint
from multipath.samplers import Reshuffle
from multipath.testing import QuadraticLoss
from multipath.testing._checks import same
from tests.ranks import start_ranks

from .test_distributed import pytestmark, whole  # noqa: F401

KINDS = {
    "PAdam": (PAdam, {}),
    "PSAGA": (PSAGA, {"alpha": 0.8, "state_dtype": torch.float64}),
    "PSAGA on gradients": (PSAGA, {"adaptive": False}),
}
WAYS = ("ddp", "fsdp")
CASES = [(way, name) for way in WAYS for name in KINDS]
OPTIONS = {
    "whole": StateDictOptions(full_state_dict=True),
    "on the CPU": StateDictOptions(cpu_offload=True),
    "flat": StateDictOptions(flatten_optimizer_state_dict=True),
}
P, STEPS = 9, 6  # not all paths are visited before the checkpoint


def build(way, name, seed=7):
    """A replica, or its part of one, whose every rank sees the same batch."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.linspace(-1, 1, parameter.numel()) + (seed - 7)
            parameter.copy_(values.view_as(parameter))
    if way == "ddp":
        model = DistributedDataParallel(model)
    elif way == "fsdp":
        mesh = torch.distributed.init_device_mesh("cpu", (torch.distributed.get_world_size(),))
        fully_shard(model, mesh=mesh)
    criterion = StochasticLoss(QuadraticLoss(P), Reshuffle(), generator=seed)
    kind, options = KINDS[name]
    optimizer = kind(model.parameters(), criterion, lr=0.01, weight_decay=0.01, **options)
    return model, criterion, optimizer


def train(run, steps):
    model, criterion, optimizer = run
    for step in steps:
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        criterion(model(x), torch.zeros(4, 1)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return [whole(parameter) for parameter in model.parameters()]


def save(run, folder):
    model, criterion, optimizer = run
    weights, state = get_state_dict(model, optimizer)
    content = {"model": weights, "optimizer": state, "criterion": criterion.state_dict()}
    dcp.save(content, checkpoint_id=folder)


def load(run, folder, prepare=True):
    model, criterion, optimizer = run
    if prepare:
        prepare_for_checkpoint(model, optimizer, folder)
    weights, state = get_state_dict(model, optimizer)
    content = {"model": weights, "optimizer": state, "criterion": criterion.state_dict()}
    dcp.load(content, checkpoint_id=folder)
    set_state_dict(
        model,
        optimizer,
        model_state_dict=content["model"],
        optim_state_dict=content["optimizer"],
    )
    criterion.load_state_dict(content["criterion"])


def whole_state(state):
    if isinstance(state, dict):
        return {key: whole_state(value) for key, value in state.items()}
    return whole(state) if isinstance(state, torch.Tensor) else state


def refusal(call, *arguments):
    try:
        call(*arguments)
    except ConfigurationError as error:
        return str(error)


def rank_main(rank, world, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous{world}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    results = {}
    for way, name in CASES:
        checkpoint = f"{folder}/{way} {name}"
        if world == 2:
            run = build(way, name)
            train(run, range(STEPS))
            save(run, checkpoint)
            torch.save(run[2].state_dict(), f"{checkpoint} {rank}.pt")
            torch.distributed.barrier()
            results["on", way, name] = train(run, range(STEPS, 3 * STEPS))
            results["alone", way, name] = refusal(load, build(way, name), checkpoint, False)
            for label, options in OPTIONS.items():
                model, _, optimizer = build(way, name)
                state = get_optimizer_state_dict(run[0], run[2], options=options)
                if label == "whole":
                    prepare_for_checkpoint(model, optimizer, state)
                set_optimizer_state_dict(model, optimizer, state, options=options)
                results[label, way, name] = same(optimizer.state_dict(), run[2].state_dict())
        other = build(way, name, seed=8)
        load(other, checkpoint)
        results["restored", way, name] = train(other, range(STEPS, 3 * STEPS))
        for saved in (0, 1):
            state = torch.load(f"{checkpoint} {saved}.pt", weights_only=True)
            again = build(way, name)[2]
            results["plain", way, name, saved] = refusal(again.load_state_dict, state)
    for name in KINDS:
        state = torch.load(f"{folder}/ddp {name} 0.pt", weights_only=True)
        optimizer = build("fsdp", name)[2]
        optimizer.load_state_dict(state)
        found = optimizer.state_dict()
        del found["shards"]
        results["split", name] = same(whole_state(found), state)
    torch.save(results, f"{folder}/results{world}{rank}.pt")
    torch.distributed.barrier()
    os._exit(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for world in (2, 3):
        start_ranks(rank_main, world, str(folder), world=world)
    return folder


def results(folder, world):
    return [torch.load(folder / f"results{world}{rank}.pt") for rank in range(world)]


@pytest.mark.parametrize(("way", "name"), CASES)
def test_training_goes_on_from_a_distributed_checkpoint(folder, way, name):
    for rank in results(folder, 2):
        assert all(map(torch.equal, rank["restored", way, name], rank["on", way, name]))


@pytest.mark.parametrize(("way", "name"), CASES)
def test_more_ranks_go_on_from_a_distributed_checkpoint(folder, way, name):
    expected = results(folder, 2)[0]["on", way, name]
    for rank in results(folder, 3):
        torch.testing.assert_close(rank["restored", way, name], expected)


@pytest.mark.parametrize(("way", "name"), CASES)
@pytest.mark.filterwarnings("ignore::UserWarning:torch.distributed")  # that there is one process
def test_one_process_goes_on_from_a_distributed_checkpoint(folder, way, name):
    run = build("alone", name, seed=8)
    load(run, folder / f"{way} {name}")
    expected = results(folder, 2)[0]["on", way, name]
    torch.testing.assert_close(train(run, range(STEPS, 3 * STEPS)), expected)


@pytest.mark.parametrize(("way", "name"), CASES)
@pytest.mark.parametrize("options", OPTIONS)
def test_states_pass_through_the_options_of_torch(folder, way, name, options):
    for rank in results(folder, 2):
        assert rank[options, way, name]


@pytest.mark.parametrize(("way", "name"), CASES)
def test_a_checkpoint_that_was_read_without_room_for_its_paths_is_refused(folder, way, name):
    for rank in results(folder, 2):
        assert "holds 0 of the 6 paths" in rank["alone", way, name]
        assert "call multipath.optim.prepare_for_checkpoint" in rank["alone", way, name]


@pytest.mark.parametrize(("way", "name"), CASES)
@pytest.mark.parametrize("world", [2, 3])
def test_shards_of_other_ranks_are_refused(folder, world, way, name):
    for number, rank in enumerate(results(folder, world)):
        for saved in (0, 1):
            message = rank["plain", way, name, saved]
            if way == "ddp" or (world, number) == (2, saved):
                assert message is None
            else:
                assert "as many ranks; for another number, save and load with" in message


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("world", [2, 3])
def test_a_whole_state_is_split_over_ranks(folder, world, name):
    for rank in results(folder, world):
        assert rank["split", name]


@pytest.mark.parametrize("name", KINDS)
def test_shards_are_no_state_of_a_whole_model(folder, name):
    state = torch.load(folder / f"fsdp {name} 0.pt", weights_only=True)
    with pytest.raises(ConfigurationError, match="holds other parts of the parameters"):
        build("alone", name)[2].load_state_dict(state)
    del state["shards"]
    with pytest.raises(ConfigurationError, match="split over ranks as the parameter is not"):
        build("alone", name)[2].load_state_dict(state)
