"""Files that are written whole or not at all: an interruption or a full disk leaves the old one."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multipath._internal.files import replacing, write_bytes, write_tensors
from multipath._internal.state import loaded_integer, refused
from multipath.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "check_rows",
    "drawn",
    "read_csv",
    "read_draws",
    "read_json",
    "read_numbers",
    "replacing",
    "write_bytes",
    "write_csv",
    "write_figure",
    "write_json",
    "write_tensors",
    "write_text",
]

AGAIN = "make it again"


def write_text(file: Path, content: str) -> None:
    """Write UTF-8, whole or not at all."""
    write_bytes(file, content.encode(errors="backslashreplace"))  # file names need not be text


def write_json(file: Path, content: Any) -> None:
    """Write indented JSON, whole or not at all."""
    write_text(file, json.dumps(content, indent=2) + "\n")


def read_json(file: Path, remedy: str = AGAIN) -> dict[str, Any]:
    """Read the object in a JSON file.

    Args:
        file: The file.
        remedy: What to do with a damaged file, for the message.

    Raises:
        InputError: If the file holds anything else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} is damaged: expected an object; {remedy}")
    return content


def check_rows(name: str, rows: Any) -> None:
    """Refuse rows of a checkpoint that are not those of a table of numbers over steps.

    Raises:
        InputError: If they are not; the message begins with ``name``.
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise refused(name, "a list of dictionaries", rows)
    for before, row in zip([None, *rows], rows, strict=False):
        if row.keys() != rows[0].keys() or not all(isinstance(column, str) for column in row):
            raise refused(name, f"of columns {', '.join(map(str, rows[0]))}", [*row])
        if not all(type(value) in (int, float) for value in row.values()):
            raise InputError(f"{name} must hold nothing but numbers; {AGAIN}")
        first = 0 if before is None else before["step"] + 1
        loaded_integer(f"step in {name}", row.get("step"), low=first)


def write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that share their columns, whole or not at all."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(file, table.getvalue())


def read_csv(file: Path) -> list[dict[str, str]]:
    """Read the complete rows of a table; a last line that was cut off is left out.

    Raises:
        InputError: If the file is not text.
    """
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            lines = [line for line in stream if line.endswith("\n")]
        rows = list(csv.DictReader(lines))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} is damaged ({error}); {AGAIN}") from error
    return [row for row in rows if None not in row and None not in row.values()]


def read_numbers(file: Path) -> list[dict[str, float]]:
    """Read the complete rows of a table of numbers, such as ``metrics.csv``.

    Raises:
        InputError: If there is anything else in it.
    """
    try:
        return [{name: float(text) for name, text in row.items()} for row in read_csv(file)]
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}); {AGAIN}") from error


def read_draws(file: Path) -> list[dict[str, Any]]:
    """Read a table of :meth:`DrawCounts.rows <multipath.draws.DrawCounts.rows>`.

    ``index`` and ``count`` become integers, other numbers floats.

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
            f"{file}: expected a table with the columns index, key and count; {AGAIN}"
        ) from error


def _value(text: str) -> str | float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def write_figure(file: Path, figure: Figure, dpi: int = 110) -> None:
    """Write a plot, whole or not at all; the suffix of its name says in which format."""
    write_bytes(file, drawn(figure, file.suffix.lstrip(".").lower(), dpi))


def drawn(figure: Figure, kind: str, dpi: int) -> bytes:
    """Draw a plot; equal plots are equal bytes in PNG, PDF and SVG, which tell no date.

    Args:
        figure: The plot.
        kind: The format, such as ``"png"``.
        dpi: Pixels per inch.
    """
    from matplotlib import rc_context

    buffer = io.BytesIO()
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    with rc_context({"svg.hashsalt": "multipath"}), warnings.catch_warnings():
        # a font cannot have all characters that a name may have; it draws boxes for the others
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
