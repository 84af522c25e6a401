"""What the library leaves of a distributed job."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import ROOT

ONE_RANK = """
import multipath, torch
from multipath.importance import theta_importance
from pathlib import Path
from torch import distributed as dist

def threads():
    return {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
torch.optim.SGD(torch.nn.Linear(1, 1).parameters())  # torch now imports much of itself
print("gloo", any("gloo" in name for name in threads()))
dist.destroy_process_group()
print("gloo", any("gloo" in name for name in threads()))
"""


@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this build of torch has no gloo",
)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads cannot be listed")
@pytest.mark.slow
def test_a_destroyed_group_leaves_no_threads():
    # one that is left aborts the interpreter now and then, after all the work is done
    done = subprocess.run(
        [sys.executable, "-c", ONE_RANK],
        env={**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["gloo True", "gloo False"]
