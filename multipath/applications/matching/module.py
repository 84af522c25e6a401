"""Sound matching: train an encoder to find the parameters with which a sound was made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from multipath.errors import InputError
from multipath.metric import PNPLoss

from .callbacks import Damping
from .config import MatchConfig
from .cqt import LogCQT
from .encoder import Encoder
from .metric import target_metrics
from .objectives import LossContext, find_objective, scattering_loss
from .schedules import SCHEDULES
from .tasks.data import Batch, Batches, Targets, TrainingBatches, seeded


class SoundMatching(LightningModule):
    """Encoder, frozen synthesizer and loss.

    The encoder looks at a target and estimates its parameters; the synthesizer renders the
    estimates, with another time shift or other grains; the loss compares the two sounds. Only
    ``ploss`` sees the true parameters in training. Validation and test ask the evaluation of the
    task, by default the distance between parameters, which costs no loss evaluation.

    Args:
        config: Everything that defines the run. Weights are initialised with torch's global
            generator: seed it.
        probabilities: Path probabilities, shape (P,), for a run with ``objective.probabilities``.

    Example:
        >>> from multipath.applications.matching.presets import preset
        >>> model = SoundMatching(preset("quick", loss="ploss"))
        >>> model.estimate("test").shape
        torch.Size([320, 2])
    """

    def __init__(self, config: MatchConfig, probabilities: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        task, settings = config.task, config.encoder
        self.synth = task.build_synth()
        self.features = LogCQT(task.sample_rate, settings.cqt_octaves, hop=settings.cqt_hop)
        self.encoder = Encoder(
            len(self.synth.parameter_names),
            channels=settings.channels,
            embedding=settings.embedding,
            dropout=settings.dropout,
            initialization=settings.initialization,
            pools=settings.pools,
        )
        self.batches = Batches(
            task.targets(config.seed),
            task.draw_nuisance,
            task.evaluation_nuisance,
            seed=config.seed,
            size=config.training.batch_size,
        )
        self.evaluation = task.build_evaluation(self.synth)
        self.objective = find_objective(config.objective.loss)
        self._probabilities = probabilities
        self._metrics: dict[str, Tensor] = {}
        if not self.objective.metric:
            self.criterion = self._criterion()

    def _criterion(self) -> nn.Module:
        config = self.config
        context = LossContext(
            config.task,
            config.objective,
            self._training_sounds,
            config.seed,
            self._probabilities,
            lambda: self._metrics["train"],
        )
        return self.objective.build(context)

    def measure(self, journal: Path | None = None, *, progress: bool = False) -> None:
        """For a loss that needs them: the metrics of training and validation targets, once.

        Args:
            journal: File that keeps what is done, so that interrupted work goes on.
            progress: Show a progress bar.
        """
        if not self.objective.metric or self._metrics:
            return
        targets = {split: self.batches.splits[split] for split in ("train", "validation")}
        self._metrics = target_metrics(
            self.config.task,
            self.synth,
            targets,
            self.config.seed,
            journal=journal,
            progress=progress,
        )
        self.criterion = self._criterion()
        self.validation_criterion = PNPLoss(self._metrics["validation"], reduction="none")

    def forward(self, sounds: Tensor) -> Tensor:
        """Estimate the parameters of sounds (batch, n_samples), shape (batch, U)."""
        estimate: Tensor = self.encoder(self.features(sounds))
        return estimate

    @torch.no_grad()
    def sounds(self, targets: Targets) -> Tensor:
        """The sounds of targets, rendered if they are not recordings: (batch, n_samples)."""
        if targets.sounds is not None:
            return targets.sounds
        if targets.theta is None or targets.nuisance is None:
            raise InputError(
                "targets need sounds, or theta and nuisance to render them from; these have neither"
            )
        return self.synth(targets.theta, targets.nuisance)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        self.measure()
        sounds = self.sounds(batch.targets)
        theta = self(sounds)
        loss: Tensor
        if isinstance(self.criterion, PNPLoss) and batch.rows is not None:
            loss = self.criterion.take(batch.rows)(theta, batch.targets.theta)
        elif self.objective.supervised:
            loss = self.criterion(theta, batch.targets.theta)
        else:
            loss = self.criterion(self.synth(theta, batch.nuisance), sounds)
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss is {loss.item()} at step {self.global_step}: training has diverged; "
                "lower the learning rate (--lr)"
            )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log what the evaluation says."""
        estimate = self(self.sounds(batch.targets))
        numbers = self.evaluation.validate(batch, estimate)
        if isinstance(self.criterion, PNPLoss) and batch.rows is not None:
            # without damping, which changes from one validation to the next
            exact = self.validation_criterion.take(batch.rows)
            numbers = {**numbers, "pnp": exact(estimate, batch.targets.theta)}
            numbers["damping"] = torch.full_like(numbers["pnp"], self.criterion.level)
        for name, values in numbers.items():
            self.log(f"validation/{name}", values.mean(), batch_size=batch.targets.size)

    def configure_callbacks(self) -> list[Callback]:
        """What moves the damping of a loss that has any; its metrics are measured first."""
        if not self.objective.metric:
            return []
        self.measure()
        return [Damping(self.criterion.damping)]  # type: ignore[arg-type]

    def configure_optimizers(self) -> Any:
        """Optimizer and learning rate schedule of the run."""
        training = self.config.training
        optimizer = self.objective.optimizer(
            self.encoder.parameters(),
            self.criterion,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
        )
        schedule, steps = SCHEDULES[training.schedule], training.steps
        scheduler = LambdaLR(optimizer, lambda step: schedule(step / steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def train_dataloader(self) -> TrainingBatches:
        """Batches from wherever the run stands."""
        training = self.config.training
        length = min(training.validate_every, training.steps)
        return TrainingBatches(self.batches, length, lambda: self.global_step)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation targets, batched already."""
        return DataLoader(list(self.batches.all_of("validation")), batch_size=None)  # type: ignore[arg-type]

    @torch.no_grad()
    def estimate(self, split: str) -> Tensor:
        """Estimated parameters of a whole split, (n, U), without dropout."""
        training = self.training
        self.eval()
        estimates = [self(self.sounds(batch.targets)) for batch in self._all_of(split)]
        self.train(training)
        return torch.cat(estimates)

    @torch.no_grad()
    def evaluate(self, split: str, estimate: Tensor) -> dict[str, Tensor]:
        """What the evaluation says about the estimates of a split: numbers of each sound."""
        batches = list(self._all_of(split))
        parts = estimate.split([batch.targets.size for batch in batches])
        found = [self.evaluation(*pair) for pair in zip(batches, parts, strict=True)]
        return {name: torch.cat([numbers[name] for numbers in found]).cpu() for name in found[0]}

    @torch.no_grad()
    def scattering_distance(self, estimate: Tensor, count: int) -> float:
        """Mean distance of test sounds from what is rendered from estimates, relative to them.

        Both have the nuisance of the target, so that only parameters make a difference.

        Args:
            estimate: Parameters of the test set, (n, U).
            count: How many of the sounds are compared, from the first on.
        """
        loss = scattering_loss(self.config.task)
        found = []
        for first in range(0, min(count, len(estimate)), 8):
            part = slice(first, min(first + 8, count))
            targets = self.batches.splits["test"].take(part)
            sounds = self.sounds(targets)
            nuisance = targets.nuisance
            if nuisance is None:
                nuisance = self.batches.evaluation_nuisance(
                    targets.size, seeded(self.config.seed, "test", first)
                )
            made = self.synth(estimate[part], nuisance)
            distances = loss(made, sounds, "none") / loss(torch.zeros_like(sounds), sounds, "none")
            found.append(distances.sqrt())
        return float(torch.cat(found).double().mean())

    def _all_of(self, split: str) -> Iterator[Batch]:
        for batch in self.batches.all_of(split):
            yield self.transfer_batch_to_device(batch, self.device, 0)

    def _training_sounds(self) -> Iterator[Tensor]:
        left = self.config.objective.energy_targets
        for batch in self.batches.all_of("train", size=min(16, left)):
            if left <= 0:
                return
            yield self.sounds(batch.targets)
            left -= batch.targets.size
