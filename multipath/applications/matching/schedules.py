"""How the learning rate changes along a run."""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),  # down to zero
    "linear": lambda done: 1 - 0.9 * done,  # down to a tenth
}
"""Learning rate relative to that at the start, from the share of the steps done, by name."""
