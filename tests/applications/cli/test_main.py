"""The command line as a whole: errors in one line, interruptions, help, lists."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from io import StringIO

import pytest
import soundfile
import torch

import multipath
from multipath.applications.cli import main as cli
from multipath.applications.cli.commands import COMMANDS
from multipath.applications.matching.objectives import LOSSES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["match", "chirplet", "--loss", "nonsense"], "choose one of scrapl"),
        (["paths", "--preset", "nonsense"], "choose one of quick, paper"),
        (["paths", "--task", "nonsense"], "'nonsense'; there are amchirp, chirplet, drum"),
        (["match", "piano"], "announces tasks called 'piano'; there are amchirp, chirplet"),
        (["importance", "chirplets"], "called 'chirplets'; did you mean chirplet"),
        (["match", "chirplet", "--lr", "x"], 'unable to convert "x" into float'),
        (["match", "chirplet", "--colour", "x"], "Unknown option: --colour."),
        (["match", "chirplet", "--steps"], "--steps requires an argument. (--help lists"),
        (["mach", "chirplet"], 'Did you mean "match"?'),
        (["match", "chirplet", "--resume", "--out", "nowhere"], "nothing to resume"),
    ],
)
def test_user_errors_are_one_line_and_exit_code_2(arguments, message, call):
    code, _, err = call(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ([], "the same command begins again"),
        (["config.json"], "the same command with --resume goes on"),
        (["config.json", "summary.json"], "the same command begins again"),  # yet to be discarded
    ],
)
def test_interruption_has_its_exit_code_and_says_how_to_go_on(
    files, hint, tmp_path, call, monkeypatch
):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for name in files:
        (tmp_path / name).write_text('{"task": "mine"}')
    monkeypatch.setattr("multipath.applications.matching.train.run", interrupted)
    code, _, err = call("match", "chirplet", "--out", str(tmp_path))
    assert code == 130
    assert err.splitlines()[-1] == f"multipath: interrupted; {hint}"


def test_interruption_of_any_command_is_said(call, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("multipath.applications.reports.page.write_comparison", interrupted)
    assert call("report", "run") == (130, "", "multipath: interrupted\n")


@pytest.mark.parametrize("when", ["write", "flush"])
def test_a_reader_that_has_seen_enough_is_no_error(when, capsys, monkeypatch):
    def closed(*_):
        raise BrokenPipeError(32, "Broken pipe")

    stream = StringIO()
    setattr(stream, when, closed)
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as ended:
        cli.main(["list"])
    assert ended.value.code == 141
    assert capsys.readouterr().err == ""


def test_a_missing_extra_is_named_with_its_remedy(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "multipath.applications.matching.train", None)
    monkeypatch.delitem(sys.modules, "multipath.applications.matching.train")
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.setitem(sys.modules, "lightning", None)
    code, _, err = call("match", "chirplet", "--out", "unused")
    assert code == 2
    assert "lightning" in err
    assert "pip install 'multipath-loss[applications]'" in err


def test_bugs_keep_their_traceback(monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("multipath.applications.matching.train.run", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main(["match", "chirplet"])


def test_list_names_every_choice(call):
    code, out, _ = call("list")
    assert code == 0
    for name in (*LOSSES, "fast-fast", "chirplet quick", "granular paper"):
        assert name in out
    losses = out.partition("\nlosses\n")[2].partition("\ntasks")[0].splitlines()
    places = {
        line.index(row.description) for line, row in zip(losses, LOSSES.values(), strict=True)
    }
    assert len(places) == 1  # a column


def test_paths_prints_the_table(call):
    code, out, _ = call("paths", "--task", "granular", "--preset", "paper")
    assert code == 0
    assert "rate" in out.splitlines()[0]
    assert len(out.splitlines()) == 316  # a heading and 315 paths


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["match", "tr808"], ["resynthesize"]])
def test_help_imports_nothing_slow(words):
    script = (
        "import sys\n"
        "from multipath.applications.cli import main as cli\n"
        f"try:\n    cli.main([*{words}, '--help'])\nexcept SystemExit:\n    pass\n"
        "slow = {'lightning', 'nnAudio', 'matplotlib', 'soundfile'} & set(sys.modules)\n"
        "sys.exit(f'imported {slow}' if slow else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: multipath" in done.stdout


def test_version(call):
    assert call("--version") == (0, f"multipath {multipath.__version__}\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense"])
def test_pictures_are_drawn_whatever_backend_a_notebook_hands_down(backend, tmp_path):
    sounds = torch.sin(0.3 * torch.arange(512.0)), torch.sin(0.4 * torch.arange(512.0))
    for name, sound in zip("ab", sounds, strict=True):
        soundfile.write(tmp_path / f"{name}.wav", sound.numpy(), 8000)
    command = ["distance", "a.wav", "b.wav", "--plot", "picture.png"]
    found = subprocess.run(
        [sys.executable, "-m", "multipath", *command],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "Traceback" not in found.stderr
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_what_the_docstring_of_a_command_says(name):
    module, _, function = COMMANDS[name].place.partition(":")
    command = getattr(import_module(f"multipath.applications.cli.{module}"), function)
    assert COMMANDS[name].help == command.__doc__.partition("\n")[0]


def test_help_and_version_are_instant():
    """Torch takes seconds to import, and so do most packages that build on it."""
    code = (
        "import sys\n"
        "from multipath.applications.cli.main import main\n"
        "try:\n    main([sys.argv[1]])\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'matplotlib', 'lightning'} & {*sys.modules}))\n"
    )
    for option in ("--help", "--version"):
        ended = subprocess.run(
            [sys.executable, "-c", code, option], capture_output=True, text=True, check=True
        )
        assert ended.stdout.splitlines()[-1] == "[]"
