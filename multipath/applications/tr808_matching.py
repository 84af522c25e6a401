"""Matching drums with the TR-808 synthesizer: recordings, or drums that it made itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from multipath.errors import ConfigurationError

from .application import Application
from .audio import check_rate
from .data import Targets
from .drum_distances import DrumDistances
from .recordings import (
    LABELS,
    Recordings,
    find_recordings,
    load_recordings,
    synthetic_recordings,
)
from .settings import check_positive
from .tr808 import TR808Synth


@dataclass(frozen=True, kw_only=True)
class TR808Matching(Application):
    """Every target begins after some silence, so that reconstructions may come early or late.

    Args:
        data: Folder of recordings, see :func:`~.recordings.load_recordings`. None: the synthesizer
            makes the targets.
        n_targets: How many drums the synthesizer makes; without meaning for recordings.
        onset: Samples of silence before each target.
        alignment: ``"micro"``: reconstructions begin with their targets. ``"meso"``: in training
            each begins up to ``onset`` samples earlier or later. They are always judged aligned.
        noise: Of reconstructions. ``"fixed"``: the same in all; ``"random"``: new in each.
        trim: Leading samples of recordings that are this many dB below the peak are dropped.
            None: all are kept.
        bad_files: ``"skip"`` recordings that cannot be used, with a warning, or ``"refuse"`` the
            folder.
    """

    name = "tr808"
    heading = "TR-808 sound matching"
    judged_by = DrumDistances

    data: str | None = None
    n_targets: int = 80
    onset: int
    alignment: Literal["micro", "meso"] = "micro"
    noise: Literal["fixed", "random"] = "random"
    trim: float | None = 60.0
    bad_files: Literal["skip", "refuse"] = "skip"

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        check_positive(self, "n_targets")
        for name, known in {
            "alignment": ("micro", "meso"),
            "noise": ("fixed", "random"),
            "bad_files": ("skip", "refuse"),
        }.items():
            if getattr(self, name) not in known:
                raise ConfigurationError(
                    f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}"
                )
        if not 0 <= self.onset < self.n_samples:
            raise ConfigurationError(
                f"onset must lie in [0, n_samples = {self.n_samples}), got {self.onset}"
            )
        if self.trim is not None and not self.trim > 0:
            raise ConfigurationError(f"trim must be a positive number of dB, got {self.trim}")
        check_rate(self.sample_rate, "sample_rate", ConfigurationError)

    @property
    def variant(self) -> str:
        """The alignment."""
        return self.alignment

    @property
    def knows_theta(self) -> bool:
        """Whether the synthesizer made the targets."""
        return self.data is None

    def build_synth(self) -> TR808Synth:
        """The synthesizer, for 14 parameters."""
        return TR808Synth(n_samples=self.n_samples, sample_rate=self.sample_rate)

    def draw_chance(self, count: int, generator: torch.Generator) -> Tensor:
        """Seeds of the noise and delays in samples, (count, 2)."""
        seeds = self.evaluation_chance(count, generator)[:, 0]
        reach = self.onset if self.alignment == "meso" else 0
        early_or_late = torch.randint(-reach, reach + 1, (count,), generator=generator)
        return torch.stack([seeds, self.onset + early_or_late], dim=1)

    def evaluation_chance(self, count: int, generator: torch.Generator) -> Tensor:
        """The same, with the delay that aligns reconstructions with their targets."""
        seeds = torch.zeros(count, dtype=torch.long)
        if self.noise == "random":
            seeds = torch.randint(2**40, (count,), generator=generator)
        return torch.stack([seeds, torch.full_like(seeds, self.onset)], dim=1)

    def targets(self, seed: int) -> dict[str, Targets]:
        """Recordings or drums of the synthesizer after their silence; every type in each split."""
        drums = self._drums(seed)
        sounds = pad(drums.sounds, (self.onset, 0))
        everything = Targets(drums.theta, None, sounds, drums.types)
        return {split: everything.take(which) for split, which in drums.splits.items()}

    def build_evaluation(self, synth: TR808Synth) -> DrumDistances:  # type: ignore[override]
        """Distances between sounds."""
        return DrumDistances(self, synth)

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of every recording and of the labels; of files that cannot be read, a word."""
        if self.data is None:
            return {}
        folder = Path(self.data)
        files = [*find_recordings(folder), *folder.glob(LABELS)]
        return {file.relative_to(folder).as_posix(): _digest(file) for file in files}

    def _drums(self, seed: int) -> Recordings:
        n_samples, rate = self.n_samples - self.onset, round(self.sample_rate)
        if self.data is None:
            synth = TR808Synth(n_samples=n_samples, sample_rate=rate)
            return synthetic_recordings(synth, self.n_targets, seed=seed)
        return load_recordings(
            self.data,
            n_samples=n_samples,
            sample_rate=rate,
            trim=self.trim,
            bad_files=self.bad_files,
            seed=seed,
        )


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:  # whoever loads it will name it, and leave it out or refuse it
        return "unreadable"
