"""What competes: a loss, a sampler and an optimizer each, in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from multipath import (
    BalancedLoss,
    CombinedLoss,
    Log1p,
    PathDecomposedLoss,
    StochasticLoss,
    TransformLoss,
)
from multipath.applications.losses.multi_scale import mss_log
from multipath.optim import PSAGA
from multipath.samplers import (
    AdaptiveImportance,
    Energy,
    Importance,
    Reshuffle,
    Sampler,
    Stratified,
    Uniform,
)
from multipath.transforms import Transform

from .methods import LinkedAdamW, PerItem, SagaAdamW, StormAdamW

SILENT = 0.02
"""Paths whose target norm is below this fraction of the largest count as silent."""


@dataclass
class Task:
    """What a scheme is built from.

    Attributes:
        transform: Whose paths are sampled.
        targets: Some training sounds, to measure on.
        seed: Of the draws.
    """

    transform: Transform
    targets: Tensor
    seed: int

    def loss(self, rho: Log1p | None = None) -> PathDecomposedLoss:
        """The mean over all paths, equation 3 of SCRAPL."""
        return TransformLoss(self.transform, rho=rho)

    def energies(self, loss: PathDecomposedLoss) -> Tensor:
        """Mean norm of the targets on each path."""
        batches = self.targets.split(8)
        norms = [loss.target_norms(batch, range(len(loss.paths))) for batch in batches]
        return torch.cat(norms, dim=1).double().mean(dim=1)


Method = tuple[nn.Module, Callable[..., Optimizer]]
"""A criterion, and the optimizer for it from parameters, the criterion and a learning rate."""


class Scheme(NamedTuple):
    """One line of the tables.

    Attributes:
        about: For the reader.
        build: Makes criterion and optimizer.
    """

    about: str
    build: Callable[[Task], Method]


def adamw(parameters: Sequence[nn.Parameter], criterion: nn.Module, lr: float) -> Optimizer:
    """The plain optimizer, for what draws no paths or draws at every evaluation."""
    return AdamW(parameters, lr=lr, weight_decay=0.01)


def draws(
    task: Task, sampler: Sampler, k: int, loss: PathDecomposedLoss | None = None, **options: bool
) -> Method:
    """k draws a step, one backward, AdamW."""
    loss = loss or task.loss()
    criterion = StochasticLoss(loss, sampler, n_draws=k, generator=task.seed, **options)
    return criterion, LinkedAdamW


def energy(task: Task, loss: PathDecomposedLoss | None = None, **options: bool) -> Energy:
    """Draws in proportion to target norm times weight in the loss, one in ten evenly."""
    loss = loss or task.loss()
    return Energy(loss.path_weights * task.energies(loss), floor=0.1, **options)


def active(task: Task) -> Importance:
    """Uniform over the paths that are not silent."""
    norms = task.energies(task.loss())
    chosen = (norms > SILENT * norms.max()).double()
    return Importance(chosen / chosen.sum())


def scrapl(task: Task, sampler: Sampler, loss: PathDecomposedLoss | None = None) -> Method:
    """One path a step, P-Adam and P-SAGA, no weights on the draws."""
    criterion, _ = draws(task, sampler, 1, loss, reweight=False)
    return criterion, partial(PSAGA, weight_decay=0.01)


def per_item(task: Task) -> Method:
    """Each sound of the batch draws a path of its own."""
    criterion, _ = draws(task, energy(task), 1)
    return PerItem(criterion), adamw


def with_memory(task: Task, k: int, optimizer: Callable[..., Optimizer]) -> Method:
    """Draws by energy for an optimizer that remembers gradients."""
    criterion, _ = draws(task, energy(task), k)
    return criterion, optimizer


def balanced(task: Task, power: float, k: int, uniform: bool = False) -> Method:
    """A loss in which paths are divided by a power of their size, and draws that fit it."""
    loss = task.loss()
    norms = task.energies(loss)
    fair = BalancedLoss(loss, norms.square(), power, floor=SILENT**2)
    # what a path moves: its weight times its size
    sampler = Uniform() if uniform else Energy(fair.path_weights * norms.square(), floor=0.1)
    return draws(task, sampler, k, fair)


def compressed(task: Task, k: int) -> Method:
    """Coefficients compressed by a logarithm, its knee at the typical coefficient."""
    typical = torch.cat([c.flatten() for c in task.transform(task.targets)]).mean()
    loss = task.loss(Log1p(float(typical)))
    return draws(task, energy(task, loss), k, loss)


def combined(task: Task) -> PathDecomposedLoss:
    """Plain and compressed distances together, both on each path: the default of ``kpaths``."""
    plain = TransformLoss(task.transform)
    return CombinedLoss.with_compression(plain, task.targets).grouped("path")


def with_energy(task: Task, loss: PathDecomposedLoss) -> Method:
    """8 draws a step by the energy that targets have in a loss."""
    return draws(task, energy(task, loss), 8, loss)


SCHEMES: dict[str, Scheme] = {
    "scrapl": Scheme(
        "1 uniform path, P-Adam and P-SAGA: as published", lambda task: scrapl(task, Uniform())
    ),
    "scrapl active": Scheme(
        "the same, silent paths never drawn", lambda task: scrapl(task, active(task))
    ),
    "scrapl combined": Scheme(
        "1 uniform path, plain and compressed, P-Adam and P-SAGA",
        lambda task: scrapl(task, Uniform(), combined(task)),
    ),
    "combined 8": Scheme(
        "8 draws by target energy, plain and compressed distances of each path, AdamW",
        lambda task: with_energy(task, combined(task)),
    ),
    **{
        f"{name} {k}": Scheme(
            f"{k} {words}, AdamW",
            lambda task, k=k, sampler=sampler: draws(task, sampler(task), k),
        )
        for k in (1, 4, 8, 16)
        for name, words, sampler in (
            ("uniform", "uniform draws", lambda task: Uniform()),
            ("energy", "draws by target energy", energy),
        )
    },
    **{
        f"balanced {power:g}": Scheme(
            f"8 draws, paths divided by size^{power:g}, AdamW",
            lambda task, power=power: balanced(task, power, 8),
        )
        for power in (0.25, 0.5, 0.75, 1.0)
    },
    "balanced 0.5 even": Scheme(
        "8 uniform draws, paths divided by size^0.5, AdamW",
        lambda task: balanced(task, 0.5, 8, uniform=True),
    ),
    "adaptive 8": Scheme(
        "8 draws by gradient norm at the reconstruction, AdamW",
        lambda task: draws(task, AdaptiveImportance(every=8), 8),
    ),
    "reshuffle 8": Scheme(
        "8 paths of a random permutation, AdamW", lambda task: draws(task, Reshuffle(), 8)
    ),
    "stratified 8": Scheme(
        "8 draws spread over the rates, AdamW", lambda task: draws(task, Stratified("rate"), 8)
    ),
    "energy 8 distinct": Scheme(
        "8 different paths by target energy, AdamW",
        lambda task: draws(task, energy(task, replacement=False), 8),
    ),
    "active 8": Scheme(
        "8 uniform draws, silent paths never drawn, AdamW",
        lambda task: draws(task, active(task), 8, reweight=False),
    ),
    "per item": Scheme("each sound of the batch draws a path by energy, AdamW", per_item),
    "saga": Scheme(
        "1 draw by energy, SAGA on gradients, AdamW",
        lambda task: with_memory(task, 1, SagaAdamW),
    ),
    "storm 8": Scheme(
        "8 draws by energy, recursive momentum, AdamW",
        lambda task: with_memory(task, 8, StormAdamW),
    ),
    "log 8": Scheme(
        "8 draws by energy, log(1 + S / mean S), AdamW", lambda task: compressed(task, 8)
    ),
    "jtfs": Scheme("all paths, AdamW", lambda task: (task.loss(), adamw)),
    "mss": Scheme(
        "multi-scale spectral loss, AdamW",
        lambda task: (mss_log((64, 128, 256, 512, 1024)), adamw),
    ),
}
