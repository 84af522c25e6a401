"""Damaged files, full disks, interruptions: one line says what to do, and nothing is lost."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest
import soundfile
import torch
from lightning.pytorch import Callback

from multipath._internal import files as _files
from multipath.applications.audio.files import read_audio, write_audio
from multipath.applications.matching.callbacks import WholeCheckpoints
from multipath.applications.matching.train import run
from multipath.applications.reports.runs import read_run
from multipath.applications.runs.files import write_tensors
from multipath.applications.runs.folders import RunFolder, folder_lock
from multipath.errors import ConfigurationError, InputError
from tests.applications.command import refused
from tests.applications.tiny import use_tiny_presets
from tests.runs_code import RunsCode

from .cases import MATCH, RUNS, TONE, content, do_resynthesis

pytestmark = pytest.mark.slow  # they train, search or start processes


@pytest.fixture(autouse=True)
def tiny_presets(monkeypatch):
    use_tiny_presets(monkeypatch)


def without_report(monkeypatch):
    monkeypatch.setattr("multipath.applications.matching.train.write_report", lambda *_: None)
    monkeypatch.setattr("multipath.applications.resynthesis.run._write_report", lambda *_: None)


@contextmanager
def small_disk(largest: int):
    """No file may be larger than so many bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def interrupt_at(monkeypatch, write: int):
    """Ctrl-C just before the file of this number takes its place; returns how many were written."""
    done = []

    def replace(draft, file):
        if len(done) == write:
            raise KeyboardInterrupt
        done.append(file)
        os.rename(draft, file)

    monkeypatch.setattr(_files.os, "replace", replace)
    return done


def assert_readable(folder: Path) -> None:
    for file in folder.rglob("*"):
        assert ".draft" not in file.name
        if file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix in (".pt", ".ckpt"):
            torch.load(file, weights_only=False)
        elif file.suffix == ".wav":
            soundfile.read(file)
        elif file.suffix == ".csv":
            assert list(csv.DictReader(file.read_text().splitlines()))


# Files


@pytest.mark.parametrize("part", [0.0, 0.3, 0.999, None])
def test_a_checkpoint_that_was_cut_off_or_changed_is_damaged(tmp_path, part):
    files = RunFolder(tmp_path)
    write_tensors(files.checkpoint, torch.zeros(2000))
    with files.restoring() as state:
        assert state.shape == (2000,)
    damaged = bytearray(files.checkpoint.read_bytes())
    if part is None:
        damaged[len(damaged) // 2] ^= 0xFF
    else:
        del damaged[int(part * len(damaged)) :]
    files.checkpoint.write_bytes(damaged)
    message = "is damaged; start again with --overwrite, or remove it"
    with pytest.raises(InputError, match=message), files.restoring():
        pass


def test_a_checkpoint_that_runs_code_is_damaged(tmp_path):
    files = RunFolder(tmp_path)
    write_tensors(files.checkpoint, {"moving": RunsCode(tmp_path / "ran")})
    with pytest.raises(InputError, match="is damaged"), files.restoring():
        pass
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_stays_when_its_successor_does_not_fit(tmp_path):
    file = tmp_path / "made" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, file)
    with small_disk(5000), pytest.raises(OSError, match=r"last\.ckpt"):
        WholeCheckpoints().save_checkpoint({"step": 2, "weights": torch.zeros(5000)}, file)
    assert torch.load(file) == {"step": 1}
    assert os.listdir(file.parent) == ["last.ckpt"]


# Folders


@pytest.mark.parametrize("other", RUNS)
@pytest.mark.parametrize("name", RUNS)
def test_overwriting_moves_the_earlier_run_aside(name, other, runs, tmp_path, caplog, monkeypatch):
    without_report(monkeypatch)
    folder = Path(shutil.copytree(runs / f"{other} finished", tmp_path / "run"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "song.wav").write_text("mine")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "audio").mkdir(exist_ok=True)
    (folder / "audio" / "song.wav").write_text("mine, too")
    earlier = content(folder)
    RUNS[name](folder, overwrite=True)
    assert f"the earlier run is now in {folder / 'previous-1'}" in caplog.text
    assert content(folder / "previous-1") == earlier
    assert (folder / "previous-1" / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "song.wav").read_text() == "mine"
    new = {name for name in content(folder) if not name.startswith("previous-")}
    RUNS[name](tmp_path / "fresh")
    events = {name for name in (*new, *content(tmp_path / "fresh")) if "events" in name}
    assert new - events == set(content(tmp_path / "fresh")) - events
    RUNS[other](folder, overwrite=True)
    assert set(content(folder / "previous-2")) == new
    assert content(folder / "previous-1") == earlier


