"""One training run within a budget of processor time, and what a step costs."""

from __future__ import annotations

import math
import statistics
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
TURNS, TURN = 4, 8
SETUPS = 3
"""Costs are compared in so many turns of so many steps each, after each of so many set-ups."""


class Training:
    """A run that can be stepped; what it takes of the processor's time is counted.

    Args:
        problem: What is trained.
        scheme: How.
        lr: Learning rate at the start.
        seed: Of sounds, weights and draws.

    Attributes:
        setup: Seconds that building the scheme took.
    """

    def __init__(self, problem: Problem, scheme: Scheme, lr: float, seed: int) -> None:
        self.problem, self.lr, self.seed = problem, lr, seed
        self.encoder = problem.encoder(seed)
        parameters = [p for p in self.encoder.parameters() if p.requires_grad]
        self.theta, self.nuisance = problem.split(seed, "train")
        with torch.no_grad():
            sounds = problem.synth(self.theta[:MEASURED], self.nuisance[:MEASURED])
        transform = problem.transform()
        started = process_time()
        self.criterion, kind = scheme.build(Task(transform, sounds, seed))
        self.optimizer = kind(parameters, self.criterion, lr=lr)
        self.setup = process_time() - started
        self.steps = 0

    def step(self, done: float) -> tuple[float, float]:
        """Take a step at a learning rate that falls to zero along half a cosine.

        Args:
            done: Fraction of the training that is over.

        Returns:
            The loss, and the seconds that the step took.
        """
        started = process_time()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        round_, place = divmod(self.steps, SPLITS["train"] // BATCH)
        order = torch.randperm(len(self.theta), generator=seeded(self.seed, "order", round_))
        chosen = order[place * BATCH : (place + 1) * BATCH]
        synth = self.problem.synth
        other = self.problem.nuisance(BATCH, seeded(self.seed, "reconstruction", self.steps))
        with torch.no_grad():
            target = synth(self.theta[chosen], self.nuisance[chosen])

        def closure() -> torch.Tensor:
            self.optimizer.zero_grad()
            loss: torch.Tensor = self.criterion(synth(self.encoder(target), other), target)
            loss.backward()
            return loss

        value = float(self.optimizer.step(closure).detach())
        self.steps += 1
        return value, process_time() - started

    def error(self, split: str) -> list[float]:
        """Mean absolute error of each parameter on a split, per mille."""
        return self.problem.error(self.encoder, self.seed, split)


def train(
    problem: Problem,
    scheme: Scheme,
    lr: float,
    seed: int,
    budget: float,
    test: bool,
    steps: int | None = None,
) -> dict[str, Any]:
    """Train for ``budget`` seconds of one thread's processor time, the set-up included.

    Processor time, so that what else runs here changes nothing. Where neighbours on a shared host
    change how much a second of it does, give the number of steps instead.

    Args:
        problem: What is trained.
        scheme: How.
        lr: Learning rate at the start.
        seed: Of sounds, weights and draws.
        budget: In seconds.
        test: Whether to report the error on the test split; tuning does not see it.
        steps: As many are trained, and count as taking the whole budget. Default: as many as fit.
    """
    training = Training(problem, scheme, lr, seed)
    used, curve, loss = training.setup, [], 0.0

    def done() -> float:
        return used / budget if steps is None else training.steps / steps

    while not training.steps or (done() < 1 and math.isfinite(loss)):
        if done() >= len(curve) / CHECKS:
            curve.append([used, training.steps, *training.error("validation")])
        loss, seconds = training.step(done())
        used += seconds
    curve.append([used, training.steps, *training.error("validation")])
    return {
        "steps": training.steps,
        "milliseconds": 1000 * (used / training.steps if steps is None else budget / steps),
        "curve": curve,
        "validation": curve[-1][2:],
        "test": training.error("test") if test else None,
    }


def relative_cost(problem: Problem, scheme: Scheme, reference: Scheme) -> dict[str, float]:
    """What a scheme takes of the processor's time, by what steps of another take in turns with it.

    Returns:
        ``setup`` and ``step``, both in steps of the reference: medians over the turns, which what
        slows both does not change.
    """
    ratios: dict[str, list[float]] = {"setup": [], "step": []}
    for _ in range(SETUPS):
        ours, theirs = (Training(problem, each, 1e-3, 0) for each in (scheme, reference))
        spent = [
            [sum(each.step(0.0)[1] for _ in range(TURN)) for each in (ours, theirs)]
            for _ in range(1 + TURNS)
        ][1:]  # the first is warm-up
        ratios["step"] += [mine / other for mine, other in spent]
        ratios["setup"].append(TURN * ours.setup / statistics.median(other for _, other in spent))
    return {name: statistics.median(found) for name, found in ratios.items()}
