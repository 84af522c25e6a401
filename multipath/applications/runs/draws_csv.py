"""The table ``draws.csv``: how often each path was drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multipath.draws import DrawCounts
from multipath.errors import InputError

from .files import read_csv, write_csv

__all__ = ["read_draws", "write_draws"]


def write_draws(file: Path, counts: DrawCounts) -> None:
    """Write :meth:`DrawCounts.rows <multipath.draws.DrawCounts.rows>` as a table."""
    write_csv(file, counts.rows())


def read_draws(file: Path) -> list[dict[str, Any]]:
    """Read a table of draws: ``index`` and ``count`` as integers, other numbers as floats.

    Raises:
        InputError: If the file is not such a table.
    """
    rows = read_csv(file)
    try:
        return [
            {name: _value(text) for name, text in row.items()}
            | {"index": int(row["index"]), "count": int(row["count"])}
            for row in rows
        ]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{file}: expected a table with the columns index, key and count; make it again"
        ) from error


def _value(text: str) -> str | float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text
