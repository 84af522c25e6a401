"""What may be done with a folder of results: begin there, go on, or discard what it holds.

A run takes a folder with ``config.json`` and has finished once ``summary.json`` is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from filelock import FileLock, Timeout

from multipath._internal.files import drafted
from multipath.errors import ConfigurationError, InputError

from .files import read_json
from .settings import differences

__all__ = [
    "changed_files",
    "check_folder",
    "check_place",
    "check_settings",
    "discard",
    "discard_drafts",
    "folder_lock",
    "read_checkpoint",
    "restoring",
    "resumable",
]

CONFIG, SUMMARY = "config.json", "summary.json"
AFRESH = "start again with --overwrite"

LEFT_BY_A_RUN = (
    *(SUMMARY, "report.html", "metrics.csv", "draws.csv"),
    # of sound matching
    *("encoder.pt", "probabilities.pt", "sources.json"),
    *("convergence.png", "pairs.png", "estimates.png"),
    *("audio/*_target.wav", "audio/*_reconstruction.wav", "checkpoints/*.ckpt"),
    *("tensorboard/events.out.tfevents.*", "tensorboard/hparams.yaml"),
    # of a resynthesis
    *("checkpoint.pt", "target.wav", "resynthesis.wav"),
    *("spectrograms.png", "descent.png", "draws.png"),
)
"""All but ``config.json``, which is replaced: without it a folder would look like anybody's."""
FOLDERS = "audio", "checkpoints", "tensorboard"


