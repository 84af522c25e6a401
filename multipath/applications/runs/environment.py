"""Where numbers were measured, to be printed beside them."""

from __future__ import annotations

import os
import platform

import torch

from multipath import __version__


def describe_environment() -> dict[str, str | int]:
    """Describe versions, machine and threads.

    Example:
        >>> sorted(describe_environment())
        ['cpus', 'device', 'machine', 'multipath', 'python', 'threads', 'torch']
    """
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "multipath": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.platform(),
        "device": gpu,
        "cpus": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
    }
