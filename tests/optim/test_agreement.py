"""Ranks of a distributed training that begin to draw apart all notice, and say why."""

import os
from datetime import timedelta

import pytest
import torch
import torch.distributed
from torch.distributed.algorithms import Join
from torch.nn.parallel import DistributedDataParallel

from multipath import StochasticLoss
from multipath.errors import ConfigurationError, DrawError
from multipath.optim import PSAGA, PAdam
from multipath.samplers import AdaptiveImportance, Reshuffle
from multipath.testing import QuadraticLoss
from tests.ranks import start_ranks

from .test_distributed import pytestmark  # noqa: F401

STEPS, ODD_STEP = 24, 4


def padam(model, criterion):
    return PAdam(model.parameters(), criterion, lr=0.01)


def psaga(model, criterion):
    return PSAGA(model.parameters(), criterion, lr=0.01)


def linked(model, criterion):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    criterion.redraw_after(optimizer)
    return optimizer


def plain(model, criterion):
    return torch.optim.SGD(model.parameters(), lr=0.01)


TRAINED = {
    "PAdam": (padam, Reshuffle),
    "PSAGA, learning": (psaga, AdaptiveImportance),
    "learning, linked": (linked, AdaptiveImportance),
    "learning": (plain, AdaptiveImportance),
}


class Training:
    """A replica that trains until it has made some steps, and does something odd on the way."""

    def __init__(self, name, odd, odd_step=ODD_STEP, compare_every=None):
        optimize, sampler = TRAINED[name]
        torch.manual_seed(0)
        self.model = DistributedDataParallel(torch.nn.Linear(3, 4))
        self.criterion = StochasticLoss(QuadraticLoss(9), sampler(), generator=7)
        if compare_every:
            self.criterion.compare_every = compare_every
        self.optimizer = optimize(self.model, self.criterion)
        self.start = self.criterion.state_dict()
        self.odd, self.odd_step, self.steps = odd, odd_step, 0
        self.data = torch.Generator().manual_seed(torch.distributed.get_rank())

    def forward(self):
        x = torch.randn(2, 3, generator=self.data)
        return self.criterion(self.model(x), torch.zeros(2, 4))

    def step(self, odd):
        """One pass of the loop."""
        if odd and self.odd(self) == "continue":
            return
        self.forward().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1

    def run(self, odd):
        """Whether it was noticed, when and how; the weights in the end."""
        message = None
        try:
            for number in range(STEPS + 1):
                if self.steps < STEPS:
                    self.step(odd and number == self.odd_step)
        except (ConfigurationError, DrawError) as error:
            message = f"{type(error).__name__}: {error}"
        return message, self.steps, [p.detach().clone() for p in self.model.parameters()]


def discard(training):
    training.forward()
    training.criterion.discard_draw()


def discard_and_continue(training):
    discard(training)
    return "continue"


def skip(training):
    training.forward()
    return "continue"


def load(training):
    training.criterion.load_state_dict(training.start)


def draw(training):
    training.criterion.new_draw()


def evaluate(training):
    training.criterion.eval()
    training.forward()
    training.criterion.train()
    with torch.no_grad():
        training.forward()


def accumulate(training):
    with training.model.no_sync():
        training.forward().backward()


def nothing(training):
    pass


def join(rank):
    """Rank 0 has fewer batches than the others."""
    training, message = Training("PAdam", nothing), None
    try:
        with Join([training.model], throw_on_early_termination=True):
            for _ in range(STEPS + 3 * min(rank, 1)):
                training.step(False)
    except RuntimeError as error:
        message = str(error)
    return message, training.steps, [p.detach().clone() for p in training.model.parameters()]


