"""Targets and their batches: a training step is a pure function of the seed and its number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from multipath.errors import ConfigurationError

SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2}

DrawNuisance = Callable[[int, torch.Generator], Tensor]
"""Draws what parameters leave open for a number of sounds: their time shifts, say. Integers, of
shape (n,) or, where there are several to a sound, (n, k)."""


class Targets(NamedTuple):
    """Some sounds to be matched: made from known parameters, or recorded.

    Args:
        theta: True parameters in [0, 1], shape (n, U), or None if they are unknown.
        nuisance: What else the synthesizer needs, integers of shape (n,) or (n, k): time shifts in
            samples, seeds of grains or of noise.
        sounds: Recordings, shape (n, n_samples). None: rendered from the others.
        types: What each is, or None if they are all alike; errors are then told by type too.
        names: What each is called, if it is a recording.
    """

    theta: Tensor | None = None
    nuisance: Tensor | None = None
    sounds: Tensor | None = None
    types: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        """How many."""
        return next(len(field) for field in self if field is not None)

    def take(self, which: Tensor | slice) -> Targets:
        """Some of them."""

        def words(field: tuple[str, ...] | None) -> tuple[str, ...] | None:
            if field is None:
                return None
            return tuple(field[i] for i in torch.arange(len(field))[which].tolist())

        tensors = (self.theta, self.nuisance, self.sounds)
        theta, nuisance, sounds = (None if field is None else field[which] for field in tensors)
        return Targets(theta, nuisance, sounds, words(self.types), words(self.names))

    def name(self, place: int) -> str:
        """What one of them is called; those that are no recordings are numbered from 1."""
        return f"sound {place + 1}" if self.names is None else self.names[place]


class Batch(NamedTuple):
    """Some targets, and the nuisance with which their reconstructions are to be rendered.

    Args:
        targets: What to match.
        nuisance: As in :class:`Targets`, but of the reconstructions: other shifts, other seeds.
        rows: Numbers of the targets in their split, for what is known of each one.
    """

    targets: Targets
    nuisance: Tensor
    rows: Tensor | None = None


class Batches:
    """The order in which a run meets its targets.

    A training step k is a pure function of (seed, k), so an interrupted run goes on where it
    stopped: targets are taken from random permutations, each used up before the next, and
    reconstructions get a nuisance of their own at every step.

    Args:
        splits: Targets of ``train``, ``validation`` and ``test``.
        draw_nuisance: Draws that of reconstructions in training.
        evaluation_nuisance: Draws that of reconstructions in evaluation. Default: as in training.
        seed: Seed of the run.
        size: Targets in a training step.

    Raises:
        ConfigurationError: If the training targets do not fill a batch, or a split is empty.

    Example:
        >>> splits = split_targets(Targets(theta=torch.rand(20, 2)))
        >>> draw = lambda count, generator: torch.randint(9, (count,), generator=generator)
        >>> batches = Batches(splits, draw, seed=0, size=4)
        >>> {split: targets.size for split, targets in batches.splits.items()}
        {'train': 12, 'validation': 4, 'test': 4}
        >>> batches.training_batch(7).targets.theta.equal(batches.training_batch(7).targets.theta)
        True
    """

    def __init__(
        self,
        splits: Mapping[str, Targets],
        draw_nuisance: DrawNuisance,
        evaluation_nuisance: DrawNuisance | None = None,
        *,
        seed: int,
        size: int,
    ) -> None:
        sizes = {name: targets.size for name, targets in splits.items()}
        if sizes["train"] < size or not all(sizes.values()):
            counts = ", ".join(f"{n} for {name}" for name, n in sizes.items())
            least = max(ceil(size / SPLITS["train"]), ceil(1 / min(SPLITS.values())))
            raise ConfigurationError(
                f"expected targets that fill a training batch of {size} and leave no split empty, "
                f"got {sum(sizes.values())} ({counts}); about {least} are needed: give more"
            )
        self.splits = dict(splits)
        self.draw_nuisance = draw_nuisance
        self.evaluation_nuisance = evaluation_nuisance or draw_nuisance
        self.seed = seed
        self.size = size

    def training_batch(self, step: int) -> Batch:
        """The batch of optimizer step number ``step``, counted from 0."""
        train = self.splits["train"]
        round_, place = divmod(step, train.size // self.size)
        order = torch.randperm(train.size, generator=seeded(self.seed, "order", round_))
        chosen = order[place * self.size : (place + 1) * self.size]
        nuisance = self.draw_nuisance(self.size, seeded(self.seed, "reconstruction", step))
        return Batch(train.take(chosen), nuisance, chosen)

    def all_of(self, split: str, size: int = 64) -> Iterator[Batch]:
        """All targets of a split, in order; the nuisance of their reconstructions is fixed too."""
        targets = self.splits[split]
        nuisance = self.evaluation_nuisance(targets.size, seeded(self.seed, split))
        for start in range(0, targets.size, size):
            part = slice(start, start + size)
            yield Batch(targets.take(part), nuisance[part], torch.arange(targets.size)[part])


class TrainingBatches:
    """The batches of one epoch, beginning at the step the trainer has reached.

    Args:
        batches: Where they come from.
        length: Steps in an epoch.
        next_step: Says which step comes next; asked when an epoch begins.
    """

    def __init__(self, batches: Batches, length: int, next_step: Callable[[], int]) -> None:
        self.batches = batches
        self.length = length
        self.next_step = next_step

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        """Batches of the next epoch."""
        first = self.next_step()
        return (self.batches.training_batch(first + i) for i in range(self.length))


def split_targets(targets: Targets) -> dict[str, Targets]:
    """60 % to train, 20 % to validate, 20 % to test, in order."""
    first = round(SPLITS["train"] * targets.size)
    second = round((SPLITS["train"] + SPLITS["validation"]) * targets.size)
    return {
        "train": targets.take(slice(0, first)),
        "validation": targets.take(slice(first, second)),
        "test": targets.take(slice(second, None)),
    }


def seeded(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator for one purpose of one run; different purposes give independent streams."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
