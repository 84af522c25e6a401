"""What settings are called when an object is printed."""

from __future__ import annotations

from functools import partial
from typing import Any


def listed(**settings: Any) -> str:
    """Settings as in a call; functions by their names, without the addresses that repr gives.

    Example:
        >>> listed(J=3, distance=partial(max, 1), window="hann")
        "J=3, distance=max(1), window='hann'"
    """
    return ", ".join(f"{name}={_text(value)}" for name, value in settings.items())


def _text(value: Any) -> str:
    if isinstance(value, partial):
        arguments = [*map(_text, value.args), *filter(None, [listed(**value.keywords)])]
        return f"{_text(value.func)}({', '.join(arguments)})"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_text, value))}]" if isinstance(value, list) else repr(value)
    name = getattr(value, "__name__", None)
    return repr(value) if name is None else str(name)
