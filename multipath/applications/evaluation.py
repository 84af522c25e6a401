"""How good an encoder is, and how it got there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ..errors import InputError
from .data import Batch


class Evaluation(nn.Module, ABC):
    """Judges estimates on validation and test targets; one line of numbers for each sound.

    A subclass has the attributes below and a forward. It is built once for a run and may hold
    synthesizers and transforms; it is never trained.

    Attributes:
        key: What its numbers are called in ``summary.json``.
        headline: Which of them a run is judged by.
        unit: Of all of them.
    """

    key: str
    headline: str
    unit: str

    @abstractmethod
    def forward(self, batch: Batch, estimate: Tensor) -> dict[str, Tensor]:
        """Numbers of each sound by name, shape (batch,); lower is better."""


class ThetaError(Evaluation):
    """Distance (L1) to the true parameters, in per mille of their range; renders no sound.

    Args:
        names: Names of the parameters. Their mean is called ``theta``.

    Example:
        >>> import torch
        >>> from multipath.applications.data import Targets
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
            InputError: If nobody knows the parameters.
        """
        if batch.targets.theta is None:
            raise InputError("the theta error needs targets with known parameters; these have none")
        distance = 1000 * (estimate - batch.targets.theta).abs()
        return {
            self.headline: distance.mean(dim=1),
            **dict(zip(self.names, distance.unbind(dim=1), strict=True)),
        }


def steps_to_converge(
    steps: Sequence[float], errors: Sequence[float], threshold: float
) -> int | None:
    """First validation step at which the error is below a threshold; None if it never was.

    Validations are its resolution.

    Example:
        >>> steps_to_converge([10, 20, 30], [300.0, 90.0, 110.0], threshold=100.0)
        20
    """
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
