"""Attributes that are set when an object is constructed, and then only read."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Never


def _refused(instance: object, name: str) -> AttributeError:
    return AttributeError(
        f"{name} of {type(instance).__name__} cannot be set: construct another one, with the "
        f"settings wanted"
    )


class Setting:
    """A setting, set by the constructor or the same for all objects."""

    def __init__(self, constant: Any = None) -> None:
        self.constant = constant

    def __set_name__(self, owner: type, name: str) -> None:
        """Keep the name."""
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """The value."""
        values = {} if instance is None else instance.__dict__
        return values.get(self.name, self.constant)

    def __set__(self, instance: object, value: Any) -> None:
        """Set it for the first time.

        Raises:
            AttributeError: If it was set before, or is a constant.
        """
        if self.name in instance.__dict__ or self.constant is not None:
            raise _refused(instance, self.name)
        instance.__dict__[self.name] = value


class Computed(cached_property[Any]):
    """What follows from the settings, computed when it is first read."""

    def __set__(self, instance: object, value: Any) -> Never:
        """Refuse."""
        raise _refused(instance, str(self.attrname))
