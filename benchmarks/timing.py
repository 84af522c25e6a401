"""One timed step, inside a worker: forward of both signals and backward to the input."""

from __future__ import annotations

import gc
import json
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from .subjects import SUBJECTS, Loss

if TYPE_CHECKING:
    from torch import Tensor

# Losses kept constructed: enough for the contenders of one case, few enough to bound memory.
KEPT = 4
# Shorter steps are repeated until they fill this many seconds, and their mean is the sample.
BURST_SECONDS = 0.15
MOST_STEPS = 50
# Steps that take longer than this are not preceded by one that does not count.
LONG_STEP_SECONDS = 2.0
# The other process's threads spin on for a moment after its step: let them fall asleep.
PAUSE_SECONDS = 0.02


class Stepper:
    """Constructs what is asked for, once, and times steps of it."""

    def __init__(self) -> None:
        self._losses: OrderedDict[str, Loss] = OrderedDict()

    def construct(self, spec: dict[str, Any]) -> tuple[Loss, float | None]:
        """The loss of a spec and the seconds its construction took, None if it was there."""
        key = json.dumps([spec["subject"], spec["settings"]], sort_keys=True)
        if key in self._losses:
            self._losses.move_to_end(key)
            return self._losses[key], None
        while len(self._losses) >= KEPT:
            self._losses.popitem(last=False)
        gc.collect()
        subject = SUBJECTS[spec["subject"]]
        subject.load()
        start = time.perf_counter()
        loss = subject.construct(with_tuples(spec["settings"]))
        seconds = time.perf_counter() - start
        self._losses[key] = loss
        return loss, seconds

    def step(self, spec: dict[str, Any], warm_up: bool, limit: float | None) -> dict[str, Any]:
        """Time some steps, after one that does not count: caches belong to who ran before.

        Args:
            spec: ``subject``, ``settings``, ``batch``, and ``indices`` (path indices), ``at``
                (positions in [0, 1) among the paths) or neither (all paths).
            warm_up: Whether this is the first time, when even a long step is preceded by another.
            limit: If the first step takes more seconds than this, it stays the only one.

        Returns:
            ``seconds`` (of one step), ``construct_seconds``, ``paths`` and, if the first step
            exceeded the limit, ``too_slow``.
        """
        loss, construct_seconds = self.construct(spec)
        indices = chosen_paths(spec, loss.n_paths)
        x, y = signals(spec)
        reply = {"construct_seconds": construct_seconds, "paths": loss.n_paths}
        first = timed_step(loss, x, y, indices)
        if warm_up and limit is not None and first > limit:
            return reply | {"seconds": first, "too_slow": True}
        if first > LONG_STEP_SECONDS and not warm_up:
            return reply | {"seconds": first}
        count = min(MOST_STEPS, 1 + int(BURST_SECONDS / max(first, 1e-6)))
        time.sleep(PAUSE_SECONDS)
        total = sum(timed_step(loss, x, y, indices) for _ in range(count))
        return reply | {"seconds": total / count}


def timed_step(loss: Loss, x: Tensor, y: Tensor, indices: list[int] | None) -> float:
    """Seconds of forward(x), forward(y) without gradient, and backward to x."""
    x.grad = None
    start = time.perf_counter()
    loss.value(x, y, indices).backward()
    return time.perf_counter() - start


def chosen_paths(spec: dict[str, Any], n_paths: int) -> list[int] | None:
    """Path indices of a spec, None for all."""
    if "at" in spec:
        return [int(position * n_paths) for position in spec["at"]]
    return spec.get("indices")


def signals(spec: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """White noise, the same in every interpreter: an input that wants a gradient, and a target."""
    import torch

    generator = torch.Generator().manual_seed(0)
    shape = (spec["batch"], spec["n_samples"])
    x = torch.randn(shape, generator=generator).requires_grad_()
    return x, torch.randn(shape, generator=generator)


def with_tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """JSON turns tuples into lists; the libraries want tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
