"""A folder with one run: when it may begin or go on there, and the files that every run has."""

from __future__ import annotations

import errno
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile, ZipFile

import torch

from multipath._internal.files import drafted
from multipath._internal.names import visible
from multipath.errors import ConfigurationError, InputError

from .files import read_json, write_json
from .settings import differences

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "RunFolder",
    "changed_files",
    "check_new_file",
    "check_place",
    "folder_lock",
    "is_locked",
    "taken",
]

log = logging.getLogger(__name__)

AFRESH = "start again with --overwrite"
PREVIOUS = "previous-"
"""Folders that begin so hold what earlier runs left in the folder of a run."""
LOCK = ".lock"
LOCKLESS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
"""What file systems say that have no locks, as those of some clusters."""
LOOK = 0.2
"""Seconds between two looks at a lock that is waited for."""


class RunFolder:
    """The files of a run, and what may be done with a folder that already holds one.

    A run is there from ``config.json`` on, and has finished once there is ``summary.json``. It has
    the folder to itself: it neither begins beside files that are no run's nor deletes any, and an
    earlier run is moved aside, with whatever else is in the folder. The folder may be a link; links
    inside are moved as links, and nothing is removed from where they lead.

    Args:
        root: The folder, which need not exist.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as root:
        ...     files = RunFolder(Path(root))
        ...     going_on = files.check({"task": "mine", "steps": 5}, resume=False, overwrite=False)
        ...     files.begin({"task": "mine", "steps": 5}, resume=going_on)
        ...     files.check({"task": "mine", "steps": 6}, resume=True, overwrite=False)
        Traceback (most recent call last):
        multipath.errors.ConfigurationError: cannot resume ... other settings: steps was 5, is 6
    """

    may_change: ClassVar[tuple[str, ...]] = ()
    """Settings that a resumed run need not share: ``name``, or ``group.name`` in a group."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.json"
        self.metrics = root / "metrics.csv"
        self.draws = root / "draws.csv"
        self.summary = root / "summary.json"
        self.report = root / "report.html"
        self.checkpoint = root / "checkpoint.pt"

    @property
    def unfinished(self) -> bool:
        """Whether the folder holds a run that can be resumed."""
        return self._holds_a_run() and not self.finished

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end; all that may be left is to :meth:`clear_up`."""
        return self.summary.exists()

    def check(self, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> bool:
        """Refuse to begin a run where there is something else, or to go on where there is no run.

        A finished run may be resumed: there is nothing left to do but to :meth:`clear_up`.

        Args:
            settings: Those of the run that is to begin or to go on.
            resume: Go on with an interrupted run.
            overwrite: Move an earlier run aside and begin.

        Returns:
            Whether there is a checkpoint to go on from.

        Raises:
            ConfigurationError: If neither ``resume`` nor ``overwrite`` says what to do with the run
                that the folder holds, or both do; if there is nothing to resume, or it has other
                settings; or if the folder holds files but no run, so that they may be anybody's.
            InputError: If ``config.json`` is damaged.
        """
        if resume and overwrite:
            raise ConfigurationError("resume and overwrite exclude each other; choose one")
        taken = self._holds_a_run()
        if not taken and (foreign := self._held()):
            raise ConfigurationError(
                f"{self.root} holds no run, but {', '.join(file.name for file in foreign[:3])}; a "
                "run needs a folder of its own: choose another one (--out), or move that away"
            )
        if taken and self.finished and not (resume or overwrite):
            raise ConfigurationError(
                f"{self.root} holds a finished run; choose another folder (--out), or move the run "
                "aside with --overwrite"
            )
        if taken and not (resume or overwrite):
            raise ConfigurationError(
                f"{self.root} holds an unfinished run; go on with --resume, or move it aside with "
                "--overwrite"
            )
        if resume and not taken:
            raise ConfigurationError(
                f"nothing to resume: {self.root} holds no run; start one without --resume"
            )
        if resume:
            self._check_settings(settings)
        self._discard_drafts()
        if resume and not (self.finished or self.checkpoint.exists()):
            log.warning("no checkpoint in %s yet: starting from the beginning", visible(self.root))
        return resume and self.checkpoint.exists()

    def begin(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Write the settings down, after moving aside what an earlier run left.

        Args:
            settings: Those of the run.
            resume: Whether it is the same run, interrupted before its first checkpoint: its files
                stay until they are written anew.
        """
        if not resume:
            self._move_aside()
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(self.config, settings)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, which says that the run has finished, and drop the checkpoint.

        Raises:
            InputError: If the folder is no longer that of the run.
        """
        if not self.config.exists():
            raise InputError(
                f"{self.root} was removed or changed during the run: {self.config.name} is gone; "
                "start again"
            )
        write_json(self.summary, summary)
        self.clear_up()

    def clear_up(self) -> dict[str, Any]:
        """Drop the checkpoint of a finished run, which may have had no time for it.

        Returns:
            The summary.

        Raises:
            InputError: If ``summary.json`` is damaged; then nothing is dropped.
        """
        summary = read_json(self.summary, remedy=AFRESH)
        if not self._leads_elsewhere(self.checkpoint.parent):
            self.checkpoint.unlink(missing_ok=True)
        return summary

    @contextmanager
    def restoring(self) -> Iterator[Any]:
        """Read the checkpoint; whatever goes wrong with its content means that it is damaged.

        Nothing that it holds is run.

        Yields:
            What ``torch.save`` has put into the checkpoint, on the CPU.

        Raises:
            InputError: For any error but a missing permission.
        """
        try:
            with ZipFile(self.checkpoint) as archive:  # torch would not notice a changed byte
                if archive.testzip() is not None:
                    raise BadZipFile
            yield torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except PermissionError:
            raise
        except Exception as error:  # the content may be of any kind
            raise InputError(f"{self.checkpoint} is damaged; {AFRESH}, or remove it") from error

    def _held(self) -> list[Path]:
        """What a run would meet here; earlier runs that were moved aside and hidden files stay."""
        if not self.root.is_dir():
            return []
        return sorted(
            each for each in self.root.iterdir() if not each.name.startswith((".", PREVIOUS))
        )

    def _holds_a_run(self) -> bool:
        """Whether ``config.json`` is that of a run: other programs have files of that name."""
        if not self.config.is_file():
            return False
        try:
            return "task" in read_json(self.config)
        except InputError:  # damaged: whoever goes on with it will be told
            return True

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        before = read_json(self.config, remedy=f"{AFRESH}, or remove it")
        now = json.loads(json.dumps(settings))
        for path in self.may_change:
            *groups, name = path.split(".")
            for values in (before, now):
                for group in groups:
                    values = values.get(group, {})
                if isinstance(values, dict):  # a run of another kind may have no such group
                    values.pop(name, None)
        if changed := list(differences(before, now)):
            raise ConfigurationError(
                f"cannot resume {self.root} with other settings: {'; '.join(changed)}"
            )

    def _discard_drafts(self) -> None:
        """Remove what a run that was killed had not written to the end."""
        own = {file for file in vars(self).values() if file != self.root}
        for folder in {file.parent for file in own if not self._leads_elsewhere(file.parent)}:
            for draft in folder.glob(".*"):
                name = drafted(draft)
                if name is not None and folder / name in own:  # others may be writing theirs
                    draft.unlink(missing_ok=True)

    def _leads_elsewhere(self, folder: Path) -> bool:
        """Whether a folder of the run is a link: nothing is removed from behind it."""
        return folder != self.root and folder.is_symlink()

    def _move_aside(self) -> None:
        """Move all that an earlier run left into a folder of its own; links are moved as links."""
        if not (held := self._held()):
            return
        names = (self.root / f"{PREVIOUS}{number}" for number in count(1))
        aside = next(folder for folder in names if not os.path.lexists(folder))
        aside.mkdir()
        # Interrupted between two of them, this leaves a run to move aside or to begin again: it is
        # one as long as config.json is there, and without the checkpoint it does not go on halfway.
        first = {self.checkpoint, *self.checkpoint.parents}
        for each in sorted(held, key=lambda each: (each == self.config, each not in first)):
            each.rename(aside / each.name)
        log.warning("the earlier run is now in %s, with all that was beside it", visible(aside))


def check_place(folder: Path, option: str = "--out") -> None:
    """Refuse a folder that cannot be made or written to, before the work for it is done.

    Args:
        folder: The folder.
        option: The option that chooses another place, for the message.

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


def check_new_file(file: Path, option: str, *, overwrite: bool) -> None:
    """Refuse a file that cannot be made, or is there already, before the work for it is done.

    Args:
        file: The file.
        option: The option that chooses another one, for the message.
        overwrite: Whether an earlier file may be replaced.

    Raises:
        ConfigurationError: If it is refused.
    """
    if file.is_dir():
        raise ConfigurationError(f"{file} is a folder; name a file ({option})")
    check_place(file.parent, option)
    if file.exists() and not overwrite:
        raise taken(file, option)


def taken(file: Path, option: str) -> ConfigurationError:
    """What to say of a file that is there already.

    Args:
        file: The file.
        option: The option that chooses another one.
    """
    return ConfigurationError(
        f"{file} exists; choose another file ({option}), or replace it with --overwrite"
    )


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Say which files, known by digests of their content, have changed.

    Args:
        before: The digests at first, by the names of the files.
        now: The digests by now.

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


@contextmanager
def folder_lock(root: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Keep other processes from writing to a folder; a process that dies releases it.

    Where the file system has no locks, a warning is logged, and nothing is kept away.

    Args:
        root: The folder, made if needed.
        waiting: Called once before waiting for a process that is at work there. Without it nothing
            is waited for.

    Raises:
        ConfigurationError: If another process is at work there and is not waited for, or nothing
            can be written there.
    """
    check_place(root)
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    lock = None
    try:
        while (lock := _lock(root)) is None:
            if waiting is None:
                raise ConfigurationError(
                    f"another process is writing to {root}; wait for it to finish, or choose "
                    "another folder (--out)"
                )
            waiting()
            waiting = _nothing
            time.sleep(LOOK)
    except OSError as error:
        if error.errno not in LOCKLESS:
            raise
        log.warning("%s has no locks: let no other process write to it", visible(root))
    try:
        yield
    finally:
        if lock is not None:
            (root / LOCK).unlink(missing_ok=True)  # first: nobody else can hold it as yet
            os.close(lock)
        with suppress(OSError):  # they are not empty, if anything came of it
            for folder in made:
                folder.rmdir()


def is_locked(root: Path) -> bool:
    """Whether another process is at work in a folder, as far as its file system can tell."""
    if not (root / LOCK).exists():
        return False
    try:
        lock = _lock(root)
    except OSError:  # whoever needs the folder will be told
        return False
    if lock is not None:
        os.close(lock)
    return lock is None


def _lock(root: Path) -> int | None:
    """Lock a folder, until the descriptor that is returned is closed; None if another has it.

    Raises:
        OSError: If it cannot be locked; of ``LOCKLESS``, if no folder can be there.
    """
    if fcntl is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    while True:
        # whatever a link of this name leads to is no lock of ours
        descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except OSError as error:
            os.close(descriptor)
            if error.errno in LOCKLESS:
                with suppress(OSError):
                    (root / LOCK).unlink()
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            return None
        os.close(descriptor)  # the process that held it removed it meanwhile: it guards no more


def _nothing() -> None:
    """There is nothing more to say."""
