"""Several processes share the work and give what one gives, bit by bit."""

import os

import pytest
import torch
import torch.distributed
from torch.multiprocessing import ProcessExitedException

from multipath.importance import theta_importance
from tests.ranks import start_ranks

from .cases import Interrupted, problem, same

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
        reason="this build of torch has no gloo",
    ),
]


def rank_main(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    made = problem("quadratic", "shared", 2, (3, 2))
    arguments = made.loss, made.encoder, made.decoder, made.batches
    result = theta_importance(*arguments, items_at_once=1, journal=f"{folder}/journal")
    torch.save((result.curvature, result.residuals), f"{folder}/{rank}.pt")
    messages = []
    with torch.no_grad():
        weight = next(made.encoder.parameters())
        weight += 0.01 * rank
    try:
        theta_importance(*arguments)
    except Exception as error:
        messages.append(str(error))
    with torch.no_grad():
        weight -= 0.01 * rank
    calls = 0

    def decoder(theta, shift):
        nonlocal calls
        calls += 1
        if rank == 1 and calls > 9:
            raise ValueError("this synthesizer is out of order")
        return made.decoder(theta, shift)

    try:
        theta_importance(
            made.loss,
            made.encoder,
            decoder,
            made.batches,
            items_at_once=1,
            derivatives="forward",
        )
    except Exception as error:
        messages.append(f"{type(error).__name__}: {error}")
    torch.save(messages, f"{folder}/messages{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    start_ranks(rank_main, str(folder), world=2)
    return folder


class TestRanks:
    def test_two_processes_are_one(self, ranks):
        made = problem("quadratic", "shared", 2, (3, 2))
        expected = theta_importance(*made.arguments, items_at_once=1)
        for rank in (0, 1):
            curvature, residuals = torch.load(ranks / f"{rank}.pt")
            assert torch.equal(curvature, expected.curvature)
            assert torch.equal(residuals, expected.residuals)

    def test_one_process_goes_on_from_two(self, ranks):
        files = sorted(f.name for f in ranks.glob("journal*"))
        assert files
        made = problem("quadratic", "shared", 2, (3, 2))
        decoder = Interrupted(made.decoder)
        decoder.__qualname__ = made.decoder.__qualname__
        expected = theta_importance(*made.arguments, items_at_once=1)
        made = made.with_(decoder=decoder)
        found = theta_importance(*made.arguments, items_at_once=1, journal=ranks / "journal")
        assert same(found, expected)
        assert decoder.calls < 16  # tried, but no item is differentiated again
        assert sorted(f.name for f in ranks.glob("journal*")) == files

    def test_ranks_with_other_weights_are_refused(self, ranks):
        for rank in (0, 1):
            message = torch.load(ranks / f"messages{rank}.pt")[0]
            assert "the ranks must be given the same loss, weights, batches" in message

    def test_a_rank_that_fails_ends_the_others(self, ranks):
        other, failed = (torch.load(ranks / f"messages{rank}.pt")[1] for rank in (0, 1))
        assert failed == "ValueError: this synthesizer is out of order"
        assert other.startswith("InputError: theta-importance failed on rank 1: this synth")


def restarted_main(rank, folder, attempt):
    """What torchrun starts again: with a store that outlives the processes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous{attempt}", rank=rank, world_size=2
    )
    store = torch.distributed.FileStore(f"{folder}/store")
    torch.distributed.distributed_c10d._get_default_store = lambda: store
    made = problem("quadratic", "shared", 2, (3, 2))
    calls = 0

    def decoder(theta, shift):
        nonlocal calls
        calls += 1
        if (attempt, rank) in ((0, 1), (1, 0)) and calls == 14:
            os._exit(9)
        return made.decoder(theta, shift)

    decoder.__qualname__ = made.decoder.__qualname__
    for items_at_once in (1, 2):
        result = theta_importance(
            made.loss,
            made.encoder,
            decoder,
            made.batches,
            items_at_once=items_at_once,
            journal=f"{folder}/{items_at_once}",
        )
        torch.save((result.curvature, result.residuals), f"{folder}/{items_at_once}-{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_workers_that_are_started_again_find_all_units(tmp_path):
    for attempt in (0, 1):
        with pytest.raises(ProcessExitedException, match="exit code 9"):
            start_ranks(restarted_main, str(tmp_path), attempt, world=2)
    start_ranks(restarted_main, str(tmp_path), 2, world=2)
    made = problem("quadratic", "shared", 2, (3, 2))
    for items_at_once in (1, 2):
        expected = theta_importance(*made.arguments, items_at_once=items_at_once)
        for rank in (0, 1):
            curvature, residuals = torch.load(tmp_path / f"{items_at_once}-{rank}.pt")
            assert torch.equal(curvature, expected.curvature)
            assert torch.equal(residuals, expected.residuals)
