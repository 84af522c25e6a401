"""How good an encoder is, and how it got there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from multipath.errors import InputError

from .data import Batch


class Evaluation(nn.Module, ABC):
    """Judges estimates on validation and test targets; one line of numbers for each sound.

    A subclass has the attributes below and a forward. It is built once for a run and may hold
    synthesizers and transforms; it is never trained.

    Attributes:
        key: What its numbers are called in ``summary.json``.
        headline: Which of them a run is judged by.
        unit: Unit of all numbers; empty if each has its own or none.
    """

    key: str
    headline: str
    unit: str

    @abstractmethod
    def forward(self, batch: Batch, estimate: Tensor) -> dict[str, Tensor]:
        """Numbers of each sound by name, shape (batch,); lower is better."""

    def validate(self, batch: Batch, estimate: Tensor) -> dict[str, Tensor]:
        """What is worth its time at every validation, the headline included: all by default."""
        numbers: dict[str, Tensor] = self(batch, estimate)
        return numbers


class ThetaError(Evaluation):
    """Distance (L1) to the true parameters, in per mille of their range; renders no sound.

    Args:
        names: Names of the parameters. Their mean is called ``theta``.

    Example:
        >>> import torch
        >>> from multipath.applications.matching.tasks.data import Targets
        >>> batch = Batch(Targets(theta=torch.zeros(1, 2)), torch.zeros(1))
        >>> ThetaError(("AM", "FM"))(batch, torch.tensor([[0.25, 0.5]]))
        {'theta': tensor([375.]), 'AM': tensor([250.]), 'FM': tensor([500.])}
    """

    key = "theta_error"
    headline = "theta"
    unit = "per mille"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)

    def forward(self, batch: Batch, estimate: Tensor) -> dict[str, Tensor]:
        """See :class:`Evaluation`.

        Raises:
            InputError: If the true parameters are unknown.
        """
        if batch.targets.theta is None:
            raise InputError("the theta error needs targets with known parameters; these have none")
        distance = 1000 * (estimate - batch.targets.theta).abs()
        return {
            self.headline: distance.mean(dim=1),
            **dict(zip(self.names, distance.unbind(dim=1), strict=True)),
        }


def means(numbers: Mapping[str, Tensor]) -> dict[str, float]:
    """Means over all sounds.

    Example:
        >>> import torch
        >>> means({"theta": torch.tensor([100.0, 200.0])})
        {'theta': 150.0}
    """
    return {name: float(values.cpu().double().mean()) for name, values in numbers.items()}


def by_type(
    types: Sequence[str], trained: Mapping[str, Tensor], untrained: Mapping[str, Tensor]
) -> dict[str, dict[str, Any]]:
    """Means over the sounds of each type, and how many there are.

    Example:
        >>> import torch
        >>> after, before = ({"mss": scale * torch.arange(3.0)} for scale in (1, 2))
        >>> by_type(["BD", "SD", "SD"], after, before)["SD"]
        {'count': 2, 'trained': {'mss': 1.5}, 'untrained': {'mss': 3.0}}
    """
    members = {
        name: [i for i, other in enumerate(types) if other == name] for name in sorted({*types})
    }
    return {
        name: {
            "count": len(which),
            "trained": means({key: values[which] for key, values in trained.items()}),
            "untrained": means({key: values[which] for key, values in untrained.items()}),
        }
        for name, which in members.items()
    }


def steps_to_converge(
    steps: Sequence[float], errors: Sequence[float], threshold: float | None
) -> int | None:
    """First validation step at which the error is below a threshold; None if it never was.

    Validations are its resolution. Without a threshold no run converges.

    Example:
        >>> steps_to_converge([10, 20, 30], [300.0, 90.0, 110.0], threshold=100.0)
        20
    """
    if threshold is None:
        return None
    return next(
        (int(step) for step, error in zip(steps, errors, strict=True) if error < threshold), None
    )


def total_variation(errors: Sequence[float]) -> float:
    r"""How restless a validation curve is: :math:`\frac 1n \sum_{i=2}^{n} |e_i - e_{i-1}|`.

    The mean change from one of n validations to the next, in the unit of the errors: per mille,
    with one validation an epoch, in the tables of SCRAPL, whose evaluation divides by n as well.
    A curve that falls steadily from a to b has (a - b) / n. Zero for an empty curve.

    Example:
        >>> total_variation([300.0, 100.0, 150.0, 100.0])
        75.0
    """
    changes = [abs(after - before) for before, after in pairwise(errors)]
    return sum(changes) / max(1, len(errors))
