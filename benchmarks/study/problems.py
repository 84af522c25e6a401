"""What is trained: sound matching with three synthesizers, small enough for a minute on one core.

An encoder looks at a sound and estimates the two parameters it was made with; a frozen synthesizer
renders the estimate, with a time shift or grains of its own; a loss compares the two sounds. Only
the error of the parameters on sounds that neither training nor tuning saw is reported.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.cqt import LogCQT
from multipath.applications.matching.encoder import Encoder
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks.data import seeded
from multipath.transforms import JTFS

BATCH = 4
SPLITS = {"train": 1024, "validation": 256, "test": 512}


class Problem:
    """One synthesizer and everything around it.

    Attributes:
        config: Settings of the encoder, of the synthesizer and of the scattering transform.
        synth: Maps parameters (batch, 2) and one integer for each sound to sounds.
        parameters: Names of the two.
        nuisance: Draws that integer: a time shift, or a seed of grains.
    """

    def __init__(self, config: MatchConfig) -> None:
        self.config = config
        self.synth = config.task.build_synth()
        self.parameters = self.synth.parameter_names
        self.nuisance = config.task.draw_nuisance

    def transform(self) -> JTFS:
        """The scattering transform whose paths are sampled, at reduced rates."""
        task = self.config.task
        return task.scattering.build(task.n_samples, task.sample_rate, sampling="reduced")

    def encoder(self, seed: int) -> nn.Module:
        """A fresh encoder behind the features that it looks at."""
        settings = self.config.encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeded(seed, "weights").initial_seed())
            encoder = Encoder(
                len(self.parameters),
                channels=settings.channels,
                embedding=settings.embedding,
                dropout=0.0,
                initialization=settings.initialization,
            )
        rate = self.config.task.sample_rate
        features = LogCQT(rate, settings.cqt_octaves, hop=settings.cqt_hop)
        return nn.Sequential(features, encoder)

    def split(self, seed: int, name: str) -> tuple[Tensor, Tensor]:
        """Parameters and nuisances of all sounds of a split; other seeds have other sounds."""
        generator = seeded(seed, "split", name)
        theta = torch.rand(SPLITS[name], len(self.parameters), generator=generator)
        return theta, self.nuisance(SPLITS[name], generator)

    @torch.no_grad()
    def error(self, encoder: nn.Module, seed: int, name: str) -> list[float]:
        """Mean absolute error of each parameter on a split, per mille."""
        theta, nuisance = self.split(seed, name)
        parts = zip(theta.split(64), nuisance.split(64), strict=True)
        estimate = torch.cat([encoder(self.synth(*part)) for part in parts])
        return (1000 * (estimate - theta).abs().mean(dim=0)).tolist()


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "fast-moderate": lambda: Problem(preset("quick", synth="fast-moderate")),  # chirplets
    "slow-slow": lambda: Problem(preset("quick", synth="slow-slow")),
    "granular": lambda: Problem(preset("quick", "granular")),
}
