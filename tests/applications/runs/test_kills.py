"""A run killed at any time ends, resumed, bit for bit as one that was left alone."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from multipath.errors import ConfigurationError
from tests import ROOT
from tests.applications.command import call, refused
from tests.applications.tiny import use_tiny_presets

from .cases import RUNS, content
from .kills import PROGRAMS, result

pytestmark = pytest.mark.slow  # they train, search or start processes

CHECKPOINTS = {"match": "checkpoints/last.ckpt", "resynthesis": "checkpoint.pt"}


def kill(program, folder, first):
    done = subprocess.run(
        [sys.executable, "-m", "tests.applications.runs.kills", program, folder, str(first)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each moment is resumed in a fork")
@pytest.mark.parametrize("program", PROGRAMS)
def test_killed_at_any_change_of_a_file(program, tmp_path):
    assert re.fullmatch(r"resumed [1-9]\d*\n", kill(program, tmp_path, 0))  # no difference


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each moment is resumed in a fork")
@pytest.mark.parametrize("program", sorted(PROGRAMS.keys() - {"pnp"}))  # which ends as match does
def test_killed_at_the_last_changes_with_all_that_is_written_in_the_end(program, tmp_path):
    assert kill(program, tmp_path, -4) == "resumed 4\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    for name, do in RUNS.items():
        do(root / name)
    return root


@pytest.mark.parametrize("name", RUNS)
def test_equal_runs_are_equal_files_but_for_times(name, finished, tmp_path):
    RUNS[name](tmp_path / "again")
    assert result(tmp_path / "again") == result(finished / name)


@pytest.mark.parametrize("name", RUNS)
def test_a_finished_run_may_be_resumed(name, finished, tmp_path):
    folder = shutil.copytree(finished / name, tmp_path / "run")
    before = content(folder)
    (folder / CHECKPOINTS[name]).touch()  # as if killed before it was removed
    (folder / ".summary.7.draft.json").touch()
    RUNS[name](folder, resume=True)
    assert content(folder) == before


def test_a_retry_ends_with_success_and_one_line(finished, tmp_path, capsys, monkeypatch):
    use_tiny_presets(monkeypatch)
    folder = shutil.copytree(finished / "match", tmp_path / "run")
    before = content(folder)
    command = "match", "chirplet", "--loss=scrapl", "--resume", "--out", folder
    code, out, error = call(capsys, *command, "--steps=8")
    assert (code, error) == (0, "")
    line = f"{folder} holds a finished run, and nothing is left to do: {folder / 'report.html'}\n"
    assert out == line
    assert re.search(
        "other settings: training.steps was 8, is 9$", refused(capsys, *command, "--steps=9")
    )
    assert content(folder) == before


def test_a_finished_run_is_not_begun_again_by_mistake(finished):
    with pytest.raises(ConfigurationError, match="holds a finished run; choose another folder"):
        RUNS["match"](finished / "match")
