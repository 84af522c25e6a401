"""How long it takes ranks to compare their draws, beside averaging the gradients of the encoder.

python -m benchmarks.ranks [--ranks 2]

With gloo, on this machine, one thread for each rank.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import distributed as dist

from multipath import StochasticLoss
from multipath.optim import PAdam
from multipath.samplers import AdaptiveImportance, Reshuffle, Uniform
from multipath.testing import QuadraticLoss

N_WEIGHTS = 604_000
N_PATHS = 315
REPETITIONS = 300


def timed(step: Callable[[], object]) -> str:
    """The median and the least time of a step, in microseconds."""
    found = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        step()
        found.append(1e6 * (time.perf_counter() - start))
    return f"median {median(found):7.0f} us, least {min(found):7.0f} us"


def rank_main(rank: int, world: int, folder: str) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    gradients = torch.ones(N_WEIGHTS)
    steps: dict[str, Callable[[], object]] = {"gradients": lambda: dist.all_reduce(gradients)}
    for sampler in (Uniform(), Reshuffle(), AdaptiveImportance()):
        criterion = StochasticLoss(QuadraticLoss(N_PATHS), sampler, generator=0)
        weights = torch.nn.Parameter(torch.ones(1, 3))
        PAdam([weights], criterion)
        criterion(weights, torch.zeros(1, 3))
        steps[type(sampler).__name__] = criterion._compare
    for name, step in steps.items():
        result = timed(step)
        if not rank:
            print(f"{name:20} {result}")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    n_ranks = parser.parse_args().ranks
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as rendezvous:
        torch.multiprocessing.spawn(rank_main, (n_ranks, rendezvous), nprocs=n_ranks)
