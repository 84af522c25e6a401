"""One training run within a budget of processor time."""

from __future__ import annotations

import math
from time import process_time
from typing import Any

import torch

from multipath.applications.matching.tasks.data import seeded

from .problems import BATCH, SPLITS, Problem
from .schemes import Scheme, Task

CHECKS = 4
"""How often the validation error is measured along a run; that time is not counted."""
MEASURED = 16
"""Training sounds on which a scheme may measure energies; that time is counted."""


def train(
    problem: Problem, scheme: Scheme, lr: float, seed: int, budget: float, test: bool
) -> dict[str, Any]:
    """Train for ``budget`` seconds of one thread's processor time, the set-up included.

    Processor time, so that what else runs on the machine changes nothing. The learning rate falls
    to zero along half a cosine of the time used.

    Args:
        problem: What is trained.
        scheme: How.
        lr: Learning rate at the start.
        seed: Of sounds, weights and draws.
        budget: In seconds.
        test: Whether to report the error on the test split; tuning does not see it.
    """
    encoder = problem.encoder(seed)
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    theta, nuisance = problem.split(seed, "train")
    with torch.no_grad():
        sounds = problem.synth(theta[:MEASURED], nuisance[:MEASURED])
    transform = problem.transform()
    used = -process_time()
    criterion, kind = scheme.build(Task(transform, sounds, seed))
    optimizer = kind(parameters, criterion, lr=lr)
    used += process_time()

    def train_step(step: int) -> float:
        round_, place = divmod(step, SPLITS["train"] // BATCH)
        order = torch.randperm(len(theta), generator=seeded(seed, "order", round_))
        chosen = order[place * BATCH : (place + 1) * BATCH]
        other = problem.nuisance(BATCH, seeded(seed, "reconstruction", step))
        with torch.no_grad():
            target = problem.synth(theta[chosen], nuisance[chosen])

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss: torch.Tensor = criterion(problem.synth(encoder(target), other), target)
            loss.backward()
            return loss

        return float(optimizer.step(closure).detach())

    curve, step, loss = [], 0, 0.0
    while not step or (used < budget and math.isfinite(loss)):
        if used >= len(curve) * budget / CHECKS:
            curve.append([used, step, *problem.error(encoder, seed, "validation")])
        started = process_time()
        for group in optimizer.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * min(1.0, used / budget)))
        loss = train_step(step)
        used += process_time() - started
        step += 1
    curve.append([used, step, *problem.error(encoder, seed, "validation")])
    return {
        "steps": step,
        "milliseconds": 1000 * used / step,
        "curve": curve,
        "validation": curve[-1][2:],
        "test": problem.error(encoder, seed, "test") if test else None,
    }
