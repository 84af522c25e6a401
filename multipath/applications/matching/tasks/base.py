"""What a sound matching run matches: a synthesizer, its targets, and how an encoder is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from multipath import PathTable
from multipath._internal.settings import between, choice, positive
from multipath.applications.matching.settings import (
    EncoderSettings,
    ObjectiveSettings,
    TrainingSettings,
)
from multipath.applications.runs.settings import Settings, check_positive
from multipath.transforms import JTFS

from .data import Targets, seeded, split_targets
from .evaluation import Evaluation, ThetaError

MOST_SAMPLES = 2**26
"""Of one sound: 25 minutes at 44.1 kHz."""
MOST_TARGETS = 10**6
FOLLOWING = ("eps", "distance")
"""Settings of what follows the transform."""


@dataclass(frozen=True, kw_only=True)
class ScatteringSettings(Settings):
    """A joint time-frequency scattering transform and what follows it.

    Args:
        J: Octaves of the filter banks over time.
        Q: Wavelets per octave of the first and of the second one.
        J_fr: Octaves of the filter bank over log-frequency.
        Q_fr: Wavelets per octave of it.
        T: Averaging over time, in samples.
        F: Averaging over log-frequency, in first-order wavelets.
        sampling: ``"exact"``, or ``"reduced"`` for lower rates that are faster.
        eps: Coefficients S are compressed to log(1 + S / eps); None leaves them as they are.
        distance: Between them: ``"squared_l2"``, ``"l2"`` or ``"l1"``.
    """

    J: int
    Q: tuple[int, int]
    J_fr: int
    Q_fr: int
    T: int
    F: int
    sampling: Literal["exact", "reduced"] = "exact"
    eps: float | None = None
    distance: Literal["squared_l2", "l2", "l1"] = "squared_l2"

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        check_positive(self, "J", "Q", "J_fr", "Q_fr", "T", "F")
        if self.eps is not None:
            between("eps", self.eps, 1e-30, 1e30)
        choice("distance", self.distance, "squared_l2", "l2", "l1")

    def build(self, n_samples: int, sample_rate: float, **changes: Any) -> JTFS:
        """The transform, for signals of a length in samples and a rate in Hz."""
        settings = {name: value for name, value in self.to_dict().items() if name not in FOLLOWING}
        return JTFS(n_samples=n_samples, sample_rate=sample_rate, **{**settings, **changes})


class Synthesizer(Protocol):
    """What a synthesizer has to offer; a ``torch.nn.Module``, differentiable in theta."""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of all U parameters."""

    @property
    def parameter_units(self) -> tuple[str, ...]:
        """Units of what :meth:`physical` returns."""

    def __call__(self, theta: Tensor, nuisance: Tensor, /) -> Tensor:
        """Render parameters (batch, U) in [0, 1] with their nuisance: (batch, n_samples)."""

    def physical(self, theta: Tensor) -> Tensor:
        """Parameters in their units."""


@dataclass(frozen=True, kw_only=True)
class Task(Settings, ABC):
    """The settings of one kind of sound, and what can be built from them. Abstract.

    A subclass says what only it knows: its synthesizer, its targets, what nuisance decides about a
    sound besides its parameters, how estimates are judged, and which presets it comes with. A
    package announces it in the entry point group ``multipath.tasks``, under the name that it has.

    Args:
        sample_rate: Sample rate of the sounds, in Hz.
        n_samples: Length of the sounds, in samples.
        scattering: The transform of the scattering losses.

    Attributes:
        name: What follows ``multipath match``.
        heading: Title of its reports.
        judged_by: The class of what :meth:`build_evaluation` returns.
        importance_examples: Training targets that theta-importance is measured on, except with the
            preset ``quick``.
    """

    name: ClassVar[str]
    heading: ClassVar[str]
    judged_by: ClassVar[type[Evaluation]]
    importance_examples: ClassVar[int] = 32

    sample_rate: float
    n_samples: int
    scattering: ScatteringSettings

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        check_positive(self, "n_samples", most=MOST_SAMPLES)
        positive("sample_rate", self.sample_rate, "Hz")

    @classmethod
    @abstractmethod
    def presets(cls) -> Mapping[str, Preset]:
        """Settings to start from, by name; the first is the default of the command line."""

    @staticmethod
    def options() -> dict[str, Any]:
        """Turn further options of the command line into settings.

        The keyword arguments that a subclass gives this become options, with the help that its
        docstring has; what it returns are settings by name.
        """
        return {}

    @classmethod
    def choices(cls) -> Mapping[str, str]:
        """What there is to choose from besides presets, by name, for ``multipath list``."""
        return {}

    @property
    def variant(self) -> str:
        """Which of several synthesizers it is, if there are several."""
        return ""

    @property
    def title(self) -> str:
        """Name and variant."""
        return f"{self.name} {self.variant}".strip()

    @property
    def knows_theta(self) -> bool:
        """Whether the true parameters of the targets are known."""
        return True

    @abstractmethod
    def build_synth(self) -> Synthesizer:
        """The frozen synthesizer."""

    @abstractmethod
    def draw_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """What parameters leave open, for a number of sounds: integers, one row a sound."""

    def evaluation_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """The nuisance of reconstructions that are judged; by default drawn as in training."""
        return self.draw_nuisance(count, generator)

    @abstractmethod
    def targets(self, seed: int) -> dict[str, Targets]:
        """All targets of a run: ``train``, ``validation`` and ``test``."""

    @abstractmethod
    def build_evaluation(self, synth: Synthesizer) -> Evaluation:
        """What judges the encoder."""

    def fingerprint(self) -> dict[str, str]:
        """A digest of each file that the targets come from, by name."""
        return {}

    def inside(self, paths: PathTable, spacings: float = 0.0) -> Tensor | None:
        """Which paths lie where the synthesizer's parameters are, if that can be told.

        Args:
            paths: Those of the scattering transform.
            spacings: By how many distances between neighbouring wavelets the range is widened.

        Returns:
            One truth value for each path, or None.
        """
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON, and the name."""
        return {"name": self.name, **super().to_dict()}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings that a run starts from.

    Args:
        task: What is matched.
        objective: The loss.
        encoder: What estimates the parameters.
        training: How long and how fast.
    """

    task: Task
    encoder: EncoderSettings
    training: TrainingSettings
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)


@dataclass(frozen=True, kw_only=True)
class RenderedTask(Task):
    """A task whose targets are rendered from uniform parameters, so that errors are known.

    Args:
        n_targets: Number of targets; 60 % train, 20 % validate, 20 % test.
    """

    judged_by = ThetaError

    n_targets: int

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        super().__post_init__()
        check_positive(self, "n_targets", most=MOST_TARGETS)

    def targets(self, seed: int) -> dict[str, Targets]:
        """Uniform in the unit cube, each with its nuisance; sounds are rendered when needed."""
        generator = seeded(seed, "targets")
        n_parameters = len(self.build_synth().parameter_names)
        theta = torch.rand(self.n_targets, n_parameters, generator=generator)
        return split_targets(Targets(theta, self.draw_nuisance(self.n_targets, generator)))

    def build_evaluation(self, synth: Synthesizer) -> Evaluation:
        """Distance between parameters, which costs no evaluation of a loss."""
        return ThetaError(synth.parameter_names)
