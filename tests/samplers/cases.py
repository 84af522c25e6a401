"""Every sampler, in one table that feeds all tests of laws: a new sampler joins with one row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from multipath import PathDecomposedLoss, PathTable, StochasticLoss
from multipath.samplers import (
    AdaptiveImportance,
    Energy,
    Importance,
    Mixture,
    Reshuffle,
    Sampler,
    Stratified,
    Uniform,
)
from multipath.testing import QuadraticLoss, SamplerTests


@dataclass(frozen=True)
class Case:
    """How to make a sampler, and what is true of it.

    Args:
        make: From the labels of the paths, one for each position of the table, to a sampler. What
            it does to a path may depend on its label only (see ``follows_table``).
        follows_table: The joint law of several draws depends on the order of the table.
        distinct: No path appears twice in a draw.
        limited: k is at most P, as it is for all that are distinct.
        biased: Some path is never drawn.
    """

    make: Callable[[Sequence[int]], Sampler]
    follows_table: bool = False
    distinct: bool = False
    limited: bool = False
    biased: bool = False


def skewed(labels):
    """Probabilities proportional to (label + 1)^2."""
    squares = (torch.as_tensor(labels, dtype=torch.float64) + 1) ** 2
    return squares / squares.sum()


def parity(labels):
    """Strata of even and odd labels, each in order of its labels."""
    ranked = sorted(range(len(labels)), key=lambda position: labels[position])
    strata = [[p for p in ranked if labels[p] % 2 == rest] for rest in (0, 1)]
    return [members for members in strata if members]


CASES = {
    "uniform": Case(lambda labels: Uniform()),
    "uniform, distinct": Case(lambda labels: Uniform(replacement=False), distinct=True),
    "importance": Case(lambda labels: Importance(skewed(labels))),
    "importance, distinct": Case(
        lambda labels: Importance(skewed(labels), replacement=False),
        follows_table=True,
        distinct=True,
    ),
    "reshuffle": Case(lambda labels: Reshuffle(), distinct=True),
    "stratified": Case(lambda labels: Stratified(parity(labels))),
    "stratified importance": Case(lambda labels: Stratified(parity(labels), skewed(labels))),
    "energy": Case(lambda labels: Energy(skewed(labels), floor=0.3, power=0.5)),
    "energy, distinct": Case(
        lambda labels: Energy(skewed(labels), replacement=False), follows_table=True, distinct=True
    ),
    "energy above a threshold": Case(
        lambda labels: Energy(skewed(labels), threshold=0.3), biased=True
    ),
    "running energy": Case(lambda labels: Energy.running(decay=0.5, power=0.7)),
    "running energy above a threshold": Case(
        lambda labels: Energy.running(decay=0.5, threshold=0.3), biased=True
    ),
    "adaptive": Case(lambda labels: AdaptiveImportance(decay=0.5, cost_aware=True)),
    "adaptive, distinct": Case(
        lambda labels: AdaptiveImportance(floor=0.01, every=2, replacement=False),
        follows_table=True,
        distinct=True,
    ),
    "adaptive, from losses": Case(lambda labels: AdaptiveImportance(observes="losses")),
    "mixture": Case(
        lambda labels: Mixture([Uniform(), Importance(skewed(labels))], weights=[0.3, 0.7])
    ),
    "mixture with memory": Case(
        lambda labels: Mixture([Reshuffle(), AdaptiveImportance(decay=0.5)]), limited=True
    ),
    "mixture, distinct": Case(
        lambda labels: Mixture(
            [Uniform(replacement=False), Importance(skewed(labels), replacement=False)]
        ),
        follows_table=True,
        distinct=True,
    ),
}
UNBIASED = [name for name, case in CASES.items() if not case.biased]


def make(name, n_paths, seasoned=True):
    """A sampler of the table, bound to n anonymous paths."""
    sampler = CASES[name].make(range(n_paths))
    sampler.bind(PathTable(n_paths))
    return season(sampler) if seasoned else sampler


def season(sampler):
    """Let a sampler that learns see every other path, louder with its index."""
    if sampler.observes is not None:
        SamplerTests().season(sampler)
    return sampler


def possible_draws(name, n_paths):
    """The k in 1, 2, 3 that this sampler can make."""
    case = CASES[name]
    return [k for k in (1, 2, 3) if k <= n_paths or not (case.distinct or case.limited)]


def batch():
    x, y = (torch.linspace(*ends, 6).double().reshape(3, 2) for ends in ((-1, 2), (0, 1)))
    return x.requires_grad_(), y


def gradient_norms(loss, x, y, indices):
    """By the book: one path and one item of the batch at a time."""
    norms = []
    for p in indices:
        squares = []
        for b in range(len(x)):
            (gradient,) = torch.autograd.grad(loss.path_losses(x[b : b + 1], y[b : b + 1], [p]), x)
            squares.append(gradient.double().square().sum())
        norms.append(torch.stack(squares).mean().sqrt())
    return torch.stack(norms)


def bound(sampler, n_paths=4, n_draws=1):
    return StochasticLoss(QuadraticLoss(n_paths), sampler, n_draws)


GROUPS = {1: [[0]], 2: [[1], [0]], 3: [[0, 2], [1]], 7: [[0, 3, 4], [1], [2, 5, 6]]}


class Bumps(PathDecomposedLoss):
    """Paths whose losses and gradients have nothing in common: L_p = |sin((p + 1) x) - y|^2."""

    def path_losses(self, input, target, indices):
        p = torch.as_tensor(indices, dtype=input.dtype)[:, None, None]
        return (torch.sin((p + 1) * input) - target).square().sum(dim=-1)
