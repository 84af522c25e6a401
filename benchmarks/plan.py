"""Sizes of a run, and the contenders that the groups pit against each other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from .cases import CONTENDERS, Contender, Spec


@dataclass(frozen=True)
class Plan:
    """Sizes of a run.

    Args:
        setting: Name of the JTFS setting.
        settings: Constructor arguments of JTFS, the same for every library.
        n_rates: Rates of that JTFS, numbered from ``first_rate``.
        n_scales: Scales of each rate: P = n_rates n_scales, scales in the inner loop.
        slow_rate: The rate whose floor is counted.
        batch: Signals in a batch.
        repeats: Samples of a short step; ``few`` of a long one, and
            ``processes`` of what is measured in fresh processes.
        n_sampled: Paths of the one-path group.
        lengths: log2 of the numbers of samples of the growth group.
        batches: Batch sizes of the growth group.
        path_settings: What replaces entries of settings, for the growth with P.
        images: Constructor arguments of Scattering2D.
        recording: Arguments of Scattering1D for a long recording, which is only constructed.
        older: Whether an older state of this project takes part.
        seconds: Factor on the guessed durations.
    """

    setting: str
    settings: dict[str, Any]
    n_rates: int
    n_scales: int
    first_rate: int
    slow_rate: int
    batch: int = 4
    repeats: int = 5
    few: int = 3
    processes: int = 3
    n_sampled: int = 15
    ks: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    lengths: tuple[int, ...] = (12, 13, 14, 15, 16, 17, 18)
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    batch_length: int = 13
    path_settings: tuple[dict[str, Any], ...] = (
        {"J": 6, "Q": (8, 1), "J_fr": 2, "Q_fr": 1, "F": 4},
        {"J": 8, "Q": (8, 1), "J_fr": 3, "Q_fr": 1, "F": 8},
        {"J": 10, "Q": (8, 1), "J_fr": 3, "Q_fr": 2, "F": 8},
        {"J": 12, "Q": (8, 2), "J_fr": 3, "Q_fr": 2, "F": 8},
        {"J": 12, "Q": (8, 4), "J_fr": 3, "Q_fr": 4, "F": 8},
        {"J": 12, "Q": (8, 8), "J_fr": 3, "Q_fr": 6, "F": 8},
    )
    images: dict[str, Any] = field(default_factory=lambda: {"shape": (256, 256), "J": 5, "L": 8})
    recording: dict[str, Any] = field(
        default_factory=lambda: {"n_samples": 2646000, "J": 14, "Q": (8, 1), "T": 2**14}
    )
    full_peer_bytes: float = 18e9
    seconds: float = 1.0
    older: bool = False

    @property
    def n_paths(self) -> int:
        """P."""
        return self.n_rates * self.n_scales

    def randomness(self, name: str) -> random.Random:
        """The same draws in every run, others for every case."""
        return random.Random(f"multipath benchmarks, {name}")

    def spread_paths(self) -> list[int]:
        """One random path in each of ``n_sampled`` equal stretches of the table: all rates."""
        dice = self.randomness("one-path")
        edges = [i * self.n_paths // self.n_sampled for i in range(self.n_sampled + 1)]
        return [dice.randrange(a, b) for a, b in pairwise(edges)]

    def random_paths(self, name: str, k: int, times: int) -> tuple[Spec, ...]:
        """``times`` draws of k different paths."""
        dice = self.randomness(name)
        return tuple({"indices": sorted(dice.sample(range(self.n_paths), k))} for _ in range(times))

    def contender(
        self,
        subject: str,
        draws: Sequence[Spec] = ({},),
        limit: float | None = None,
        needs_bytes: float = 0.0,
        **spec: Any,
    ) -> Contender:
        """A contender with settings and batch size of the plan where the spec has no others."""
        name, side = CONTENDERS[subject]
        common = {"subject": subject, "settings": self.settings, "batch": self.batch}
        return Contender(name, side, common | spec, tuple(draws), limit, needs_bytes)

    def both(self, **options: Any) -> tuple[Contender, Contender]:
        """Our JTFS, exact and reduced."""
        return self.contender("jtfs", **options), self.contender("jtfs-reduced", **options)

    def against_scrapl(self, **options: Any) -> tuple[Contender, ...]:
        """Our JTFS and scrapl-loss on the same path."""
        return *self.both(**options), self.contender("scrapl", **options)

    def scattering1d(self) -> tuple[Contender, Contender]:
        """All paths of the scattering over time, ours and kymatio's."""
        return self.contender("scattering1d"), self.contender("kymatio-scattering1d")

    def of_older(self, subject: str, **spec: Any) -> tuple[Contender, ...]:
        """The older state of this project, if one takes part."""
        return (self.contender(f"older-{subject}", **spec),) if self.older else ()

    def stft(self) -> tuple[Contender, Contender]:
        """The multi-resolution STFT loss, ours and auraloss's."""
        return self.contender("mrstft"), self.contender("auraloss")


FULL = Plan(
    setting="granular",
    settings={
        "n_samples": 32768, "J": 12, "Q": (8, 2), "J_fr": 3, "Q_fr": 2, "T": 4096, "F": 8,
    },
    n_rates=21,
    n_scales=15,
    first_rate=4,
    slow_rate=14,
)  # fmt: skip

QUICK = Plan(
    setting="quick",
    settings={"n_samples": 4096, "J": 8, "Q": (8, 1), "J_fr": 3, "Q_fr": 1, "T": 512, "F": 8},
    n_rates=6,
    n_scales=9,
    first_rate=3,
    slow_rate=6,
    repeats=3,
    few=2,
    processes=1,
    n_sampled=4,
    ks=(1, 4, 16),
    lengths=(11, 12),
    batches=(1, 4),
    batch_length=11,
    path_settings=FULL.path_settings[1:3],
    images={"shape": (32, 32), "J": 2, "L": 8},
    recording={"n_samples": 2**17, "J": 10, "Q": (8, 1), "T": 2**10},
    full_peer_bytes=4e9,
    seconds=0.1,
)
