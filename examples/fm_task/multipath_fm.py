"""FM sound matching: find how strongly the operators of a synthesizer modulate one another."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from multipath.applications.matching.presets import QUICK_ENCODER
from multipath.applications.matching.settings import ObjectiveSettings, TrainingSettings
from multipath.applications.matching.tasks.base import Preset, RenderedTask, ScatteringSettings
from multipath.applications.matching.testing import TaskTests

STEPS = 1000  # into which a cycle is divided, because nuisance is integers


class FMSynth(nn.Module):
    """Four sine operators in a row: each modulates the phase of the next, the last is heard."""

    parameter_names = ("top", "middle", "bottom")  # the modulators
    parameter_units = ("radians",) * 3

    def __init__(self, n_samples, sample_rate, frequencies, deepest):
        super().__init__()
        cycles = torch.tensor(frequencies)[:, None] * torch.arange(n_samples) / sample_rate
        self.register_buffer("cycles", cycles, persistent=False)
        self.register_buffer("window", torch.hann_window(n_samples), persistent=False)
        self.deepest = deepest

    def physical(self, theta):
        return self.deepest * theta

    def forward(self, theta, phases):
        angles = 2 * torch.pi * (self.cycles + phases[:, :, None] / STEPS)
        sound = torch.zeros_like(angles[:, 0])
        for operator, depth in enumerate(self.physical(theta).unbind(dim=1)):
            sound = depth[:, None] * torch.sin(angles[:, operator] + sound)
        return self.window * torch.sin(angles[:, -1] + sound)


@dataclass(frozen=True, kw_only=True)
class FMTask(RenderedTask):
    """Targets and reconstructions start at phases of their own.

    Args:
        f0: Frequency of the operator that is heard, in Hz.
        ratios: Frequencies of the others relative to it, top first.
        deepest: Largest depth of a modulation, in radians.
    """

    name = "fm"
    heading = "FM sound matching"

    f0: float = 440.0
    ratios: tuple[float, float, float] = (3.0, 0.01, 2.0)
    deepest: float = 2.0

    @classmethod
    def presets(cls):
        scattering = ScatteringSettings(J=9, Q=(8, 2), J_fr=3, Q_fr=2, T=512, F=8)
        return {
            "quick": Preset(
                task=cls(sample_rate=8192.0, n_samples=4096, n_targets=800, scattering=scattering),
                objective=ObjectiveSettings(loss="kpaths"),
                encoder=replace(QUICK_ENCODER, cqt_octaves=4, cqt_hop=64),
                training=TrainingSettings(
                    steps=600, batch_size=4, learning_rate=1e-3, validate_every=100
                ),
            )
        }

    def build_synth(self):
        frequencies = [self.f0 * ratio for ratio in (*self.ratios, 1.0)]
        return FMSynth(self.n_samples, self.sample_rate, frequencies, self.deepest)

    def draw_nuisance(self, count, generator):
        return torch.randint(STEPS, (count, 4), generator=generator)


class FMTests(TaskTests):
    task = FMTask