@pytest.mark.parametrize("state", ["", " finished"])
@pytest.mark.parametrize("name", RUNS)
def test_interrupted_while_an_earlier_run_is_moved_nothing_is_lost(
    name, state, runs, tmp_path, monkeypatch
):
    without_report(monkeypatch)
    earlier = Path(shutil.copytree(runs / f"{name}{state}", tmp_path / "earlier"))
    (earlier / "a.txt").write_text("mine")
    entries = len(os.listdir(earlier))
    expected = RUNS[name](tmp_path / "whole")
    rename = Path.rename
    for number in (0, 1, entries - 1, entries):
        folder = Path(shutil.copytree(earlier, tmp_path / str(number)))
        moved = []

        def move(file, target, moved=moved, number=number):
            if len(moved) == number:
                raise KeyboardInterrupt
            moved.append(rename(file, target))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", move)
            interrupt_at(patch, 0)  # the first file of the new run, where all could be moved
            with pytest.raises(KeyboardInterrupt):
                RUNS[name](folder, overwrite=True)
        assert len(moved) == number
        assert state or all(file.name.startswith("checkpoint") for file in moved[:1])
        left = {file.removeprefix("previous-1/"): text for file, text in content(folder).items()}
        assert left == content(earlier)
        option = "resume" if RunFolder(folder).unfinished else "overwrite"
        assert RUNS[name](folder, **{option: True}) == expected
        if option == "overwrite":
            assert set(content(earlier).values()) <= set(content(folder).values())


# Interruptions


@pytest.mark.parametrize("name", RUNS)
def test_interrupted_at_any_write_a_run_goes_on(name, tmp_path, monkeypatch):
    without_report(monkeypatch)
    written = interrupt_at(monkeypatch, -1)
    expected = RUNS[name](tmp_path / "whole")
    for write in range(len(written)):
        folder = tmp_path / str(write)
        interrupt_at(monkeypatch, write)
        with pytest.raises(KeyboardInterrupt):
            RUNS[name](folder)
        assert_readable(folder)
        assert not (folder / "summary.json").exists()
        interrupt_at(monkeypatch, -1)
        folder.mkdir(exist_ok=True)
        (folder / ".metrics.1.draft.csv").write_text("left by a killed process")
        begun = (folder / "config.json").exists()
        assert begun == (write > 0)
        assert RUNS[name](folder, resume=begun) == expected
        assert_readable(folder)
        assert not (folder / "previous-1").exists()
        table = "metrics.csv"
        assert (folder / table).read_text() == (tmp_path / "whole" / table).read_text()


# Full disks


@pytest.mark.parametrize(
    ("name", "largest", "file"),
    [
        ("match", 100, "config.json"),
        ("match", 3000, "checkpoints/last.ckpt"),
        ("resynthesis", 100, "config.json"),
        ("resynthesis", 1000, "draws.csv"),
        ("resynthesis", 30000, "checkpoint.pt"),
    ],
)
def test_a_full_disk_names_the_file_and_the_run_goes_on(name, largest, file, tmp_path, monkeypatch):
    without_report(monkeypatch)
    with small_disk(largest), pytest.raises(OSError, match="File too large") as raised:
        RUNS[name](tmp_path / "run")
    assert raised.value.filename == str(tmp_path / "run" / file)
    assert_readable(tmp_path / "run")
    RUNS[name](tmp_path / "run", resume=file != "config.json")