LONE = {
    "PAdam": (discard, discard_and_continue, skip, load, draw),
    "PSAGA, learning": (discard, load),
    "learning, linked": (discard, skip, load),
    "learning": (load,),
}
HARMLESS = {
    "PAdam": (evaluate, accumulate),
    "PSAGA, learning": (evaluate,),
    "learning, linked": (accumulate,),
    "learning": (evaluate,),
}
TOGETHER = {
    "PAdam": (discard, load),
    "PSAGA, learning": (skip,),
    "learning, linked": (discard_and_continue,),
    "learning": (load,),
}
CASES = [
    (kind, name, deed)
    for kind, cases in (("lone", LONE), ("harmless", HARMLESS), ("together", TOGETHER))
    for name, deeds in cases.items()
    for deed in deeds
]
MESSAGES = {
    discard: "rank 1 has discarded a draw that the others have kept",
    discard_and_continue: "rank 1 has discarded a draw that the others have kept",
    skip: "rank 1 has skipped a step",
    load: "rank 1 has loaded a state alone",
    draw: "rank 1 has drawn more often than the others",
}


def rank_main(rank, world, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=15),
    )
    results = {}
    for kind, name, deed in CASES:
        training = Training(name, deed)
        results[kind, name, deed.__name__] = training.run(kind == "together" or rank == 1)
    results["others"] = Training("PAdam", load).run(rank != 1)
    results["joined"] = join(rank)
    results["late"] = Training("PAdam", load, compare_every=20).run(rank == 1)
    torch.save(results, f"{folder}/results{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)


def start(world, folder, main=rank_main):
    start_ranks(main, world, str(folder), world=world)
    return [torch.load(folder / f"results{rank}.pt") for rank in range(world)]


@pytest.fixture(scope="module", params=[2, 3])
def ranks(request, tmp_path_factory):
    return start(request.param, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize(("name", "deed"), [case[1:] for case in CASES if case[0] == "lone"])
def test_what_one_rank_does_alone_every_rank_names(ranks, name, deed):
    found = [rank["lone", name, deed.__name__][:2] for rank in ranks]
    message, steps = found[0]
    assert message is not None
    assert MESSAGES[deed] in message
    assert ODD_STEP <= steps <= ODD_STEP + 10
    assert found == [found[0]] * len(ranks)


@pytest.mark.parametrize(("kind", "name", "deed"), [case for case in CASES if case[0] != "lone"])
def test_what_keeps_ranks_together_is_let_through(ranks, kind, name, deed):
    first = ranks[0][kind, name, deed.__name__]
    for message, steps, weights in (rank[kind, name, deed.__name__] for rank in ranks):
        assert (message, steps) == (None, STEPS)
        assert all(map(torch.equal, weights, first[2]))


def test_the_ranks_that_did_it_are_named(ranks):
    expected = "rank 0 has loaded" if len(ranks) == 2 else "ranks 0 and 2 have loaded"
    for rank in ranks:
        assert expected in rank["others"][0]


def test_how_often_ranks_compare_is_a_setting(ranks):
    for rank in ranks:
        assert "rank 1 has loaded" in rank["late"][0]
        assert rank["late"][1] == 19


def test_uneven_inputs_end_on_all_ranks_together(ranks):
    for message, steps, weights in (rank["joined"] for rank in ranks):
        assert "exhaust" in message
        assert steps == STEPS
        assert all(map(torch.equal, weights, ranks[0]["joined"][2]))


def lone_main(rank, world, folder):
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=3),
    )
    training = Training("PAdam", nothing)
    message = "none"
    try:
        for step in range(STEPS):
            training.forward().backward()
            if (rank, step) != (1, ODD_STEP):  # where it is too late to leave out the step
                training.optimizer.step()
    except RuntimeError as error:
        message = f"{type(error).__name__}: {error}"
    torch.save(message, f"{folder}/results{rank}.pt")
    os._exit(0)


def test_a_comparison_without_the_others_ends_with_an_explanation(tmp_path):
    """It waits for the timeout of the group, here of three seconds."""
    messages = start(2, tmp_path, lone_main)
    assert messages[0].startswith("DrawError: ranks did not come together to compare their draws")
    assert "drop_last=True" in messages[0]
    assert "Error" in messages[1]
