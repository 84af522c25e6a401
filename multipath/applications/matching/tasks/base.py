"""What a sound matching run matches: a synthesizer, its targets, and how an encoder is judged."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from multipath.applications.runs.settings import Settings, check_positive
from multipath.transforms import JTFS

from .data import Targets, seeded, split_targets
from .evaluation import Evaluation, ThetaError


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
        settings = {name: value for name, value in self.to_dict().items() if name != "eps"}
        return JTFS(n_samples=n_samples, sample_rate=sample_rate, **{**settings, **changes})


class Synthesizer(Protocol):
    """What a synthesizer has to offer; a ``torch.nn.Module``, differentiable in theta."""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Of all U parameters."""

    @property
    def parameter_units(self) -> tuple[str, ...]:
        """Of what :meth:`physical` returns."""

    def __call__(self, theta: Tensor, nuisance: Tensor, /) -> Tensor:
        """Parameters (batch, U) in [0, 1] and their nuisance to sounds (batch, n_samples)."""

    def physical(self, theta: Tensor) -> Tensor:
        """Parameters in their units."""


@dataclass(frozen=True, kw_only=True)
class Task(Settings):
    """The settings of one kind of sound, and what can be built from them. Abstract.

    A subclass says what only it knows: its synthesizer, its targets, what nuisance decides about a
    sound besides its parameters, and how estimates are judged. Encoder, loss and training are
    those of every run.

    Args:
        sample_rate: In Hz.
        n_samples: Length of a signal.
        scattering: The transform of the scattering losses.

    Attributes:
        name: Of the task: ``multipath match NAME``.
        heading: Of the task, for people.
        judged_by: What :meth:`build_evaluation` returns.
    """

    name: ClassVar[str]
    heading: ClassVar[str]
    judged_by: ClassVar[type[Evaluation]]

    sample_rate: float
    n_samples: int
    scattering: ScatteringSettings

    @property
    def variant(self) -> str:
        """Which of several synthesizers or tasks, if there are several."""
        return ""

    @property
    def title(self) -> str:
        """Name and variant."""
        return f"{self.name} {self.variant}".strip()

    @property
    def knows_theta(self) -> bool:
        """Whether somebody knows the parameters of the targets."""
        return True

    @abstractmethod
    def build_synth(self) -> Synthesizer:
        """The frozen synthesizer."""

    @abstractmethod
    def draw_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """What parameters leave open, for a number of sounds: integers, one row a sound."""

    def evaluation_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """The same for reconstructions that are judged; by default as in training."""
        return self.draw_nuisance(count, generator)

    @abstractmethod
    def targets(self, seed: int) -> dict[str, Targets]:
        """All targets of a run: ``train``, ``validation`` and ``test``."""

    @abstractmethod
    def build_evaluation(self, synth: Synthesizer) -> Evaluation:
        """What judges the encoder."""

    def fingerprint(self) -> dict[str, str]:
        """What files outside of the run the targets come from: a digest of each, by name."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON, and the name."""
        return {"name": self.name, **super().to_dict()}


@dataclass(frozen=True, kw_only=True)
class RenderedTask(Task):
    """Targets are rendered from parameters drawn uniformly, so their errors can be told.

    Args:
        n_targets: Number of sounds; 60 % train, 20 % validate, 20 % test.
    """

    judged_by = ThetaError

    n_targets: int

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        check_positive(self, "n_targets")

    def targets(self, seed: int) -> dict[str, Targets]:
        """Uniform in the unit cube, each with its nuisance; sounds are rendered when needed."""
        generator = seeded(seed, "targets")
        n_parameters = len(self.build_synth().parameter_names)
        theta = torch.rand(self.n_targets, n_parameters, generator=generator)
        return split_targets(Targets(theta, self.draw_nuisance(self.n_targets, generator)))

    def build_evaluation(self, synth: Synthesizer) -> Evaluation:
        """Distance between parameters, which costs no evaluation of a loss."""
        return ThetaError(synth.parameter_names)
