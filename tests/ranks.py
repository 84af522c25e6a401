"""Starts the processes of a distributed job.

To import torch, its distributed parts and multipath takes each of them seconds. So they are forked
from a server that has imported all that, where the system has such a thing.
"""

import multiprocessing

import pytest
import torch

SERVER = "forkserver" in multiprocessing.get_all_start_methods()
IMPORTED = (
    "multipath.importance",
    "multipath.optim",
    "multipath.testing",
    "pytest",
    "torch._dynamo",
    "torch.distributed.checkpoint.state_dict",
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
)


def start_ranks(main, *arguments, world):
    """Call ``main(rank, *arguments)`` in so many processes, of one thread each, and wait."""
    multiprocessing.set_forkserver_preload(list(IMPORTED))
    method = "forkserver" if SERVER else "spawn"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.multiprocessing.start_processes(main, arguments, nprocs=world, start_method=method)
