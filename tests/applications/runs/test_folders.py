"""What may be done with a folder: begin a run there, resume it, or move it aside."""

from __future__ import annotations

import errno
import json
import os
import shutil

import pytest

from multipath.applications.runs.folders import RunFolder, check_place, folder_lock, is_locked
from multipath.errors import ConfigurationError, InputError

from .cases import RUNS, content


@pytest.mark.parametrize(
    ("files", "resume", "overwrite", "message"),
    [
        ((), False, False, None),
        ((), True, False, "nothing to resume: .* holds no run; start one without --resume"),
        ((), False, True, None),
        (("config.json",), False, False, "unfinished run; go on with --resume, or move it aside"),
        (("config.json",), True, False, None),
        (("config.json",), False, True, None),
        (("config.json",), True, True, "exclude each other"),
        (("config.json", "summary.json"), False, False, "holds a finished run; choose another"),
        (("config.json", "summary.json"), True, False, None),
        (("config.json", "summary.json"), False, True, None),
        (("config.json", "target.wav"), False, True, None),
        ((".hidden", "previous-1/config.json"), False, False, None),
        (("previous-1/config.json",), True, False, "nothing to resume"),
        (("notes.txt",), False, False, r"holds no run, but notes\.txt; a run needs a folder of"),
        (("audio/song.wav", "summary.json"), False, True, "no run, but audio, summary.json; "),
    ],
)
def test_what_a_folder_allows(tmp_path, files, resume, overwrite, message):
    settings = {"task": "resynthesis"}
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(settings))
    folder = RunFolder(tmp_path)
    if message is None:
        assert not folder.check(settings, resume=resume, overwrite=overwrite)  # no checkpoint
    else:
        with pytest.raises(ConfigurationError, match=message):
            folder.check(settings, resume=resume, overwrite=overwrite)


def test_places_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/in", "file/in/it"):
        with pytest.raises(ConfigurationError, match="file is a file; choose another place"):
            check_place(tmp_path / folder)
    check_place(tmp_path / "new" / "folder")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigurationError, match=rf"{tmp_path} may not be written to; choose"):
        check_place(tmp_path / "new" / "folder")


def test_settings_may_differ_where_it_does_not_matter(tmp_path):
    class Renamed(RunFolder):
        may_change = ("source", "group.z", "other.x")

    def check(source, **group):
        now = {"task": "mine", "source": source, "group": group}
        return Renamed(tmp_path).check(now, resume=True, overwrite=False)

    before = {"task": "mine", "source": "a", "group": {"x": 1, "y": [2, 3], "z": 4}}
    (tmp_path / "config.json").write_text(json.dumps(before))
    check("b", x=1, y=(2, 3), z=5)
    with pytest.raises(ConfigurationError, match=r"with other settings: group\.x was 1, is 2$"):
        check("b", x=2, y=(2, 3), z=5)


def test_drafts_of_the_run_alone_are_discarded(tmp_path):
    kept = {"sub/.last.7.draft.pt", ".notes.7.draft.txt", ".page.7.draft.html", "config.json"}
    kept |= {".summary.draft.json", ".summary.7.draft.json.txt", "previous-1/.draws.7.draft.csv"}
    gone = {".checkpoint.7.draft.pt", ".summary.7.draft.json", ".config.12.draft.json"}
    settings = {"task": "mine"}
    for name in kept | gone:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(settings))
    RunFolder(tmp_path).check(settings, resume=True, overwrite=False)
    assert set(content(tmp_path)) == kept


@pytest.mark.parametrize("name", RUNS)
def test_files_of_somebody_else_are_refused(name, tmp_path):
    files = {"report.html": b"mine", "config.json": b'{"model_type": "bert"}'}
    for file, text in files.items():
        (tmp_path / file).write_bytes(text)
        for overwrite in (False, True):
            with pytest.raises(ConfigurationError, match=r"no run, but .*report\.html; a run"):
                RUNS[name](tmp_path, overwrite=overwrite)
    assert content(tmp_path) == files


# Links


class WithCheckpoints(RunFolder):
    def __init__(self, root):
        super().__init__(root)
        self.checkpoint = root / "checkpoints" / "last.ckpt"


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("last.ckpt", ".last.7.draft.ckpt"):
        (folder / name).write_text("mine")
    return folder


@pytest.mark.parametrize("finished", [False, True])
def test_nothing_is_removed_from_behind_a_link(tmp_path, elsewhere, finished):
    settings = {"task": "mine"}
    root = tmp_path / "run"
    folder = WithCheckpoints(root)
    folder.begin(settings, resume=False)
    (root / "checkpoints").symlink_to(elsewhere)
    (root / ".config.7.draft.json").symlink_to(elsewhere / "last.ckpt")
    if finished:
        (root / "summary.json").write_text("{}")
    before = content(elsewhere)
    folder.check(settings, resume=True, overwrite=False)
    folder.finish({"error": 1.0})
    assert content(elsewhere) == before
    assert not os.path.lexists(root / ".config.7.draft.json")  # the link itself was a draft
    folder.begin(settings, resume=False)
    assert content(elsewhere) == before
    assert (root / "previous-1" / "checkpoints").is_symlink()


def test_a_run_may_be_behind_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    folder = WithCheckpoints(tmp_path / "run")
    with folder_lock(folder.root):
        folder.begin({"task": "mine"}, resume=False)
        folder.checkpoint.parent.mkdir()
        folder.checkpoint.touch()
        folder.finish({"error": 1.0})
    assert (tmp_path / "run").is_symlink()
    assert set(content(tmp_path / "disk")) == {"config.json", "summary.json"}


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=r"run/\.lock"), folder_lock(tmp_path / "run"):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


# Locks


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_there_is_one_warning(tmp_path, monkeypatch, caplog, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    root = tmp_path / "a\nrun"
    with folder_lock(root):
        (root / "result").touch()
        assert not is_locked(root)
    assert set(content(root)) == {"result"}
    (record,) = caplog.records
    assert record.getMessage() == (
        rf"{tmp_path}/a\nrun has no locks: let no other process write to it"
    )


def test_other_errors_of_locks_are_errors(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match="Input/output error"), folder_lock(tmp_path):
        pass


def test_a_lock_is_waited_for(tmp_path, monkeypatch):
    """Its file is removed by the one that releases it, which leaves those that wait nothing."""
    first, said = folder_lock(tmp_path), []
    first.__enter__()
    looks = iter(range(3))

    def sleep(_):
        assert is_locked(tmp_path)
        if next(looks) == 2:
            first.__exit__(None, None, None)

    monkeypatch.setattr("multipath.applications.runs.folders.time.sleep", sleep)
    with folder_lock(tmp_path, lambda: said.append("waiting")):
        assert is_locked(tmp_path)
        with pytest.raises(ConfigurationError, match="another process is"), folder_lock(tmp_path):
            pass
    assert said == ["waiting"]
    assert not is_locked(tmp_path)
    assert content(tmp_path) == {}


# Folders that are gone


def test_a_run_whose_folder_was_removed_has_failed(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin({"task": "mine"}, resume=False)
    shutil.rmtree(folder.root)
    folder.root.mkdir()  # by whatever still writes there
    with pytest.raises(InputError, match=r"was removed or changed during the run: config\.json"):
        folder.finish({"error": 1.0})
    assert content(folder.root) == {}
