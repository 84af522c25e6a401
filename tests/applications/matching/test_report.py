"""Reports of runs, and the command line."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

import multipath
from multipath.applications.cli import main as cli
from multipath.applications.cli.console import show_summary
from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.objectives import LOSSES
from multipath.applications.matching.plots import plot_convergence, plot_estimates, plot_pairs
from multipath.applications.matching.presets import preset
from multipath.applications.matching.report import _write_pairs
from multipath.applications.matching.train import run
from tests.applications.tiny import TINY, TINY_GRANULAR, use_tiny_presets

TASK = TINY.changed(
    loss="mss-log",
    preset="<slow & fast>",  # must be escaped in the page
    steps=4,
    validate_every=2,
    dropout=0.0,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run")
    run(TASK, path)
    return path


def links(page: Path) -> list[str]:
    return re.findall(r'(?:src|href)="([^"]+)"', page.read_text())


@pytest.mark.slow
def test_the_page_links_to_files_that_exist(folder):
    found = links(folder / "report.html")
    assert len(found) >= 3 + 2 * 4 + 3
    assert all((folder / link).stat().st_size > 0 for link in found)
    assert not [link for link in found if ":" in link]  # nothing is loaded from elsewhere


def test_the_page_shows_the_numbers_of_the_run(folder):
    page = (folder / "report.html").read_text()
    summary = json.loads((folder / "summary.json").read_text())
    for error in (*summary["theta_error"].values(), *summary["untrained_error"].values()):
        assert f"{error:.0f}" in page
    assert "&lt;slow &amp; fast&gt;" in page
    assert "<slow" not in page
    assert "theta error, per mille" in page


def test_granular_pairs_have_the_same_grains(tmp_path):
    model = SoundMatching(TINY_GRANULAR)
    theta = model.batches.splits["test"].theta
    targets, reconstructions = _write_pairs(tmp_path, model, theta)
    torch.testing.assert_close(targets, reconstructions)


def test_sounds_are_playable_pairs_at_a_common_gain(folder):
    for i in range(4):
        target, rate = soundfile.read(folder / "audio" / f"{i}_target.wav")
        found, _ = soundfile.read(folder / "audio" / f"{i}_reconstruction.wav")
        assert rate == 8192
        assert len(target) == len(found) == 4096
        assert max(abs(target).max(), abs(found).max()) == pytest.approx(0.9, abs=0.05)


def test_convergence_plot_starts_at_the_untrained_error():
    rows = [{"step": 10.0, "theta": 100.0}, {"step": 20.0, "theta": 50.0}]
    axes = plot_convergence(rows, "mss", 240.0).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0, 240], [10, 100], [20, 50]]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["mss", "always the middle"]


def test_estimate_and_pair_plots_show_what_they_are_given():
    theta = torch.tensor([[1.0, 3.0], [2.0, 4.0]])
    figure = plot_estimates(theta, theta + 1, ("AM", "FM"), ("Hz", "octaves/s"))
    points = figure.axes[1].collections[0].get_offsets()
    assert points.tolist() == [[3.0, 4.0], [4.0, 5.0]]
    assert figure.axes[0].get_xlabel() == "true AM (Hz)"
    pictures = torch.arange(12.0).reshape(2, 2, 3)
    shown = plot_pairs(pictures, 2 * pictures).axes
    assert len(shown) == 4
    assert shown[3].images[0].get_array().tolist() == (2 * pictures[1]).tolist()


def watch(monkeypatch) -> list[tuple]:
    """What `multipath match` would run and where, short of running it."""
    seen = []

    def watched(config, folder, **_):
        seen.append((config, folder))
        raise KeyboardInterrupt

    monkeypatch.setattr("multipath.applications.matching.train.run", watched)
    return seen


@pytest.mark.slow
def test_command_line_runs_and_says_where_the_report_is(tmp_path, call, monkeypatch):
    use_tiny_presets(monkeypatch)
    folder = tmp_path / "a"
    code, out, _ = call("match", "granular", "--steps", "2", "--out", str(folder))
    assert code == 0
    assert (folder / "report.html").exists()
    assert f"report: {folder / 'report.html'}" in out.replace("\n", "")


def test_every_setting_is_an_option(call, monkeypatch):
    seen = watch(monkeypatch)
    common = "--loss scrapl --steps 7 --seed 3 --lr 0.1 --probabilities p.pt --reweight"
    call("match", "chirplet", "--preset=paper", *common.split(), "--detach-window")
    expected = preset(
        *("paper", "chirplet"),
        **{"loss": "scrapl", "steps": 7, "seed": 3, "learning_rate": 0.1, "detach_window": True},
        **{"probabilities": "p.pt", "reweight": True},
    )
    assert seen.pop()[0] == expected
    more = "--channels 4 8 --pools 1 2 3 4 --threshold none --fft-sizes 64 --scattering.J-fr 2"
    more += " --scattering.Q 4 1 --batch-size 2 --softness 0.5 --pitches random"
    more += " --learning-rate 1e-2"
    call("match", "granular", *more.split())
    expected = preset("quick", "granular", batch_size=2, softness=0.5, pitches="random")
    scattering = dataclasses.replace(expected.task.scattering, J_fr=2, Q=(4, 1))
    assert seen.pop()[0] == expected.changed(
        **{"channels": (4, 8), "pools": ((1, 2), (3, 4)), "threshold": None, "fft_sizes": (64,)},
        **{"scattering": scattering, "learning_rate": 0.01},
    )


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["--synthetic"], {}),
        (["--synthetic", "24"], {"n_targets": 24}),
        (["--n-targets", "24", "--synthetic"], {"n_targets": 24}),
        (
            ["--data", "drums", "--trim", "none", "--refuse-bad-files"],
            {"data": "drums", "trim": None, "refuse_bad_files": True},
        ),
    ],
)
def test_drums_are_recorded_or_made(words, changes, call, monkeypatch):
    seen = watch(monkeypatch)
    call("match", "tr808", *words)
    assert seen[0][0] == preset("quick", "tr808").changed(**changes)


def test_settings_of_a_task_that_are_taken_are_refused(call, monkeypatch):
    monkeypatch.setattr(type(TINY.task), "options", staticmethod(lambda out=1: {"out": out}))
    code, _, err = call("match", "chirplet")
    assert code == 2
    assert "the task chirplet has settings called out, and so has `multipath match`" in err


def test_help_says_what_a_setting_is_and_what_it_is_by_default(call):
    code, out, _ = call("match", "tr808", "--preset", "paper", "--help")
    words = " ".join(re.sub(r"[^\x00-\x7f]", " ", out).split())
    assert code == 0
    for text in (
        "--lr --learning-rate FLOAT Learning rate at the start. [default: 0.0001]",
        "--out PATH Run folder. Default: runs/TASK-LOSS-SEED.",
        "--channels INT... Output channels of each convolution block. [default: (128, 128,",
        "--data PATH Folder of recordings to match.",
        "[choices: micro, meso] [default: micro]",
    ):
        assert text in words


def test_help_of_match_lists_the_tasks_and_no_words_show_help(call):
    for words, texts in (
        ([], ("resynthesize", "Train with a loss that is a mean")),
        (["match"], ("chirplet", "granular", "tr808")),
        (["importance", "--help"], ("chirplet", "granular", "tr808")),
    ):
        code, out, _ = call(*words)
        assert code == 0
        assert all(text in out for text in texts)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_tables_by_type_name_each_error_and_break_no_value(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    errors = dict.fromkeys((f"transient_{name}" for name in ("loudness", "centroid")), 0.0123)
    by_type = {"trained": errors, "untrained": dict.fromkeys(errors, 0.0456), "count": 12}
    summary = {"unit": "", "errors": "distances", "distances": errors, "untrained_error": errors}
    types = {f"drum {number}": by_type for number in range(6)}
    show_summary({**summary, "types": types, "seconds_per_step": 0.1}, Path("run"))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= columns
    tables = {40: 6, 80: 2, 200: 1}[columns]
    assert printed.count("error by type, untrained in brackets") == tables
    for name in errors:
        assert printed.count(name) == 1 + tables
    assert printed.count("0.0123 (0.0456)") == len(errors) * len(types)
    assert all(f"{name} (12)" in printed for name in types)


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["chirplet", "--synth", "slow-slow"], "chirplet-slow-slow-scrapl-0"),
        (["granular", "--loss", "jtfs", "--seed", "4"], "granular-jtfs-4"),
    ],
)
def test_run_folders_are_named_after_the_run(arguments, folder, call, monkeypatch):
    seen = watch(monkeypatch)
    call("match", *arguments)
    assert [place for _, place in seen] == [Path("runs") / folder]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["match", "chirplet", "--loss", "nonsense"], "choose one of scrapl"),
        (["paths", "--preset", "nonsense"], "choose one of quick, paper"),
        (["paths", "--task", "nonsense"], "'nonsense'; there are chirplet, granular, tr808"),
        (["match", "piano"], "announces tasks called 'piano'; there are chirplet, granular"),
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
