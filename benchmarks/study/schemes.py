"""What competes: a loss, a sampler and an optimizer each, in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from multipath import BalancedLoss, Log1p, PathDecomposedLoss, StochasticLoss, TransformLoss
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

from .methods import PerItem, SagaAdamW, StormAdamW

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


Parameters = Sequence[nn.Parameter]
Method = tuple[nn.Module, Callable[[Parameters, float], Optimizer]]
"""A criterion, and the optimizer for it from parameters and a learning rate."""


@dataclass(frozen=True)
class Scheme:
    """One line of the tables.

    Attributes:
        name: Short name, unique.
        family: What it is compared under.
        about: One line for the reader.
        build: Makes criterion and optimizer.
    """

    name: str
    family: str
    about: str
    build: Callable[[Task], Method]


def adamw(parameters: Parameters, lr: float) -> Optimizer:
    """The plain optimizer of all schemes but the path-wise ones."""
    return AdamW(parameters, lr=lr, weight_decay=0.01)


def draws(
    task: Task, sampler: Sampler, k: int, loss: PathDecomposedLoss | None = None, **options: bool
) -> Method:
    """k draws a step, one backward, AdamW."""
    loss = loss or task.loss()
    criterion = StochasticLoss(loss, sampler, n_draws=k, generator=task.seed, **options)

    def optimizer(parameters: Parameters, lr: float) -> Optimizer:
        made = adamw(parameters, lr)
        criterion.redraw_after(made)
        return made

    return criterion, optimizer


def energy(task: Task, loss: PathDecomposedLoss | None = None, **options: bool) -> Energy:
    """Draws in proportion to target norm times weight in the loss, one in ten evenly."""
    loss = loss or task.loss()
    return Energy(loss.path_weights * task.energies(loss), floor=0.1, **options)


def active(task: Task) -> Importance:
    """Uniform over the paths that are not silent."""
    norms = task.energies(task.loss())
    chosen = (norms > SILENT * norms.max()).double()
    return Importance(chosen / chosen.sum())


def scrapl(task: Task, sampler: Sampler) -> Method:
    """One path a step, P-Adam and P-SAGA, no weights on the draws."""
    criterion = StochasticLoss(task.loss(), sampler, reweight=False, generator=task.seed)
    return criterion, lambda parameters, lr: PSAGA(parameters, criterion, lr=lr, weight_decay=0.01)


def per_item(task: Task) -> Method:
    """Each sound of the batch draws a path of its own."""
    criterion = StochasticLoss(task.loss(), energy(task), generator=task.seed)
    return PerItem(criterion), adamw


def saga(task: Task) -> Method:
    """SAGA on gradients, weighted for importance, before Adam normalises."""
    criterion = StochasticLoss(task.loss(), energy(task), generator=task.seed)
    return criterion, partial(SagaAdamW, criterion=criterion)


def storm(task: Task, k: int) -> Method:
    """Recursive momentum: each draw also evaluated at the weights before the last step."""
    criterion = StochasticLoss(task.loss(), energy(task), n_draws=k, generator=task.seed)
    return criterion, partial(StormAdamW, criterion=criterion)


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


def spectral(task: Task) -> Method:
    """Multi-scale spectral loss, log and linear."""
    return mss_log((64, 128, 256, 512, 1024)), adamw


def _draw_schemes() -> list[Scheme]:
    found = []
    for k in (1, 4, 8, 16):
        found += [
            Scheme(f"uniform {k}", "draws", f"{k} uniform draws, AdamW",
                   lambda task, k=k: draws(task, Uniform(), k)),
            Scheme(f"energy {k}", "draws", f"{k} draws by target energy, AdamW",
                   lambda task, k=k: draws(task, energy(task), k)),
        ]  # fmt: skip
    return found


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in [
        Scheme("scrapl", "path-wise", "1 uniform path, P-Adam and P-SAGA: as published",
               lambda task: scrapl(task, Uniform())),
        Scheme("scrapl active", "path-wise", "the same, silent paths never drawn",
               lambda task: scrapl(task, active(task))),
        *_draw_schemes(),
        *(Scheme(f"balanced {power:g}", "balanced",
                 f"8 draws, paths divided by size^{power:g}, AdamW",
                 lambda task, power=power: balanced(task, power, 8))
          for power in (0.25, 0.5, 0.75, 1.0)),
        Scheme("balanced 0.5 even", "balanced", "8 uniform draws, paths divided by size^0.5, AdamW",
               lambda task: balanced(task, 0.5, 8, uniform=True)),
        Scheme("adaptive 8", "samplers", "8 draws by gradient norm at the reconstruction, AdamW",
               lambda task: draws(task, AdaptiveImportance(every=8), 8)),
        Scheme("reshuffle 8", "samplers", "8 paths of a random permutation, AdamW",
               lambda task: draws(task, Reshuffle(), 8)),
        Scheme("stratified 8", "samplers", "8 draws spread over the rates, AdamW",
               lambda task: draws(task, Stratified("rate"), 8)),
        Scheme("energy 8 distinct", "samplers", "8 different paths by target energy, AdamW",
               lambda task: draws(task, energy(task, replacement=False), 8)),
        Scheme("active 8", "samplers", "8 uniform draws, silent paths never drawn, AdamW",
               lambda task: draws(task, active(task), 8, reweight=False)),
        Scheme("per item", "draws", "each sound of the batch draws a path by energy, AdamW",
               per_item),
        Scheme("saga", "memory", "1 draw by energy, SAGA on gradients, AdamW", saga),
        Scheme("storm 8", "memory", "8 draws by energy, recursive momentum, AdamW",
               lambda task: storm(task, 8)),
        Scheme("log 8", "balanced", "8 draws by energy, log(1 + S / mean S), AdamW",
               lambda task: compressed(task, 8)),
        Scheme("jtfs", "whole losses", "all paths, AdamW", lambda task: (task.loss(), adamw)),
        Scheme("mss", "whole losses", "multi-scale spectral loss, AdamW", spectral),
    ]
}  # fmt: skip
