"""Files that are complete or not there: an interruption or a full disk leaves the old one."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError

__all__ = ["read_csv", "read_json", "replacing", "write_csv", "write_json"]


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Write to a file beside it, which takes its place when all is written.

    Args:
        file: The file to make or to replace.

    Yields:
        Where to write; the suffix is that of ``file``. Left behind by no error.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.txt")
        ...     with replacing(file) as draft:
        ...         _ = draft.write_text("whole")
        ...     file.read_text(), [path.name for path in Path(folder).iterdir()]
        ('whole', ['a.txt'])
    """
    draft = file.with_name(f".{file.stem}.{os.getpid()}{file.suffix}")
    try:
        yield draft
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def write_json(file: Path, content: Any) -> None:
    """Write indented JSON, whole or not at all."""
    with replacing(file) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: If the file holds anything else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}); make it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} is damaged: expected an object; make it again")
    return content


def write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that share their columns, whole or not at all."""
    with replacing(file) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_csv(file: Path) -> list[dict[str, str]]:
    """The complete rows of a table; a last line that was cut off is left out.

    Raises:
        InputError: If the file is not text.
    """
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} is damaged ({error}); make it again") from error
    return [row for row in rows if None not in row and None not in row.values()]
