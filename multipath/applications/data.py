"""Targets made on the fly: parameters and time shifts drawn from a seed; no file is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .presets import MatchConfig

SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2}


class Batch(NamedTuple):
    """Some targets, and how far their reconstructions are to be shifted.

    Args:
        theta: True parameters in [0, 1], shape (batch, U).
        shift: Shift of the targets in samples, integers of shape (batch,).
        reconstruction_shift: Shift of what the synthesizer will render from the estimates.
    """

    theta: Tensor
    shift: Tensor
    reconstruction_shift: Tensor


class Targets:
    """The parameters of every target, split 60/20/20; sounds are rendered when needed.

    Parameters are uniform in the unit cube (log-uniform in Hz and octaves/s), shifts uniform in
    +-``max_shift``. A training step k is a pure function of (seed, k), so an interrupted run goes
    on where it stopped: targets are taken from random permutations, each used up before the next,
    and reconstructions get a shift of their own at every step.

    Args:
        config: Says how many targets, how large a batch and which seed.
        n_parameters: Number U of synthesizer parameters.

    Example:
        >>> from .presets import preset
        >>> targets = Targets(preset("quick"), n_parameters=2)
        >>> {split: len(theta) for split, theta in targets.theta.items()}
        {'train': 960, 'validation': 320, 'test': 320}
        >>> targets.training_batch(7).theta.equal(targets.training_batch(7).theta)
        True
    """

    def __init__(self, config: MatchConfig, n_parameters: int) -> None:
        self.config = config
        generator = seeded(config.seed, "targets")
        theta = torch.rand(config.n_targets, n_parameters, generator=generator)
        shift = self._draw_shifts(config.n_targets, generator)
        first = round(SPLITS["train"] * config.n_targets)
        second = round((SPLITS["train"] + SPLITS["validation"]) * config.n_targets)
        bounds = {
            "train": slice(0, first),
            "validation": slice(first, second),
            "test": slice(second, None),
        }
        self.theta = {split: theta[part] for split, part in bounds.items()}
        self.shift = {split: shift[part] for split, part in bounds.items()}

    def training_batch(self, step: int) -> Batch:
        """The batch of optimizer step number ``step``, counted from 0."""
        size = self.config.batch_size
        per_pass = len(self.theta["train"]) // size
        round_, place = divmod(step, per_pass)
        order = torch.randperm(
            len(self.theta["train"]), generator=seeded(self.config.seed, "order", round_)
        )
        chosen = order[place * size : (place + 1) * size]
        shift = self._draw_shifts(size, seeded(self.config.seed, "reconstruction", step))
        return Batch(self.theta["train"][chosen], self.shift["train"][chosen], shift)

    def batches(self, split: str, size: int = 64) -> Iterator[Batch]:
        """All targets of a split, in order; their reconstructions' shifts are fixed too."""
        theta, shift = self.theta[split], self.shift[split]
        other = self._draw_shifts(len(theta), seeded(self.config.seed, split))
        for start in range(0, len(theta), size):
            part = slice(start, start + size)
            yield Batch(theta[part], shift[part], other[part])

    def _draw_shifts(self, count: int, generator: torch.Generator) -> Tensor:
        limit = self.config.max_shift
        return torch.randint(-limit, limit + 1, (count,), generator=generator)


class TrainingBatches:
    """The batches of one epoch, beginning at the step the trainer has reached.

    Args:
        targets: Where batches come from.
        length: Steps in an epoch.
        next_step: Says which step comes next; asked when an epoch begins.
    """

    def __init__(self, targets: Targets, length: int, next_step: Callable[[], int]) -> None:
        self.targets = targets
        self.length = length
        self.next_step = next_step

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        """Batches of the next epoch."""
        first = self.next_step()
        return (self.targets.training_batch(first + i) for i in range(self.length))


def seeded(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator for one purpose of one run; different purposes give independent streams."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
