"""One timed step, inside a worker: forward of both signals and backward to the input."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

from .cases import Spec
from .subjects import SUBJECTS, Loss

# Losses kept constructed: enough for the contenders of one case, few enough to bound memory.
KEPT = 4
# Shorter steps are repeated until they fill this many seconds, and their mean is the sample.
BURST_SECONDS = 0.15
MOST_STEPS = 50
# Steps that take longer than this are not preceded by one that does not count.
LONG_STEP_SECONDS = 2.0
# The other process's threads spin on for a moment after its step: let them fall asleep.
PAUSE_SECONDS = 0.02

_losses: dict[Any, Loss] = {}


def construct(spec: Spec) -> tuple[Loss, float | None]:
    """The loss of a spec and the seconds its construction took, None if it was there."""
    key = spec["subject"], *spec["settings"].items()
    if key in _losses:
        return _losses[key], None
    while len(_losses) >= KEPT:
        del _losses[next(iter(_losses))]
    gc.collect()
    subject = SUBJECTS[spec["subject"]]
    subject.load()
    start = time.perf_counter()
    _losses[key] = subject.construct(**spec["settings"])
    return _losses[key], time.perf_counter() - start


def step(spec: Spec, warm_up: bool, limit: float | None) -> dict[str, Any]:
    """Time some steps, after one that does not count: caches belong to who ran before.

    Args:
        spec: What to construct and which paths to take, see :func:`step_of`.
        warm_up: Whether this is the first time, when even a long step is preceded by another.
        limit: If the first step takes more seconds than this, it stays the only one.

    Returns:
        ``seconds`` (of one step), ``construct_seconds``, ``paths`` and, if the first step
        exceeded the limit, ``too_slow``.
    """
    loss, construct_seconds = construct(spec)
    timed = step_of(loss, spec)
    reply = {"construct_seconds": construct_seconds, "paths": loss.n_paths}
    first = timed()
    if warm_up and limit is not None and first > limit:
        return reply | {"seconds": first, "too_slow": True}
    if first > LONG_STEP_SECONDS and not warm_up:
        return reply | {"seconds": first}
    count = min(MOST_STEPS, 1 + int(BURST_SECONDS / max(first, 1e-6)))
    time.sleep(PAUSE_SECONDS)
    return reply | {"seconds": sum(timed() for _ in range(count)) / count}


def step_of(loss: Loss, spec: Spec) -> Callable[[], float]:
    """A step on white noise, the same in every interpreter; it returns the seconds it took.

    The paths are ``indices`` of the spec, ``at`` (positions in [0, 1) among the paths), or all.
    """
    import torch

    indices = spec.get("indices")
    if "at" in spec:
        indices = [int(position * loss.n_paths) for position in spec["at"]]
    generator = torch.Generator().manual_seed(0)
    settings = spec["settings"]
    size = settings["shape"] if "shape" in settings else (settings["n_samples"],)
    shape = (spec["batch"], *size)
    x = torch.randn(shape, generator=generator).requires_grad_()
    y = torch.randn(shape, generator=generator)

    def timed() -> float:
        x.grad = None
        start = time.perf_counter()
        loss.value(x, y, indices).backward()
        return time.perf_counter() - start

    return timed
