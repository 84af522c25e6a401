"""Packages that an extra brings: what to install where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra() -> Iterator[None]:
    """What pictures and progress bars need comes with an extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this needs {error.name}, which is not installed: "
            "pip install 'multipath-loss[applications]'",
            name=error.name,
        ) from error
