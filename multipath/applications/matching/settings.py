"""Settings of sound matching: small frozen groups of plain values, kept as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from multipath.applications.runs.settings import Settings, check_positive
from multipath.errors import ConfigurationError

from .objectives import find_objective
from .schedules import SCHEDULES


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings(Settings):
    """What is minimised.

    Args:
        loss: A name in :data:`~multipath.applications.matching.objectives.LOSSES`.
        probabilities: File of path probabilities, as written by ``multipath importance``, from
            which the ``scrapl`` losses draw. Default: uniform.
        reweight: Weight such draws so that they are unbiased; the published method does not.
        n_draws: Paths a step of ``kpaths``.
        energy_targets: Training targets on which ``kpaths`` measures how loud paths are.
        energy_floor: Share of its draws spread evenly over all paths.
        fft_sizes: The scales of ``mss-linear`` and ``mss-log``; hops are a quarter of them.
    """

    loss: str = "scrapl"
    probabilities: str | None = None
    reweight: bool = False
    n_draws: int = 8
    energy_targets: int = 16
    energy_floor: float = 0.1
    fft_sizes: tuple[int, ...] = (64, 128, 256, 512, 1024)

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        objective = find_objective(self.loss)
        if self.probabilities is not None and not objective.takes_probabilities:
            raise ConfigurationError(
                f"the loss {self.loss!r} does not draw from probabilities of a file; use one of "
                "the scrapl losses, or leave out --probabilities"
            )
        if self.reweight and self.probabilities is None:
            raise ConfigurationError(
                "reweight changes nothing without probabilities; name a file with --probabilities"
            )
        check_positive(self, "n_draws", "energy_targets")


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(Settings):
    """The picture of a sound and the network that looks at it.

    Args:
        cqt_octaves: Range of the picture.
        cqt_hop: Its hop, in samples.
        channels: Convolution channels of :class:`~multipath.applications.matching.encoder.Encoder`.
        embedding: Width of its dense layer.
        dropout: In training.
        initialization: Of its weights.
        pools: By how much each block shrinks the picture. None: both sides are halved.
    """

    cqt_octaves: int
    cqt_hop: int
    channels: tuple[int, ...]
    embedding: int
    dropout: float
    initialization: str = "torch"
    pools: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How long and how fast.

    Args:
        steps: Optimizer steps.
        batch_size: Targets in a step.
        learning_rate: At the start.
        schedule: A name in :data:`~multipath.applications.matching.schedules.SCHEDULES`.
        weight_decay: Decoupled.
        validate_every: Steps between two validations; checkpoints are saved as often.
        threshold: A run has converged at the first validation below it, in the unit of the
            errors (per mille). None: not asked.
    """

    steps: int
    batch_size: int
    learning_rate: float
    validate_every: int
    schedule: str = "constant"
    weight_decay: float = 0.01
    threshold: float | None = 100.0

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        check_positive(self, "steps", "batch_size", "validate_every")
        if self.schedule not in SCHEDULES:
            raise ConfigurationError(
                f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}"
            )
        if not (0 < self.learning_rate < float("inf") and 0 <= self.weight_decay < float("inf")):
            raise ConfigurationError(
                "learning_rate must be positive and weight_decay not negative, got "
                f"{self.learning_rate} and {self.weight_decay}"
            )
