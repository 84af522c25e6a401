"""Settings: frozen dataclasses of plain values, kept as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, get_type_hints

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
            InputError: If a setting is missing or unknown.
        """
        kinds = get_type_hints(cls)
        names = {field.name for field in fields(cls)}
        if names != set(values):
            raise InputError(
                f"these are not {cls.__name__} of this version: missing "
                f"{sorted(names - set(values))}, unknown {sorted(set(values) - names)}"
            )
        return cls(**{name: _restore(kinds[name], value) for name, value in values.items()})


def check_positive(settings: Settings, *names: str) -> None:
    """Refuse counts below 1.

    Raises:
        ConfigurationError: If one of these settings is below 1.
    """
    for name in names:
        if getattr(settings, name) < 1:
            raise ConfigurationError(f"{name} must be at least 1, got {getattr(settings, name)}")


def check_seed(seed: int) -> None:
    """Refuse a seed that torch could not take.

    Raises:
        ConfigurationError: If it is negative or has more than 63 bits.
    """
    if not 0 <= seed < 2**63:
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


def _restore(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Settings) and isinstance(value, Mapping):
        return kind.from_dict(value)
    return tuple(_restore(None, each) for each in value) if isinstance(value, list) else value
