"""Results kept in a file as they come, so that interrupted work resumes where it stopped."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from multipath.errors import ConfigurationError, InputError

from .files import naming
from .inputs import brief, is_whole

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""The address in the ``repr`` of a function, which differs from process to process."""

Record = tuple[Tensor, ...]


class Journal:
    """An append-only file with one line per result; each of several processes has its own file.

    A line is written in one go and flushed to disk. An interruption may leave a torn last line,
    which is dropped when the work resumes.

    Args:
        path: The file of rank 0; rank r > 0 appends ``.r`` to the name.
        fingerprint: Identifies everything that the results depend on, see :func:`digest`.
        rank: Rank of this process.
        kind: What the results are, written into the first line.

    Raises:
        ConfigurationError: If the file belongs to other work.
        InputError: If the file is no journal, or is damaged before its last line.
    """

    def __init__(
        self, path: Path, fingerprint: str, rank: int = 0, *, kind: str = "theta-importance"
    ) -> None:
        self.path, self.fingerprint, self.kind = path, fingerprint, kind
        self.own = path if rank == 0 else path.with_name(f"{path.name}.{rank}")
        self.records: dict[str, Record] = {}
        for file in _files(path):
            self._read(file, repair=file == self.own)

    def append(self, unit: str, record: Sequence[Tensor]) -> None:
        """Add the result of a unit."""
        buffer = io.BytesIO()
        torch.save(tuple(record), buffer)
        entry = {"unit": unit, "data": base64.b64encode(buffer.getvalue()).decode()}
        lines = [json.dumps(entry)]
        if not self.own.exists() or self.own.stat().st_size == 0:
            self.own.parent.mkdir(parents=True, exist_ok=True)
            lines.insert(0, _header(self.kind, fingerprint=self.fingerprint))
        with naming(self.own), self.own.open("ab") as stream:
            stream.write(("\n".join(lines) + "\n").encode())
            stream.flush()
            os.fsync(stream.fileno())
        self.records[unit] = tuple(record)

    def _read(self, file: Path, repair: bool) -> None:
        content = file.read_bytes()
        written_for = _fingerprint(file, content, self.kind)
        if written_for not in (None, self.fingerprint):
            raise ConfigurationError(
                f"{file} belongs to other work: the loss, the weights, the batches or the settings "
                "have changed since; choose another file, or remove it to start again"
            )
        whole, _, torn = content.rpartition(b"\n")
        lines = whole.split(b"\n")
        for number, line in enumerate(lines[1:], start=2):
            try:
                entry = json.loads(line)
                data = io.BytesIO(base64.b64decode(entry["data"]))
                record = torch.load(data, map_location="cpu", weights_only=True)
                if not isinstance(entry["unit"], str) or not _is_record(record):
                    raise ValueError("no result")
                self.records[entry["unit"]] = record
            except Exception as error:
                raise InputError(
                    f"{file} is damaged in line {number} ({brief(error)}); remove the file to "
                    "start again"
                ) from error
        if torn and repair:
            with file.open("r+b") as stream:
                stream.truncate(len(content) - len(torn))


def discard_journal(path: Path, kind: str = "theta-importance") -> None:
    """Remove a journal, the files of all ranks included.

    Args:
        path: The file.
        kind: What its results are: ``"theta-importance"`` or ``"parameter metrics"``.

    Raises:
        ConfigurationError: If the path is a folder.
        InputError: If one of these files is no journal; then none is removed.
    """
    files = _files(path)
    for file in files:
        _fingerprint(file, file.read_bytes(), kind)
    for file in reversed(files):  # that of rank 0 stands for all as long as any is there
        file.unlink()


def _is_record(content: Any) -> bool:
    """Whether what was read can be a result: several tensors of finite numbers."""
    return isinstance(content, tuple) and all(
        isinstance(each, Tensor)
        and (each.is_floating_point() or each.dtype == torch.int64)
        and is_whole(each)
        and bool(each.isfinite().all())
        for each in content
    )


def _files(path: Path) -> list[Path]:
    """The existing files of a journal, whichever ranks they belong to."""
    if path.is_dir():
        raise ConfigurationError(f"the journal {path} is a folder; give a file")
    beside = path.parent.iterdir() if path.parent.exists() else []
    ours = re.compile(re.escape(path.name) + r"(\.\d+)?")
    return sorted(file for file in beside if ours.fullmatch(file.name))


def _header(kind: str, **more: str) -> str:
    return json.dumps({"format": f"multipath {kind}, 1", **more})


def _fingerprint(file: Path, content: bytes, kind: str) -> str | None:
    """The fingerprint in the header; None if an interruption has left less than a header."""
    header, end, _ = content.partition(b"\n")
    start = _header(kind)[:-1].encode()
    try:
        if not end and start.startswith(header[: len(start)]):
            return None
        entry = json.loads(header)
        if entry["format"] == json.loads(_header(kind))["format"]:
            return str(entry["fingerprint"])
    except (ValueError, KeyError, TypeError):
        pass  # refused below, like files of another format
    raise InputError(f"{file} is no journal of {kind}; choose another file")


def digest(described: Iterable[str], tensors: Iterable[Tensor], modules: Iterable[Any]) -> str:
    """Digest of all that results depend on and that can be seen: not the code of functions.

    Args:
        described: Settings in words.
        tensors: Numbers.
        modules: Modules, whose settings, weights and buffers count, or functions, whose names do.
    """
    described, tensors = list(described), list(tensors)
    for module in modules:
        if isinstance(module, nn.Module):
            described += [repr(module), *_settings(module)]
            tensors += [*module.parameters(), *module.buffers()]
        else:
            described.append(getattr(module, "__qualname__", type(module).__qualname__))
    found = hashlib.sha256(ADDRESS.sub("", repr(described)).encode())
    for tensor in tensors:
        plain = tensor.detach().cpu().contiguous()
        found.update(repr((tuple(plain.shape), plain.dtype)).encode())
        found.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _settings(module: nn.Module) -> Iterator[str]:
    """Plain numbers and strings that a module and its parts keep; ``repr`` may not show them."""
    for name, part in module.named_modules():
        for key, value in sorted(vars(part).items()):
            if isinstance(value, bool | int | float | str):
                yield f"{name}.{key}={value!r}"
