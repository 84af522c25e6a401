"""Settings of sound matching: small frozen groups of plain values, kept as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from multipath._internal.settings import between, positive, whole
from multipath.applications.runs.settings import MOST, Settings, check_positive
from multipath.errors import ConfigurationError

from .schedules import SCHEDULES

FASTEST = 1e6
"""Beyond any learning rate that trains; not far above, steps overflow in single precision."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings(Settings):
    """What is minimised.

    Args:
        loss: What is minimised; ``multipath list`` prints the losses.
        probabilities: File of path probabilities, as written by ``multipath importance``, from
            which the ``scrapl`` losses draw. Default: uniform draws.
        reweight: Weight draws from these probabilities so that they are unbiased; the published
            method does not.
        n_draws: Paths per step of ``kpaths``.
        energy_targets: Training targets on which ``kpaths`` measures how loud paths are.
        energy_floor: Share of the draws of ``kpaths`` that is spread evenly over all paths.
        compressed: Share of the compressed distance in the loss of ``kpaths``, beside the plain
            one. Without effect where the task compresses its coefficients anyway.
        fft_sizes: Window sizes of ``mss-linear`` and ``mss-log``; hops are a quarter of them.
        damping_matrix: What the damping of ``pnp`` holds: ``identity``, ``diagonal`` or ``mean``.
        damping_shrink: What it is multiplied by after an epoch that lowers the validation loss.
        damping_grow: What it is multiplied by after one that does not and is undone.
    """

    loss: str = "scrapl"
    probabilities: str | None = None
    reweight: bool = False
    n_draws: int = 8
    energy_targets: int = 16
    energy_floor: float = 0.1
    compressed: float = 0.3
    fft_sizes: tuple[int, ...] = (64, 128, 256, 512, 1024)
    damping_matrix: Literal["identity", "diagonal", "mean"] = "identity"
    damping_shrink: float = 0.2
    damping_grow: float = 2.0

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        between("damping_shrink", self.damping_shrink, 0, 1, "()")
        between("damping_grow", self.damping_grow, 1, FASTEST)
        check_positive(self, "n_draws", "energy_targets", "fft_sizes")
        between("energy_floor", self.energy_floor, 0, 1)
        between("compressed", self.compressed, 0, 1)


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(Settings):
    """The constant-Q transform of a sound and the network that looks at it.

    Args:
        cqt_octaves: Octaves of the constant-Q transform.
        cqt_hop: Hop of the constant-Q transform, in samples.
        channels: Output channels of each convolution block.
        embedding: Width of the dense layer.
        dropout: Probability that a unit is dropped in training.
        initialization: ``torch`` for the defaults of the layers, as published, or ``he``.
        pools: By how much each block shrinks bins and frames. Default: both are halved.
    """

    cqt_octaves: int
    cqt_hop: int
    channels: tuple[int, ...]
    embedding: int
    dropout: float
    initialization: str = "torch"
    pools: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        check_positive(self, "cqt_octaves", "cqt_hop", "channels", "embedding", most=2**20)
        between("dropout", self.dropout, 0, 1, "[)")
        if self.initialization not in ("torch", "he"):
            raise ConfigurationError(
                f'initialization must be "torch" or "he", got {self.initialization!r}'
            )
        for pool in self.pools or ():
            if len(pool) != 2 or not all(1 <= whole("pools", size) <= 2**20 for size in pool):
                raise ConfigurationError(f"pools must be pairs of at least 1, got {pool}")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How long and how fast.

    Args:
        steps: Optimizer steps.
        batch_size: Targets per step.
        learning_rate: Learning rate at the start.
        validate_every: Steps between two validations; checkpoints are saved as often.
        schedule: Course of the learning rate: ``constant``, ``linear`` or ``cosine``.
        weight_decay: Decoupled weight decay.
        test_sounds: Test sounds whose scattering distance to their reconstructions is measured when
            all is trained, besides what every run is judged by. 0: none.
        threshold: A run has converged at the first validation whose error is below this, in the
            unit of the errors (per mille). None: it never has.
        start: Folder of a finished run of the same task and encoder, or its ``encoder.pt``, whose
            weights training starts from. Default: random ones.
    """

    steps: int
    batch_size: int
    learning_rate: float
    validate_every: int
    schedule: str = "constant"
    weight_decay: float = 0.01
    test_sounds: int = 0
    threshold: float | None = 100.0
    start: str | None = None

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        check_positive(self, "steps", "batch_size", "validate_every")
        if not 0 <= whole("test_sounds", self.test_sounds) <= MOST:
            raise ConfigurationError(
                f"test_sounds must lie between 0 and {MOST}, got {self.test_sounds}"
            )
        if self.schedule not in SCHEDULES:
            raise ConfigurationError(
                f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}"
            )
        if not (0 < self.learning_rate <= FASTEST and 0 <= self.weight_decay <= FASTEST):
            raise ConfigurationError(
                "learning_rate must be positive and weight_decay not negative, both at most "
                f"{FASTEST:g}, got {self.learning_rate} and {self.weight_decay}"
            )
        if self.threshold is not None:
            positive("threshold", self.threshold)
