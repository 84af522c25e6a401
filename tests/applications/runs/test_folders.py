"""What may be done with a folder: begin a run there, resume it, or move it aside."""

from __future__ import annotations

import json
import os

import pytest

from multipath.applications.runs.folders import RunFolder, check_place
from multipath.errors import ConfigurationError

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
