"""What is trained: sound matching with three synthesizers, small enough for a minute on one core.

An encoder looks at a sound and estimates the two parameters it was made with; a frozen synthesizer
renders the estimate, with a time shift or grains of its own; a loss compares the two sounds. Only
the error of the parameters on sounds that neither training nor tuning saw is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True)
class Problem:
    """One synthesizer and everything around it.

    Attributes:
        name: Short name.
        synth: Maps parameters (batch, 2) and one integer for each sound to sounds.
        parameters: Names of the two.
        nuisance: Draws that integer: a time shift, or a seed of grains.
        config: Settings of the encoder and of the scattering transform.
    """

    name: str
    synth: nn.Module
    parameters: tuple[str, str]
    nuisance: Callable[[int, torch.Generator], Tensor]
    config: MatchConfig

    def transform(self, sampling: Literal["exact", "reduced"]) -> JTFS:
        """The scattering transform whose paths are sampled."""
        task = self.config.task
        return task.scattering.build(task.n_samples, task.sample_rate, sampling=sampling)

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


def chirplet(synth: str) -> Problem:
    """A chirplet synthesizer, with random time shifts."""
    return _problem(f"chirplet {synth}", preset("quick", synth=synth))


def granular() -> Problem:
    """The granular synthesizer, with random onsets."""
    return _problem("granular", preset("quick", "granular"))


def _problem(name: str, config: MatchConfig) -> Problem:
    synth = config.task.build_synth()
    return Problem(name, synth, synth.parameter_names, config.task.draw_nuisance, config)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "fast-moderate": lambda: chirplet("fast-moderate"),
    "slow-slow": lambda: chirplet("slow-slow"),
    "granular": granular,
}
