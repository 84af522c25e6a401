"""Sound matching: train an encoder to find the parameters with which a sound was made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from ..errors import InputError
from .chirplet import ChirpletSynth
from .cqt import LogCQT
from .data import Batch, Targets, TrainingBatches
from .encoder import Encoder
from .objectives import SUPERVISED, build_criterion, build_optimizer
from .presets import MatchConfig


class SoundMatching(LightningModule):
    """Encoder, frozen synthesizer and loss.

    The encoder looks at a target and estimates its parameters; the synthesizer renders the
    estimates, with another time shift; the loss compares the two sounds. Only ``ploss`` sees the
    true parameters in training. Validation and test measure the distance between parameters, which
    costs no loss evaluation.

    Args:
        config: Everything that defines the run. Weights are initialised with torch's global
            generator: seed it.

    Example:
        >>> from .presets import preset
        >>> model = SoundMatching(preset("quick", loss="ploss"))
        >>> theta, estimate = model.estimate("test")
        >>> theta.shape == estimate.shape == (320, 2)
        True
    """

    def __init__(self, config: MatchConfig) -> None:
        super().__init__()
        self.config = config
        self.synth = ChirpletSynth(
            config.ranges,
            n_samples=config.n_samples,
            sample_rate=config.sample_rate,
            f0=config.f0,
            detach_window=config.detach_window,
        )
        n_parameters = len(self.synth.parameter_names)
        self.picture = LogCQT(config.sample_rate, config.cqt_octaves, hop=config.cqt_hop)
        self.encoder = Encoder(
            n_parameters,
            channels=config.channels,
            embedding=config.embedding,
            dropout=config.dropout,
            initialization=config.initialization,
        )
        self.targets = Targets(config, n_parameters)
        self.criterion = build_criterion(config, self._energy_sounds())

    def forward(self, sounds: Tensor) -> Tensor:
        """Estimate the parameters of sounds (batch, n_samples), shape (batch, U)."""
        estimate: Tensor = self.encoder(self.picture(sounds))
        return estimate

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        with torch.no_grad():
            sounds = self.synth(batch.theta, batch.shift)
        theta = self(sounds)
        loss: Tensor
        if self.config.loss == SUPERVISED:
            loss = self.criterion(theta, batch.theta)
        else:
            loss = self.criterion(self.synth(theta, batch.reconstruction_shift), sounds)
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss is {loss.item()} at step {self.global_step}: training has diverged; "
                "lower the learning rate (--lr)"
            )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the distance to the true parameters, in per mille, overall and for each."""
        distance = (self(self.synth(batch.theta, batch.shift)) - batch.theta).abs().mean(dim=0)
        for name, value in theta_errors(distance, self.synth.parameter_names).items():
            self.log(f"validation/{name}", value, batch_size=len(batch.theta))

    def configure_optimizers(self) -> Any:
        """Optimizer and learning rate schedule of the run."""
        optimizer = build_optimizer(self.config, self.encoder.parameters(), self.criterion)
        if self.config.schedule == "constant":
            return optimizer
        steps = self.config.steps
        cosine = LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": cosine, "interval": "step"},
        }

    def train_dataloader(self) -> TrainingBatches:
        """Batches from wherever the run stands."""
        length = min(self.config.validate_every, self.config.steps)
        return TrainingBatches(self.targets, length, lambda: self.global_step)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation targets, batched already."""
        return DataLoader(list(self.targets.batches("validation")), batch_size=None)  # type: ignore[arg-type]

    @torch.no_grad()
    def estimate(self, split: str) -> tuple[Tensor, Tensor]:
        """True and estimated parameters of a whole split, both (n, U), without dropout."""
        training = self.training
        self.eval()
        batches = [
            Batch(*(field.to(self.device) for field in batch))
            for batch in self.targets.batches(split)
        ]
        estimates = [self(self.synth(batch.theta, batch.shift)) for batch in batches]
        self.train(training)
        return torch.cat([batch.theta for batch in batches]), torch.cat(estimates)

    def _energy_sounds(self) -> Iterator[Tensor]:
        left = self.config.energy_targets
        for batch in self.targets.batches("train", size=min(16, left)):
            if left <= 0:
                return
            yield self.synth(batch.theta, batch.shift)
            left -= len(batch.theta)


def theta_errors(distance: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    """Per mille L1 error of each parameter, and their mean under ``theta``.

    Args:
        distance: Mean absolute error of each parameter, in [0, 1].
        names: Names of the parameters.

    Example:
        >>> theta_errors(torch.tensor([0.25, 0.5]), ("AM", "FM"))
        {'theta': 375.0, 'AM': 250.0, 'FM': 500.0}
    """
    values = [1000 * float(value) for value in distance]
    return {"theta": sum(values) / len(values), **dict(zip(names, values, strict=True))}