def test_a_report_that_does_not_fit_leaves_a_run_to_go_on_with(tmp_path, monkeypatch):
    with small_disk(60000), pytest.raises(OSError, match="File too large") as raised:
        run(MATCH.changed(loss="mss-log", channels=(2, 2, 2)), tmp_path)
    assert Path(raised.value.filename).suffix in (".png", ".ckpt")
    assert_readable(tmp_path)
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (28, "no space left on device; make room, then give the command again"),
        (13, "permission denied; choose another place, or ask for the permission"),
        (30, "read-only file system; choose a place that can be written to"),
        (36, "file name too long; choose a shorter name"),
        (5, "input/output error; check the name, the folder and its permissions"),
    ],
)
def test_errors_of_the_system_come_with_a_remedy(number, remedy, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise OSError(number, os.strerror(number), str(tmp_path / "a"))

    monkeypatch.setattr("multipath.applications.reports.page.write_comparison", fail)
    assert refused(capsys, "report", "run") == f"multipath: {tmp_path / 'a'}: {remedy}" + (
        " (with --resume, where it has it)" if number == 28 else ""
    )


# Folders that are removed


class Remove(Callback):
    """Removes a folder after the validation of a step, before the checkpoint is written."""

    def __init__(self, folder, step):
        self.folder, self.step = folder, step

    def on_validation_end(self, trainer, *_):
        self.after(trainer.global_step)

    def after(self, step, *_):
        if step == self.step:
            shutil.rmtree(self.folder)


@pytest.mark.parametrize(("name", "step"), [*product(("match",), (4, 8)), ("resynthesis", 6)])
def test_a_run_whose_folder_is_removed_fails(name, step, tmp_path, monkeypatch):
    without_report(monkeypatch)
    folder = tmp_path / "run"
    remove = Remove(folder, step)
    options = {"callbacks": [remove]} if name == "match" else {"progress": remove.after}
    with pytest.raises((OSError, InputError), match="run"):
        RUNS[name](folder, **options)
    assert not content(tmp_path)


# Damaged runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An unfinished and a finished run of either kind."""
    root = tmp_path_factory.mktemp("runs")
    for name, do in RUNS.items():
        do(root / f"{name} finished")
        with pytest.MonkeyPatch.context() as patch:
            without_report(patch)
            interrupt_at(patch, {"match": 6, "resynthesis": 9}[name])
            with pytest.raises(KeyboardInterrupt):
                do(root / name)
    return root


MATCH_COMMAND = "match", "chirplet", "--loss=scrapl", "--steps=8"
AFRESH = "is damaged.*; start again with --overwrite"


@pytest.mark.parametrize("part", [0.0, 0.3, 0.999])
@pytest.mark.parametrize(
    ("name", "file", "report", "resume"),
    [
        ("match", "config.json", r"config\.json is damaged .*; make it again", AFRESH),
        ("match", "checkpoints/last.ckpt", None, AFRESH),
        ("match finished", "summary.json", r"summary\.json is damaged", AFRESH),
        ("resynthesis", "config.json", r"config\.json is damaged", AFRESH),
        ("resynthesis", "checkpoint.pt", None, AFRESH),
        ("resynthesis finished", "summary.json", r"summary\.json is damaged", AFRESH),
    ],
)
def test_damaged_files_are_named_and_nothing_changes(
    name, file, report, resume, part, runs, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(runs / name, tmp_path / "run"))
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: min(int(part * len(whole)), len(whole) - 2)])
    before = content(folder)
    if report is None:
        read_run(folder)
    else:
        assert re.search(report, refused(capsys, "report", folder))
    if name.startswith("match"):
        assert re.search(resume, refused(capsys, *MATCH_COMMAND, "--resume", "--out", folder))
    else:
        with pytest.raises((InputError, ConfigurationError), match=resume):
            do_resynthesis(folder, resume=True)
    assert content(folder) == before


