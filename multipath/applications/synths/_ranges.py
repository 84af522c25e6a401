"""What the parameters of a synthesizer span, checked."""

from __future__ import annotations

from dataclasses import fields
from math import isfinite
from typing import Any

from multipath._internal.inputs import described
from multipath._internal.settings import real, several
from multipath.errors import ConfigurationError


def checked_range(name: str, value: Any) -> tuple[float, float]:
    """A range as two plain numbers.

    Args:
        name: Of the parameter.
        value: Its lowest and its highest value.

    Raises:
        ConfigurationError: If it is no pair of finite numbers, 0 < low < high.

    Example:
        >>> checked_range("pitch", [200, 400])
        (200.0, 400.0)
    """
    ends = [real(end) for end in several(f"the {name} range", value)]
    if len(ends) != 2 or not 0 < ends[0] < ends[1] or not isfinite(ends[1]):
        got = f"{value[0]} to {value[1]}" if len(ends) == 2 else repr(value)
        raise ConfigurationError(
            f"the {name} range must satisfy 0 < low < high, both finite, got {got:.200}"
        )
    return ends[0], ends[1]


def check_ranges(ranges: Any) -> None:
    """Check and convert all fields of a frozen dataclass of ranges, as it is made.

    Raises:
        ConfigurationError: As :func:`checked_range`.
    """
    for each in fields(ranges):
        object.__setattr__(ranges, each.name, checked_range(each.name, getattr(ranges, each.name)))


def expect_ranges(ranges: Any, kind: type, other: str = "") -> None:
    """Refuse what are no ranges of some kind.

    Args:
        ranges: What came.
        kind: The class of the ranges.
        other: What else could have come, for the message.

    Raises:
        ConfigurationError: If they are none.
    """
    if not isinstance(ranges, kind):
        raise ConfigurationError(f"ranges must be {kind.__name__}{other}, got {described(ranges)}")
