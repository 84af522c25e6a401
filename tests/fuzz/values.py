"""Values that nobody should give, and some that one may."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import torch

ABSURD: list[Any] = [
    *(
        0,
        -1,
        1.5,
        True,
        None,
        "8",
        "",
        b"8",
        [],
        {},
        (),
        object(),
        10**30,
        -(10**30),
        2**63,
        1e-300,
    ),
    *(1e300, float("nan"), float("inf"), 3j, np.int64(-3), np.float64("nan"), np.array([1, 2])),
    *(torch.tensor(2.5), torch.tensor([1, 2]), range(3), "$\\frac{1}{$", "\x00", "../.."),
]


def whole(random: Random, low: int, high: int) -> Any:
    """A number within bounds as a rule, of some kind; now and then something absurd."""
    if random.random() < 0.015:
        return random.choice(ABSURD)
    number = random.randint(low, high)
    return random.choice([int, int, int, np.int64, np.int32, torch.tensor])(number)


def real(random: Random, low: float, high: float) -> Any:
    """A number within bounds as a rule, of some kind; now and then something absurd."""
    if random.random() < 0.015:
        return random.choice(ABSURD)
    number = random.uniform(low, high)
    return random.choice([float, float, float, np.float64, np.float32, torch.tensor])(number)


def one_of(random: Random, *values: Any) -> Any:
    """One of these values as a rule; now and then something absurd."""
    return random.choice(ABSURD) if random.random() < 0.01 else random.choice(values)


def power_of_two(random: Random, low: int, high: int) -> Any:
    """A power of two from 2^low to 2^high as a rule; now and then something absurd."""
    exponent = whole(random, low, high)
    return 2**exponent if isinstance(exponent, int) and 0 <= exponent < 64 else exponent
