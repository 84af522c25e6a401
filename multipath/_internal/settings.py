"""Settings that are numbers: of any kind when they come in, plain Python numbers from then on.

Integers are those of Python and numpy, real numbers likewise; arrays and tensors without dimensions
count as what they hold. Booleans are no numbers, and floats no integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set, Sized
from math import inf, isfinite, nan
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multipath.errors import ConfigurationError

from .bookkeeping import bookkept
from .inputs import described, is_dense, is_whole, stretched

LARGEST = 2**31
"""Numbers in one tensor that settings ask for, such as filters: 16 GiB in double precision."""
MOST = 2**24
"""Members of a sequence that stands for numbers; more would be a mistake that fills the memory."""


def whole(name: str, value: Any) -> int:
    """An integer.

    Raises:
        ConfigurationError: If it is none.
    """
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise ConfigurationError(f"{name} must be a whole number, got {value!r}")
    return int(number)


def count(name: str, value: Any) -> int:
    """An integer of at least 1.

    Raises:
        ConfigurationError: If it is none.
    """
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
        raise ConfigurationError(f"{name} must be a positive integer, got {value!r}")
    return int(number)


def switch(name: str, value: Any) -> bool:
    """True or False, of Python or numpy, or 1 or 0.

    Raises:
        ConfigurationError: If it is anything else: what counts as true is not guessed.
    """
    on = _scalar(value)
    if not isinstance(on, bool | Integral) or on not in (0, 1):
        raise ConfigurationError(f"{name} must be True or False, got {described(value)}")
    return bool(on)


def affordable(what: str, numbers: int, most: int = LARGEST) -> None:
    """Refuse settings that would fill the memory, before they do.

    Args:
        what: What there would be so many of, in the plural.
        numbers: How many.
        most: How many there may be.

    Raises:
        ConfigurationError: If there would be more.
    """
    if numbers > most:
        raise ConfigurationError(
            f"these settings make {numbers} {what}, and at most {most} are possible; choose "
            "smaller ones"
        )


def positive(name: str, value: Any, unit: str = "") -> float:
    """A positive, finite number.

    Raises:
        ConfigurationError: If it is none.
    """
    number = real(value)
    if not (number > 0 and isfinite(number)):
        unit = unit and f", in {unit}"
        raise ConfigurationError(f"{name} must be positive{unit}, got {value!r}")
    return number


def between(name: str, value: Any, low: float, high: float, ends: str = "[]") -> float:
    """A number in an interval, which contains those of its ends that have a square bracket.

    Raises:
        ConfigurationError: If it is none.
    """
    number = real(value)
    closed = {end for end, bracket in zip((low, high), ends, strict=True) if bracket in "[]"}
    if not (low < number < high or number in closed):
        interval = f"{ends[0]}{low:g}, {high:g}{ends[1]}"
        raise ConfigurationError(f"{name} must lie in {interval}, got {value!r}")
    return number


def not_negative(name: str, value: Any) -> float:
    """A finite number of at least 0.

    Raises:
        ConfigurationError: If it is none.
    """
    number = real(value)
    if not 0 <= number < inf:
        raise ConfigurationError(f"{name} must be finite and not negative, got {value!r}")
    return number


def real(value: Any) -> float:
    """A number as a float. Where it is none this is NaN, which lies in no range."""
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, Real):
        return nan
    try:
        return float(number)
    except OverflowError:
        return nan


def several(name: str, values: Any) -> list[Any]:
    """The members of a list, a tuple, a range, or an array of one dimension.

    Raises:
        ConfigurationError: If it is no such sequence.
    """
    unordered = isinstance(values, str | bytes | Mapping | Set)
    shaped = isinstance(values, np.ndarray | Tensor) and values.ndim != 1
    if unordered or shaped or not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} must be a sequence, got {described(values)}")
    if isinstance(values, Sized) and len(values) > MOST:
        raise ConfigurationError(f"{name} must have at most {MOST} members, got {len(values)}")
    return list(values)


def vector(name: str, values: Any, which: str = "one for each path") -> Tensor:
    """Several real numbers as a float64 tensor on the CPU, of the shape that they came in.

    Raises:
        ConfigurationError: If they are no real numbers; the message says which are needed.
    """
    try:
        if is_scalar(values) or _is_unfit(values):
            raise TypeError
        return bookkept(values)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        kind = described(values) if isinstance(values, Tensor | np.ndarray) else f"{values!r:.200}"
        raise ConfigurationError(f"{name} must be numbers, {which}, got {kind}") from None


def _is_unfit(values: Any) -> bool:
    """Whether values cannot be converted, or would take far more memory than they have now."""
    if isinstance(values, Tensor):
        large = values.is_complex() or not is_dense(values) or values.numel() > MOST
        return large and (values.is_complex() or not is_whole(values))
    if isinstance(values, np.ndarray):
        return values.size > MOST and stretched(values.shape, values.strides, values.itemsize)
    return isinstance(values, Sized) and len(values) > MOST


def seeded(value: Any, accepted: str = "a seed or a torch.Generator") -> torch.Generator:
    """A generator on the CPU, as it is or made from a seed.

    Args:
        value: What came.
        accepted: What could have come, for the message.

    Raises:
        ConfigurationError: If it is neither.
    """
    if isinstance(value, torch.Generator):
        if value.device.type != "cpu":
            raise ConfigurationError(f"the generator must live on the CPU, got {value.device}")
        return value
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise ConfigurationError(f"generator must be {accepted}, got {value!r}")
    seed = int(number)
    if not -(2**63) <= seed < 2**64:
        raise ConfigurationError(f"a seed must fit in 64 bits, got {seed}")
    return torch.Generator().manual_seed(seed)


def choice(name: str, value: Any, *known: Any, other: str = "") -> Any:
    """One of some names, or of other constants.

    Args:
        name: Of the setting.
        value: What came.
        known: What there is.
        other: What else could have come, for the message.

    Raises:
        ConfigurationError: If it is none of them.
    """
    for constant in known:
        # an array compares with a name element by element
        if value is constant or (isinstance(value, str) and value == constant):
            return constant
    *most, last = [f'"{c}"' if isinstance(c, str) else str(c) for c in known] + [other] * bool(
        other
    )
    raise ConfigurationError(f"{name} must be {', '.join(most)} or {last}, got {value!r}")


def is_scalar(value: Any) -> bool:
    """Whether a value is one number of any kind, so that it can stand for several equal ones."""
    return isinstance(_scalar(value), Real)


def _scalar(value: Any) -> Any:
    """What an array or tensor without dimensions holds; anything else as it is."""
    if isinstance(value, np.generic | np.ndarray | Tensor) and value.ndim == 0:
        return value.item()
    return value
