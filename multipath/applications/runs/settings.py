"""Settings: frozen dataclasses of plain values, kept as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from multipath._internal.settings import whole
from multipath._internal.state import refused
from multipath.errors import ConfigurationError, InputError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A frozen dataclass of plain values, tuples of them, and other settings.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Training(Settings):
        ...     sizes: tuple[int, ...] = (8, 8)
        >>> Training.from_dict({"sizes": [4, 2]}).to_dict()
        {'sizes': (4, 2)}
    """

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, fit for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.to_dict() if isinstance(value, Settings) else value
            for name, value in values.items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Invert :meth:`to_dict`; lists become tuples again.

        Raises:
            InputError: If a setting is missing or unknown, or not of its type.
            ConfigurationError: If one is out of range.
        """
        if not isinstance(values, Mapping):
            raise refused(f"the {cls.__name__}", "a dictionary of settings", values)
        kinds = get_type_hints(cls)
        names = {field.name for field in fields(cls)}
        if names != set(values):
            raise InputError(
                f"these are not {cls.__name__} of this version: missing "
                f"{sorted(names - set(values))}, unknown {sorted(set(values) - names, key=str)}"
            )
        return cls(**{name: _restore(name, kinds[name], value) for name, value in values.items()})


MOST = 10**9
"""Of anything that is counted in settings: beyond all that would ever end, or fit in memory."""


def check_positive(settings: Settings, *names: str, most: int = MOST) -> None:
    """Refuse counts below 1, or beyond reason.

    Args:
        settings: Where they are.
        *names: Their names; those that are sequences hold counts.
        most: The largest count.

    Raises:
        ConfigurationError: If one of these settings is below 1 or above ``most``.
    """
    for name in names:
        value = getattr(settings, name)
        for each in value if isinstance(value, tuple | list) else (value,):
            if whole(name, each) < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {each}")
            if each > most:
                raise ConfigurationError(f"{name} must be at most {most}, got {each}")


def check_seed(seed: int) -> None:
    """Refuse a seed that torch could not take.

    Raises:
        ConfigurationError: If it is no whole number, negative, or has more than 63 bits.
    """
    if not 0 <= whole("seed", seed) < 2**63:
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


def _restore(name: str, kind: Any, value: Any) -> Any:
    """A value read from JSON, as the type hint of its setting wants it.

    Raises:
        InputError: If it is of another type.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for each in inner:
            with suppress(InputError):
                return _restore(name, each, value)
    elif origin is Literal:
        if isinstance(value, str) and value in inner:
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            kinds = [inner[0]] * len(value) if inner[-1] is ... else inner
            if len(kinds) == len(value):
                return tuple(map(partial(_restore, name), kinds, value))
    elif isinstance(kind, type) and issubclass(kind, Settings):
        return value if isinstance(value, kind) else kind.from_dict(value)
    elif kind in (bool, int, str, NoneType):
        if type(value) is kind:
            return value
    elif kind is float:
        if type(value) in (int, float) and isfinite(value):
            return value
    else:
        return tuple(value) if isinstance(value, list) else value
    words = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
    raise refused(name, f"of type {words}", value)