def check_folder(root: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to begin a run where there is another, or to go on where there is none.

    Args:
        root: The folder, which need not exist.
        resume: Go on with an interrupted run.
        overwrite: Discard what is there.

    Raises:
        ConfigurationError: If neither says what to do with the run that the folder holds, or both
            do; if there is nothing to resume; or if the folder has files such as a run leaves and
            yet holds none, so that they may be anybody's.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multipath.applications.runs.files import write_json
        >>> with TemporaryDirectory() as root:
        ...     check_folder(Path(root), resume=False, overwrite=False)
        ...     write_json(Path(root, "config.json"), {"task": "mine", "steps": 5})
        ...     check_folder(Path(root), resume=True, overwrite=False)
        ...     check_settings(Path(root), {"task": "mine", "steps": 6})
        Traceback (most recent call last):
        multipath.errors.ConfigurationError: cannot resume ... other settings: steps was 5, is 6
    """
    if resume and overwrite:
        raise ConfigurationError("resume and overwrite exclude each other; choose one")
    taken, finished = _holds_a_run(root), (root / SUMMARY).exists()
    foreign = [] if taken else [path for path in (root / CONFIG, *_left(root)) if path.exists()]
    if foreign:
        names = ", ".join(path.relative_to(root).as_posix() for path in foreign[:3])
        raise ConfigurationError(
            f"{root} holds no run, but {names}, which a run would replace; choose another folder "
            "(--out), or move that away"
        )
    if finished and not overwrite:
        raise ConfigurationError(
            f"{root} holds a finished run; choose another folder (--out), or discard it with "
            "--overwrite"
        )
    if resume and not taken:
        raise ConfigurationError(
            f"nothing to resume: {root} holds no run; start one without --resume"
        )
    if taken and not (resume or overwrite):
        raise ConfigurationError(
            f"{root} holds an unfinished run; go on with --resume, or discard it with --overwrite"
        )


def resumable(root: Path) -> bool:
    """Whether the folder holds a run that is not finished."""
    return _holds_a_run(root) and not (root / SUMMARY).exists()


def check_place(folder: Path, option: str = "--out") -> None:
    """Refuse a folder that cannot be made or written to, before the work for it is done.

    Args:
        folder: The folder.
        option: What the message tells to choose another place with.

    Raises:
        ConfigurationError: If it cannot.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        reason = "is a file"
    elif not os.access(there, os.W_OK | os.X_OK):
        reason = "may not be written to"
    else:
        return
    raise ConfigurationError(
        f"expected a folder to write to, got {folder}, but {there} {reason}; choose another place "
        f"({option})"
    )


def check_settings(root: Path, settings: Mapping[str, Any], ignored: Sequence[str] = ()) -> None:
    """Refuse to go on with other settings than those in ``config.json``.

    Args:
        root: The folder.
        settings: Those of the run that is to go on.
        ignored: Names of settings that may differ, ``group.name`` if they are in a group.

    Raises:
        ConfigurationError: If there are others; it says which, and how they differ.
        InputError: If ``config.json`` is damaged.
    """
    before = read_json(root / CONFIG, remedy=f"{AFRESH}, or remove it")
    now = json.loads(json.dumps(settings))
    for path in ignored:
        *groups, name = path.split(".")
        for values in (before, now):
            for group in groups:
                values = values.get(group, {})
            if isinstance(values, dict):  # old ones had no groups
                values.pop(name, None)
    changed = list(differences(before, now))
    if changed:
        raise ConfigurationError(f"cannot resume {root} with other settings: {'; '.join(changed)}")


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Say which files, known by digests of their content, are others by now.

    Args:
        before: Digests by names.
        now: Likewise.

    Example:
        >>> changed_files({"a.wav": "1", "b.wav": "2"}, {"b.wav": "3", "c.wav": "4"})
        ['a.wav is gone', 'b.wav has changed', 'c.wav is new']
    """
    gone, new = before.keys() - now.keys(), now.keys() - before.keys()
    changed = {name for name in before.keys() & now.keys() if before[name] != now[name]}
    return sorted(
        f"{name} {what}"
        for what, names in (("is gone", gone), ("is new", new), ("has changed", changed))
        for name in names
    )


def read_checkpoint(file: Path, *, weights_only: bool = True) -> Any:
    """What ``torch.save`` put into a file, on the CPU.

    Raises:
        InputError: If the file is damaged.
    """
    with restoring(file):
        with ZipFile(file) as archive:  # torch would not notice a changed byte
            if archive.testzip() is not None:
                raise BadZipFile
        return torch.load(file, map_location="cpu", weights_only=weights_only)


@contextmanager
def restoring(file: Path) -> Iterator[None]:
    """Whatever goes wrong with the content of a checkpoint means that it is damaged.

    Raises:
        InputError: For any error but a missing permission.
    """
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:  # content may be of any kind
        raise InputError(f"{file} is damaged; {AFRESH}, or remove it") from error


@contextmanager
def folder_lock(root: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder; a process that dies lets go of it.

    Args:
        root: The folder, made if needed.

    Raises:
        ConfigurationError: If another process is at work there, or nothing can be written there.
    """
    check_place(root)
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigurationError(
            f"another process is writing to {root}; let it end, or choose another folder (--out); "
            f"if there is none, remove {root / '.lock'}"
        ) from None
    except NotImplementedError:  # a file system without locks, as of some clusters
        yield
        return
    try:
        yield
    finally:
        (root / ".lock").unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # they are not empty, if anything came of it
            for folder in made:
                folder.rmdir()


def discard(root: Path) -> None:
    """Remove the files of an earlier run but ``config.json``; what else is there stays.

    Args:
        root: The folder.
    """
    discard_drafts(root)
    for file in _left(root):
        file.unlink()
    for name in FOLDERS:
        with suppress(OSError):  # it is not there, or somebody else's files are in it
            (root / name).rmdir()


def discard_drafts(root: Path) -> None:
    """Remove what a run that was killed had not written to the end.

    Args:
        root: The folder; drafts of anything else stay.
    """
    for folder in (root, *(root / name for name in FOLDERS)):
        for draft in folder.glob(".*"):
            name = drafted(draft)
            file = (folder / (name or "")).relative_to(root).as_posix()
            if name and any(fnmatch(file, pattern) for pattern in (CONFIG, *LEFT_BY_A_RUN)):
                draft.unlink(missing_ok=True)


def _left(root: Path) -> list[Path]:
    return [file for pattern in LEFT_BY_A_RUN for file in sorted(root.glob(pattern))]


def _holds_a_run(root: Path) -> bool:
    """Whether ``config.json`` is ours: other programs have files of that name."""
    if not (root / CONFIG).is_file():
        return False
    try:
        config = read_json(root / CONFIG)
    except InputError:  # damaged: whoever goes on with it will be told
        return True
    return isinstance(config, Mapping) and "task" in config
