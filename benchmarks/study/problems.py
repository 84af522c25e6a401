"""What is trained: sound matching with three synthesizers, small enough for a minute on one core.

An encoder looks at a sound and estimates the two parameters it was made with; a frozen synthesizer
renders the estimate, with a time shift or grains of its own; a loss compares the two sounds. Only
the error of the parameters on sounds that neither training nor tuning saw is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from multipath.applications.chirplet import ChirpletSynth
from multipath.applications.cqt import LogCQT
from multipath.applications.data import seeded
from multipath.applications.encoder import Encoder
from multipath.applications.granular import GranularSynth
from multipath.applications.presets import MatchConfig, preset
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
        chance: Draws that integer: a time shift, or a seed of grains.
        config: Settings of the encoder and of the scattering transform.
    """

    name: str
    synth: nn.Module
    parameters: tuple[str, str]
    chance: Callable[[int, torch.Generator], Tensor]
    config: MatchConfig

    def transform(self, sampling: Literal["exact", "reduced"]) -> JTFS:
        """The scattering transform whose paths are sampled."""
        config = self.config
        return JTFS(
            config.n_samples,
            sample_rate=config.sample_rate,
            sampling=sampling,
            **asdict(config.jtfs),
        )

    def encoder(self, seed: int) -> nn.Module:
        """A fresh encoder with its picture in front."""
        config = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeded(seed, "weights").initial_seed())
            encoder = Encoder(
                len(self.parameters),
                channels=config.channels,
                embedding=config.embedding,
                dropout=0.0,
                initialization=config.initialization,
            )
        picture = LogCQT(config.sample_rate, config.cqt_octaves, hop=config.cqt_hop)
        return nn.Sequential(picture, encoder)

    def split(self, seed: int, name: str) -> tuple[Tensor, Tensor]:
        """Parameters and chances of all sounds of a split; other seeds have other sounds."""
        generator = seeded(seed, "split", name)
        theta = torch.rand(SPLITS[name], len(self.parameters), generator=generator)
        return theta, self.chance(SPLITS[name], generator)

    @torch.no_grad()
    def error(self, encoder: nn.Module, seed: int, name: str) -> list[float]:
        """Mean absolute error of each parameter on a split, per mille."""
        theta, chance = self.split(seed, name)
        parts = zip(theta.split(64), chance.split(64), strict=True)
        estimate = torch.cat([encoder(self.synth(*part)) for part in parts])
        return (1000 * (estimate - theta).abs().mean(dim=0)).tolist()


def chirplet(synth: str) -> Problem:
    """A chirplet synthesizer, with random time shifts."""
    config = preset("quick", synth)
    renderer = ChirpletSynth(
        config.ranges, n_samples=config.n_samples, sample_rate=config.sample_rate, f0=config.f0
    )

    def shifts(count: int, generator: torch.Generator) -> Tensor:
        limit = config.max_shift
        return torch.randint(-limit, limit + 1, (count,), generator=generator)

    return Problem(f"chirplet {synth}", renderer, ("AM", "FM"), shifts, config)


def granular() -> Problem:
    """The granular synthesizer, with random onsets."""
    config = preset("quick")
    renderer = GranularSynth(
        n_samples=config.n_samples,
        sample_rate=config.sample_rate,
        n_grains=16,
        grain_samples=512,
        f_min=64.0,
        f_max=512.0,
        steepest=0.75,
        softness=1.0,
        pitches="spread",
    )

    def seeds(count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(2**40, (count,), generator=generator)

    return Problem("granular", renderer, ("density", "slope"), seeds, config)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "fast-moderate": lambda: chirplet("fast-moderate"),
    "slow-slow": lambda: chirplet("slow-slow"),
    "granular": granular,
}
