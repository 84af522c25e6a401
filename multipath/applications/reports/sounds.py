"""Sounds of several runs that can be heard side by side: those made from the same target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from multipath.applications.audio.files import SILENCE, read_channels

from .runs import Run

__all__ = ["Heard", "hear"]

TARGETS = 4
PEAK = 0.9


@dataclass
class Heard:
    """A target and what some runs made of it, at their true relative loudness.

    Each run writes its sounds at a gain at which neither target nor reconstruction clips. Here all
    sounds are in units of the target's peak.

    Attributes:
        target: The target, shape (T,), of peak 1.
        rate: Sample rate in Hz.
        name: What it is called; no two are called the same.
        reconstructions: What each run made of it, shape (T,), by the name of the run.
    """

    target: Tensor
    rate: int
    name: str
    reconstructions: dict[str, Tensor] = field(default_factory=dict)

    @property
    def gain(self) -> float:
        """The gain at which nothing clips: the loudest sample becomes 0.9."""
        loudest = max(float(x.abs().max()) for x in (self.target, *self.reconstructions.values()))
        return PEAK / max(loudest, SILENCE)

    def is_of(self, target: Tensor, rate: int) -> bool:
        """Whether this is the same target; files hold it at other gains, in single precision."""
        same = rate == self.rate and target.shape == self.target.shape
        return same and torch.allclose(target, self.target, rtol=0.0, atol=1e-5)


def hear(runs: Sequence[Run]) -> list[Heard]:
    """Find targets and what runs made of them: the first of each run, more if they share targets.

    Runs of other seeds or settings may have other targets. Four are taken, or one of each run if
    there are more.

    Args:
        runs: The runs; those without sounds are passed over.

    Raises:
        InputError: If a recording is damaged.
    """
    heard: list[Heard] = []

    def add(index: int) -> None:
        for run in runs:
            for name, *pair in run.sounds[index : index + 1]:
                (target, rate), (found, _) = map(_read, pair)
                peak = float(target.abs().max())
                peak = peak if peak > SILENCE else 1.0
                row = next((each for each in heard if each.is_of(target / peak, rate)), None)
                if row is None:
                    taken = name in {each.name for each in heard}
                    row = Heard(target / peak, rate, f"{name} of {run.name}" if taken else name)
                    heard.append(row)
                row.reconstructions.setdefault(run.name, found / peak)

    add(0)
    for index in range(1, TARGETS // max(1, len(heard))):
        add(index)
    return heard


def _read(file: Path) -> tuple[Tensor, int]:
    """Read a sound of a run, which may be silent."""
    channels, rate = read_channels(file)
    return torch.from_numpy(channels[:, 0]), rate
