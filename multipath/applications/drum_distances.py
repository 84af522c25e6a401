"""How far reconstructed drums are from their targets: what a TR-808 run is judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from multipath.errors import InputError

from .audio_metrics import DrumMetrics
from .data import Batch
from .evaluation import Evaluation
from .tr808 import TR808Synth

if TYPE_CHECKING:
    from .tr808_matching import TR808Matching

FRAME, HOP = 2048 / 44100, 512 / 44100
"""Seconds: length and distance of the frames whose timbre is compared."""

TRANSIENT, DECAY = 2, 64
"""Frames in the transient and, where the sound is long enough, in the decay."""

AT_ONCE = 16
"""Sounds compared together, for the sake of memory."""


class DrumDistances(Evaluation):
    """Distances between drums and their reconstructions (:class:`~.audio_metrics.DrumMetrics`).

    The distance between parameters, in per mille (``theta``), is beside them if the parameters
    are known. Scattering is compared in the test alone: it takes most of the time.

    Args:
        task: Says how long the sounds are, and which scattering compares them.
        synth: Renders the reconstructions.
    """

    key = "distances"
    headline = "mss"
    unit = ""

    def __init__(self, task: TR808Matching, synth: TR808Synth) -> None:
        super().__init__()
        rate, onset = task.sample_rate, task.onset
        frame, hop = round(FRAME * rate), round(HOP * rate)
        fitting = (task.n_samples - onset - frame) // hop + 1 - TRANSIENT
        self.synth = synth
        self.metrics = DrumMetrics(
            task.n_samples,
            rate,
            scattering=task.scattering.build(task.n_samples, rate),
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
        rendered = self.synth(estimate, batch.chance)
        pairs = zip(rendered.split(AT_ONCE), sounds.split(AT_ONCE), strict=True)
        parts = [self.metrics(*pair, distances) for pair in pairs]
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if theta is not None:
            found["theta"] = 1000 * (estimate - theta).abs().mean(dim=1)
        return found
