"""Atomic writing of files: an interruption or a full disk leaves the old file as it was."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Write to a draft beside a file, which takes the file's place once all is written.

    Args:
        file: The file to make or to replace.

    Yields:
        Where to write the draft; it has the suffix of ``file`` and is removed if an error occurs.

    Raises:
        OSError: If the draft cannot be written; its ``filename`` is ``file``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.txt")
        ...     with replacing(file) as draft:
        ...         _ = draft.write_text("whole")
        ...     file.read_text(), [path.name for path in Path(folder).iterdir()]
        ('whole', ['a.txt'])
    """
    draft = file.with_name(f".{file.stem[:32]}.{os.getpid()}.draft{file.suffix}")
    try:
        with naming(file, instead_of=draft):
            yield draft
            os.replace(draft, file)
    finally:
        with suppress(OSError):
            draft.unlink()


def drafted(file: Path) -> str | None:
    """Name of the file that this one is a draft of, left behind by a process that was killed.

    Returns:
        The name, its stem cut off after 32 characters; None if the file is no draft.

    Example:
        >>> drafted(Path("runs/.summary.4711.draft.json")), drafted(Path("runs/summary.json"))
        ('summary.json', None)
    """
    match = re.fullmatch(r"\.(.+)\.\d+\.draft(\.[^.]*)?", file.name)
    return None if match is None else match[1] + (match[2] or "")


@contextmanager
def naming(file: Path, instead_of: Path | None = None) -> Iterator[None]:
    """Make errors of the system name this file, since that of a full disk names none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(instead_of)):
            raise
        raise OSError(error.errno, error.strerror, str(file)) from error


def write_bytes(file: Path, content: bytes) -> None:
    """Write bytes, whole or not at all."""
    with replacing(file) as draft:
        draft.write_bytes(content)


def write_tensors(file: Path, content: Any) -> None:
    """Write what :func:`torch.save` makes of something, whole or not at all."""
    buffer = io.BytesIO()  # for torch, a full disk is a RuntimeError that names no file
    torch.save(content, buffer)
    write_bytes(file, buffer.getvalue())
