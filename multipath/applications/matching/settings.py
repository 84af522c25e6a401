"""Settings of sound matching: small frozen groups of plain values, kept as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self, get_type_hints

from multipath.errors import ConfigurationError, InputError

from .objectives import find_objective
from .schedules import SCHEDULES

if TYPE_CHECKING:
    from multipath.transforms import JTFS


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A frozen dataclass of plain values, tuples of them, and other settings.

    Example:
        >>> saved = EncoderSettings(
        ...     cqt_octaves=2, cqt_hop=32, channels=(8, 8), embedding=16, dropout=0.0
        ... ).to_dict()
        >>> EncoderSettings.from_dict(saved).channels
        (8, 8)
    """

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.to_dict() if isinstance(value, Settings) else value
            for name, value in values.items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; lists become tuples again.

        Raises:
            InputError: If a setting is missing or unknown.
        """
        kinds = get_type_hints(cls)
        names = {field.name for field in fields(cls)}
        if names != set(values):
            raise InputError(
                f"these are not {cls.__name__} of this version: missing "
                f"{sorted(names - set(values))}, unknown {sorted(set(values) - names)}"
            )
        return cls(**{name: _restore(kinds[name], value) for name, value in values.items()})


@dataclass(frozen=True, kw_only=True)
class ScatteringSettings(Settings):
    """A joint time-frequency scattering transform and what follows it.

    Args:
        J: Argument of :class:`~multipath.transforms.JTFS`, as all up to ``sampling``.
        Q: Likewise.
        J_fr: Likewise.
        Q_fr: Likewise.
        T: Likewise.
        F: Likewise.
        sampling: Likewise.
        eps: Coefficients S are compressed to log(1 + S / eps); None leaves them as they are.
    """

    J: int
    Q: tuple[int, int]
    J_fr: int
    Q_fr: int
    T: int
    F: int
    sampling: Literal["exact", "reduced"] = "exact"
    eps: float | None = None

    def build(self, n_samples: int, sample_rate: float, **changes: Any) -> JTFS:
        """The transform, for signals of a length in samples and a rate in Hz."""
        from multipath.transforms import JTFS

        settings = {name: value for name, value in self.to_dict().items() if name != "eps"}
        return JTFS(n_samples=n_samples, sample_rate=sample_rate, **{**settings, **changes})


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


def check_positive(settings: Settings, *names: str) -> None:
    """Refuse counts below 1.

    Raises:
        ConfigurationError: If there is one.
    """
    for name in names:
        if getattr(settings, name) < 1:
            raise ConfigurationError(f"{name} must be at least 1, got {getattr(settings, name)}")


def check_seed(seed: int) -> None:
    """Refuse a seed that torch could not take.

    Raises:
        ConfigurationError: If it is negative or has more than 63 bits.
    """
    if not 0 <= seed < 2**63:
        raise ConfigurationError(f"seed must lie in [0, 2**63), got {seed}")


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Say which of two nested settings differ, and how.

    Example:
        >>> list(differences({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}))
        ['a.y was 2, is 3']
    """
    for name in {**before, **after}:
        was, now = before.get(name, "not set"), after.get(name, "not set")
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from differences(was, now, f"{prefix}{name}.")
        elif was != now:
            yield f"{prefix}{name} was {was}, is {now}"


def _restore(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Settings) and isinstance(value, Mapping):
        return kind.from_dict(value)
    return tuple(_restore(None, each) for each in value) if isinstance(value, list) else value
