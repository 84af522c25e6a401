"""How the learning rate changes along a run."""

from __future__ import annotations

import math
from collections.abc import Callable


def constant(done: float) -> float:
    """The rate stays as it is at the start."""
    return 1.0


def cosine(done: float) -> float:
    """Down to zero along half a cosine.

    Example:
        >>> [round(cosine(done), 2) for done in (0.0, 0.5, 1.0)]
        [1.0, 0.5, 0.0]
    """
    return 0.5 * (1 + math.cos(math.pi * done))


def linear(done: float) -> float:
    """Down to a tenth along a straight line.

    Example:
        >>> [round(linear(done), 2) for done in (0.0, 0.5, 1.0)]
        [1.0, 0.55, 0.1]
    """
    return 1 - 0.9 * done


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
}
"""Learning rate relative to that at the start, from the share of the steps done, by name."""
