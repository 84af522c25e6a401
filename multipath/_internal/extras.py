"""What to install where an optional package is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra() -> Iterator[None]:
    """Make a failing import of an optional package say which extra to install.

    Raises:
        ModuleNotFoundError: If the package imported inside is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this needs {error.name}, which is not installed: "
            "pip install 'multipath-loss[applications]'",
            name=error.name,
        ) from error
