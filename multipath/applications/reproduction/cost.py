"""What one forward and backward of a loss costs: time and memory, in a process of its own."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.objectives import LossContext, find_objective
from multipath.applications.runs.environment import describe_environment

__all__ = ["BATCH", "measure_cost"]

BATCH = 4
"""Signals in a batch."""
MEGABYTE = 1e6
STATUS = Path("/proc/self/status")


def measure_cost(config: MatchConfig, seconds: float = 10.0, least: int = 3) -> dict[str, Any]:
    """Time and memory of a loss on noise, on the GPU if there is one.

    Times are means, because the paths of a stochastic loss differ in cost. Memory is the peak that
    torch allocated on a GPU, and on a CPU how much the process grew beyond what it held before: for
    that, nothing else may have run in it.

    Args:
        config: Whose loss, at the length of whose signals; batches have 4 of them.
        seconds: Evaluations are repeated for so long,
        least: but at least as many times, after one that is not counted.

    Returns:
        ``time`` in seconds, ``memory`` in MB (None where the system does not tell), ``repeats``,
        the loss and the environment.

    Example:
        >>> from multipath.applications.matching.presets import preset
        >>> found = measure_cost(preset("quick", loss="mss-log"), seconds=0.0)
        >>> found["repeats"], found["time"] > 0
        (3, True)
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task, objective = config.task, find_objective(config.objective.loss)
    generator = torch.Generator().manual_seed(config.seed)
    width = task.n_samples
    if objective.supervised:
        width = len(task.build_synth().parameter_names)
    target, start = (torch.rand(BATCH, width, generator=generator).to(device) for _ in range(2))
    if not objective.supervised:
        target, start = 2 * target - 1, 2 * start - 1
    context = LossContext(task, config.objective, lambda: [target.cpu()], config.seed)
    criterion = objective.build(context).to(device)
    _wake(device)
    before = _start_counting(device)

    def evaluate() -> None:
        value: Tensor = criterion(start.clone().requires_grad_(), target)
        value.backward()

    time, repeats = _repeat(evaluate, device, seconds, least)
    peak = _peak(device)
    return {
        "loss": config.objective.loss,
        "time": time,
        "memory": None if peak is None or before is None else max(0.0, peak - before) / MEGABYTE,
        "repeats": repeats,
        "environment": describe_environment(),
    }


def _wake(device: torch.device) -> None:
    """What torch allocates once, at the first backward of a process, is not the loss's."""
    torch.autograd.backward(torch.ones(1, device=device, requires_grad=True).square().sum())


def _repeat(
    evaluate: Callable[[], None], device: torch.device, seconds: float, least: int
) -> tuple[float, int]:
    """Mean time in seconds, and of how many."""

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return perf_counter()

    evaluate()
    spent, count = 0.0, 0  # a list of times would grow, and be counted as memory
    while count < least or spent < seconds:
        began = clock()
        evaluate()
        spent += clock() - began
        count += 1
    return spent / count, count


def _start_counting(device: torch.device) -> float | None:
    """Forget earlier peaks; returns the bytes that are in use now, if the system tells."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated())
    if not STATUS.is_file():
        return _peak(device)
    with suppress(AttributeError, OSError):
        CDLL(None).malloc_trim(0)  # what was freed is no longer held, where glibc is
    with suppress(OSError):
        STATUS.with_name("clear_refs").write_text("5")
    return _resident("VmRSS")


def _peak(device: torch.device) -> float | None:
    """Bytes: allocated on a GPU, or resident in this process; None if the system does not tell."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated())
    if STATUS.is_file():
        return _resident("VmHWM")
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _resident(name: str) -> float:
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return 1024 * float(lines[name].split()[0])
