"""Matching drums with the TR-808 synthesizer: recordings, or drums that it made itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from multipath.applications.audio.files import check_rate, find_recordings
from multipath.applications.matching.presets import (
    PAPER_OBJECTIVE,
    QUICK_ENCODER,
    QUICK_SCATTERING,
    QUICK_TRAINING,
)
from multipath.applications.matching.settings import (
    EncoderSettings,
    ObjectiveSettings,
    TrainingSettings,
)
from multipath.applications.matching.testing import TaskTests
from multipath.applications.metrics.drums import DrumMetrics
from multipath.applications.runs.settings import check_positive
from multipath.applications.synths.tr808 import TR808Synth
from multipath.errors import ConfigurationError, InputError

from .base import MOST_TARGETS, Preset, ScatteringSettings, Task
from .data import Batch, Targets
from .evaluation import Evaluation
from .recordings import (
    LABELS,
    Recordings,
    load_recordings,
    synthetic_recordings,
)

FRAME, HOP = 2048 / 44100, 512 / 44100
"""Seconds: length and distance of the frames whose timbre is compared."""

TRANSIENT, DECAY = 2, 64
"""Frames in the transient and, where the sound is long enough, in the decay."""

AT_ONCE = 16
"""Sounds compared together, for the sake of memory."""


class DrumDistances(Evaluation):
    """Distances between drums and their reconstructions (see ``DrumMetrics``).

    The distance between parameters, in per mille (``theta``), is beside them if the parameters
    are known. Scattering is compared in the test alone: it takes most of the time.

    Args:
        task: Says how long the sounds are, and which scattering compares them.
        synth: Renders the reconstructions.
    """

    key = "distances"
    headline = "mss"
    unit = ""

    def __init__(self, task: TR808Task, synth: TR808Synth) -> None:
        super().__init__()
        rate, onset = task.sample_rate, task.onset
        frame, hop = round(FRAME * rate), round(HOP * rate)
        fitting = (task.n_samples - onset - frame) // hop + 1 - TRANSIENT
        self.synth = synth
        self.metrics = DrumMetrics(
            task.n_samples,
            rate,
            scattering=task.scattering.build(task.n_samples, rate, orders=(1, 2)),
            onset=onset,
            frame_size=frame,
            hop_size=hop,
            transient_frames=TRANSIENT,
            decay_frames=max(1, min(DECAY, fitting)),
        )

    def forward(self, batch: Batch, estimate: Tensor) -> dict[str, Tensor]:
        """See :class:`Evaluation`."""
        return self._compare(batch, estimate, ("mss", "jtfs"))

    def validate(self, batch: Batch, estimate: Tensor) -> dict[str, Tensor]:
        """All but the distance of scattering."""
        return self._compare(batch, estimate, ("mss",))

    @torch.no_grad()
    def _compare(
        self, batch: Batch, estimate: Tensor, distances: tuple[str, ...]
    ) -> dict[str, Tensor]:
        theta, sounds = batch.targets.theta, batch.targets.sounds
        if sounds is None:
            raise InputError("drums are compared with sounds; these targets have none")
        rendered = self.synth(estimate, batch.nuisance)
        pairs = zip(rendered.split(AT_ONCE), sounds.split(AT_ONCE), strict=True)
        parts = [self.metrics(*pair, distances) for pair in pairs]
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if theta is not None:
            found["theta"] = 1000 * (estimate - theta).abs().mean(dim=1)
        return found


MOST_NUMBERS = 2**31
"""Samples in all drums that the synthesizer makes: 8 GiB."""


@dataclass(frozen=True, kw_only=True)
class TR808Task(Task):
    """Every target begins after some silence, so that reconstructions may come early or late.

    Args:
        data: Folder of recordings (:func:`~.recordings.load_recordings`). Default:
            the synthesizer makes the targets.
        n_targets: Drums that the synthesizer makes; recordings are not counted.
        onset: Silence before each target, in samples.
        alignment: ``"micro"``: reconstructions begin with their targets. ``"meso"``: in training
            each begins up to ``onset`` samples earlier or later. They are always judged aligned.
        noise: Noise of reconstructions: ``"fixed"``, the same in all, or ``"random"``, new in each.
        trim: Recordings begin where they come this close to their peak, in dB. None: all of their
            samples are kept.
        refuse_bad_files: Stop at a recording that cannot be used, where others are left out with a
            warning.
    """

    name = "tr808"
    heading = "TR-808 sound matching"
    judged_by = DrumDistances
    importance_examples = 16

    data: str | None = None
    n_targets: int = 80
    onset: int
    alignment: Literal["micro", "meso"] = "micro"
    noise: Literal["fixed", "random"] = "random"
    trim: float | None = 60.0
    refuse_bad_files: bool = False

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        super().__post_init__()
        check_positive(self, "n_targets", most=MOST_TARGETS)
        if self.data is None and self.n_targets * self.n_samples > MOST_NUMBERS:
            raise ConfigurationError(
                f"{self.n_targets} drums of {self.n_samples} samples are more than the "
                f"{MOST_NUMBERS} samples that are kept in memory; make fewer or shorter ones"
            )
        for name, known in {
            "alignment": ("micro", "meso"),
            "noise": ("fixed", "random"),
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

    @staticmethod
    def options(
        count: int | None = None,
        /,
        *,
        data: Path | None = None,
        synthetic: bool = False,
    ) -> dict[str, Any]:
        """Which drums to match: recordings, or drums that the synthesizer makes.

        Args:
            count: Drums to make with --synthetic; by default as many as --n-targets says.
            data: Folder of recordings to match.
            synthetic: Match drums that the synthesizer makes.

        Raises:
            ConfigurationError: If both or neither are asked for, or recordings are counted.
        """
        if synthetic == (data is not None):
            raise ConfigurationError(
                "expected either recordings to match (--data DIR) or --synthetic [N], got "
                + ("both" if synthetic else "neither")
            )
        if data is not None and count is not None:
            raise ConfigurationError(
                f"got {count} beside --data: recordings are not counted; leave it out, or make "
                "drums with --synthetic"
            )
        chosen = {"data": None if data is None else str(data), "n_targets": count}
        return {name: value for name, value in chosen.items() if value is not None}

    @classmethod
    def presets(cls) -> dict[str, Preset]:
        """A few minutes on one CPU core, and the settings of the paper (table 11), for a GPU.

        The sines may reach 6 kHz, so the sample rate of ``quick`` cannot be lower; all losses share
        one learning rate and schedule. Of the paper's 681 recordings, 226 that it tested with are
        public. Its epochs are counted in steps, so that fewer recordings are seen more often.
        """
        return {
            "quick": Preset(
                task=cls(
                    sample_rate=12000.0,
                    n_samples=8192,
                    onset=512,
                    scattering=replace(QUICK_SCATTERING, F=4, sampling="reduced", eps=1e-3),
                ),
                objective=ObjectiveSettings(loss="kpaths"),
                encoder=replace(QUICK_ENCODER, cqt_octaves=7, cqt_hop=128),
                training=replace(
                    QUICK_TRAINING, learning_rate=2e-3, schedule="linear", threshold=None
                ),
            ),
            "paper": Preset(
                task=cls(
                    sample_rate=44100.0,
                    n_samples=44100,
                    n_targets=681,
                    onset=2048,
                    noise="fixed",
                    scattering=ScatteringSettings(
                        J=12, Q=(8, 2), J_fr=5, Q_fr=2, T=2048, F=1, eps=1e-3
                    ),
                ),
                objective=replace(PAPER_OBJECTIVE, loss="kpaths"),
                encoder=EncoderSettings(
                    cqt_octaves=9,
                    cqt_hop=256,
                    channels=(128,) * 5,
                    embedding=128,
                    dropout=0.25,
                    pools=((2, 2), (2, 2), (2, 3), (3, 3), (3, 3)),
                ),
                training=TrainingSettings(
                    steps=50 * 53,  # epochs of 425 training recordings in batches of 8
                    batch_size=8,
                    learning_rate=1e-4,
                    schedule="linear",
                    validate_every=53,
                    threshold=None,
                ),
            ),
        }

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

    def draw_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """Seeds of the noise and delays in samples, (count, 2)."""
        seeds = self.evaluation_nuisance(count, generator)[:, 0]
        reach = self.onset if self.alignment == "meso" else 0
        early_or_late = torch.randint(-reach, reach + 1, (count,), generator=generator)
        return torch.stack([seeds, self.onset + early_or_late], dim=1)

    def evaluation_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """Seeds of the noise, and the delay that aligns reconstructions with their targets."""
        seeds = torch.zeros(count, dtype=torch.long)
        if self.noise == "random":
            seeds = torch.randint(2**40, (count,), generator=generator)
        return torch.stack([seeds, torch.full_like(seeds, self.onset)], dim=1)

    def targets(self, seed: int) -> dict[str, Targets]:
        """Recordings or drums of the synthesizer after their silence; every type in each split."""
        drums = self._drums(seed)
        sounds = pad(drums.sounds, (self.onset, 0))
        names = None if self.data is None else drums.names
        everything = Targets(drums.theta, None, sounds, drums.types, names)
        return {split: everything.take(which) for split, which in drums.splits.items()}

    def build_evaluation(self, synth: TR808Synth) -> DrumDistances:  # type: ignore[override]
        """Distances between sounds."""
        return DrumDistances(self, synth)

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of every recording and of the labels; ``"unreadable"`` where a file is."""
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
            refuse_bad_files=self.refuse_bad_files,
            seed=seed,
        )


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:  # whoever loads it will name it, and leave it out or refuse it
        return "unreadable"


class TR808Tests(TaskTests):
    """Conformance tests of drums: ten that the synthesizer makes, with the quick preset."""

    task = TR808Task

    def make_task(self) -> TR808Task:
        """The quick preset, with ten drums."""
        return replace(cast(TR808Task, super().make_task()), n_targets=10)