@pytest.mark.parametrize("part", [0.0, 0.002, 0.3, 0.99])
@pytest.mark.parametrize("sound", ["target.wav", "resynthesis.wav"])
def test_a_damaged_sound_is_named_in_the_comparison(sound, part, runs, tmp_path, capsys):
    folder = Path(shutil.copytree(runs / "resynthesis finished", tmp_path / "run"))
    whole = (folder / sound).read_bytes()
    (folder / sound).write_bytes(whole[: int(part * len(whole))])
    line = refused(capsys, "report", folder, "--out", tmp_path / "page.html")
    assert re.search(rf"{sound}: (this is not a readable|the recording is cut off)", line)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["metrics.csv", "draws.csv"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_tables_that_were_cut_off_are_read_as_far_as_they_go(name, part, runs, tmp_path):
    for run_name in ("match", "resynthesis"):
        folder = Path(shutil.copytree(runs / run_name, tmp_path / run_name))
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(part * len(whole))])
        found, complete = read_run(folder), read_run(runs / run_name)
        assert list(found.curve.items()) == list(complete.curve.items())[: len(found.curve)]
        assert list(found.draws) == list(complete.draws)[: len(found.draws)]


# Commands given what they cannot use


def test_output_that_cannot_be(tmp_path, capsys, monkeypatch, runs):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("folder").mkdir()
    run_folder = runs / "match finished"
    for arguments, message in (
        ((*MATCH_COMMAND, "--out", "file"), "file is a file; choose another place"),
        ((*MATCH_COMMAND, "--out", "file/run"), "file is a file; choose another place"),
        ((*MATCH_COMMAND, "--out", "x" * 300), "file name too long; choose a shorter name"),
        (("report", run_folder, "--out", "folder"), "folder: is a directory; a file is to be"),
        (("report", run_folder, "--out", "file/a.html"), "file.*: a folder is needed there|file: "),
        (("importance", "chirplet", "--out", "folder", "--overwrite"), "folder is a folder; name"),
        (("importance", "chirplet", "--out", "file/a.pt"), "file is a file; choose another"),
        (("reproduce", "table2", "--out", "file"), "file is a file; choose another place"),
    ):
        assert re.search(message, refused(capsys, *arguments))
    assert content(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize(
    ("arguments", "before"),
    [
        ((*MATCH_COMMAND, "--out", ""), "--out"),
        ((*MATCH_COMMAND, "--out="), "--out"),
        (("reproduce", "table2", "--seeds", "0", "--out", ""), "--out"),
        (("report", ""), "report"),
        (("",), "multipath"),
    ],
)
def test_empty_text_is_no_value(arguments, before, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"expected a value after {before}, got empty text" in refused(capsys, *arguments)
    assert not list(tmp_path.iterdir())


def test_recordings_none_of_which_can_be_used(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        (tmp_path / f"BD {number}.wav").write_bytes(b"RIFF of a different kind")
    (tmp_path / "folder.wav").mkdir()
    line = refused(capsys, "match", "tr808", "--data", ".", "--loss=mss", "--out", "run")
    assert "at least 3 usable recordings are needed" in line
    assert line.endswith("got 0 of 5")
    assert not Path("run").exists()


def test_a_name_that_is_no_text(tmp_path):
    write_audio(tmp_path / "a.wav", TONE, 8192)
    try:
        os.rename(tmp_path / "a.wav", os.fsencode(tmp_path) + b"/\xff.wav")
    except OSError:
        pytest.skip("this file system takes text alone")
    waveform, rate = read_audio(tmp_path / os.fsdecode(b"\xff.wav"))
    assert waveform.equal(TONE)
    assert rate == 8192


# Two processes and one folder


@pytest.mark.parametrize("name", RUNS)
def test_one_process_at_a_time_writes_to_a_folder(tmp_path, name):
    folder = tmp_path / "run"
    with folder_lock(folder), pytest.raises(ConfigurationError, match="another process is writing"):
        RUNS[name](folder)
    assert not folder.exists()  # nothing came of it
    RUNS[name](folder)
    assert not (folder / ".lock").exists()
    draft = folder / ".metrics.1.draft.csv"
    draft.write_text("half of it")
    with folder_lock(folder), pytest.raises(ConfigurationError, match="another process is writing"):
        RUNS[name](folder, resume=True)
    assert draft.exists()


def test_a_killed_process_lets_go_of_its_folder(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from multipath.applications.runs.folders import folder_lock\n"
        "with folder_lock(Path(sys.argv[1])): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")]).returncode == 9
    assert (tmp_path / "run" / ".lock").exists()
    with folder_lock(tmp_path / "run"):
        pass
