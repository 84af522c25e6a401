"""Reports of runs and of the demo, and the command line."""

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
from multipath.applications.cli import demo
from multipath.applications.cli import main as cli
from multipath.applications.cli.console import show_summary
from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.objectives import LOSSES
from multipath.applications.matching.plots import plot_convergence, plot_estimates, plot_pairs
from multipath.applications.matching.presets import preset
from multipath.applications.matching.report import _write_pairs
from multipath.applications.matching.tasks.data import Targets, split_targets
from multipath.applications.matching.tasks.evaluation import Evaluation
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


@pytest.mark.slow
def test_the_page_of_recordings_shows_no_true_parameters(tmp_path, monkeypatch):
    sounds = torch.randn(40, 1024, generator=torch.Generator().manual_seed(0))

    class Silence(Evaluation):
        key, headline, unit = "audio_error", "loudness", "decibels"

        def forward(self, batch, estimate):
            return {"loudness": batch.targets.sounds.square().mean(dim=1)}

    kind = type(TASK.task)
    monkeypatch.setattr(kind, "knows_theta", False)
    monkeypatch.setattr(kind, "targets", lambda self, seed: split_targets(Targets(sounds=sounds)))
    monkeypatch.setattr(kind, "build_evaluation", lambda self, synth: Silence())
    summary = run(TASK, tmp_path)
    assert summary["audio_error"] == {
        "loudness": pytest.approx(float(sounds[32:].square().mean()), rel=1e-5)
    }
    page = (tmp_path / "report.html").read_text()
    assert "loudness error, decibels" in page
    assert "<th>AM (Hz)</th><th>FM (octaves/s)</th>" in page
    assert "true" not in page
    assert not (tmp_path / "estimates.png").exists()
    assert all((tmp_path / link).stat().st_size > 0 for link in links(tmp_path / "report.html"))


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
    figure = plot_convergence({"mss/0": rows, "mss/1": rows, "jtfs/0": rows}, untrained=240.0)
    axes = figure.axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0, 240], [10, 100], [20, 50]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "mss",
        "jtfs",
        "always the middle",
    ]
    assert axes.lines[0].get_color() == axes.lines[1].get_color() != axes.lines[2].get_color()


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


SUMMARIES = {
    loss: [
        {
            "theta_error": {"theta": error + seed, "AM": 1.0, "FM": 2.0},
            "untrained_error": {"theta": 250.0, "AM": 240.0, "FM": 260.0},
            "seconds_per_step": 0.01,
        }
        for seed in (0, 10)
    ]
    for loss, error in {"mss-log": 300.0, "scrapl": 100.0, "kpaths": 50.0, "ploss": 30.0}.items()
}


def test_demo_rows_average_over_seeds():
    rows = demo.make_rows(SUMMARIES)
    assert [(row.name, row.mean) for row in rows] == [
        ("untrained", 250.0),
        ("mss-log", 305.0),
        ("scrapl", 105.0),
        ("kpaths", 55.0),
        ("ploss", 35.0),
    ]
    assert rows[2].errors == [100.0, 110.0]
    assert rows[2].milliseconds == pytest.approx(10.0)


def test_demo_states_the_margin_of_the_worst_seed():
    text = demo.describe_margin(demo.make_rows(SUMMARIES))
    assert "at most 0.35 times" in text  # 110 / 310
    assert "0.44 times the untrained" in text  # 110 / 250


@pytest.mark.slow
def test_demo_trains_in_workers_and_joins_their_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        demo, "preset", lambda name, loss, seed, steps: TASK.changed(loss=loss, seed=seed)
    )
    monkeypatch.setattr(demo, "DEMO_LOSSES", ("mss-log", "scrapl"))
    monkeypatch.setattr(demo, "SLOWEST_FIRST", ("scrapl", "mss-log"))
    threads = torch.get_num_threads()
    summaries = demo.train_all(tmp_path, None, [0])
    assert torch.get_num_threads() == threads
    assert {loss: runs[0]["loss"] for loss, runs in summaries.items()} == {
        "mss-log": "mss-log",
        "scrapl": "scrapl",
    }
    assert {runs[0]["environment"]["threads"] for runs in summaries.values()} == {1}
    rows = demo.make_rows(summaries)
    monkeypatch.setattr(demo, "preset", preset)
    page = demo.write_demo_report(tmp_path, summaries, rows, [0], 1.0)
    assert "mss-log-0/report.html" in links(page)
    assert all((tmp_path / link).stat().st_size > 0 for link in links(page))


@pytest.mark.slow
def test_demo_stops_at_the_first_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(
        demo, "preset", lambda name, loss, seed, steps: TASK.changed(loss=loss, f0=900.0)
    )
    with pytest.raises(ValueError, match="lower f0 or the bandwidth"):
        demo.train_all(tmp_path, None, [0])


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


def watch(monkeypatch) -> list[tuple]:
    """What `multipath match` would run and where, short of running it."""
    seen = []

    def watched(config, folder, **_):
        seen.append((config, folder))
        raise KeyboardInterrupt

    monkeypatch.setattr("multipath.applications.matching.train.run", watched)
    return seen


@pytest.mark.parametrize("name", ["chirplet", "granular"])
@pytest.mark.slow
def test_command_line_runs_and_says_where_the_report_is(name, tmp_path, capsys, monkeypatch):
    use_tiny_presets(monkeypatch)
    code, out, _ = call(capsys, "match", name, "--steps", "2", "--out", str(tmp_path / "a"))
    assert code == 0
    assert (tmp_path / "a" / "report.html").exists()
    assert f"report: {tmp_path / 'a' / 'report.html'}" in out.replace("\n", "")
    code, out, err = call(capsys, "match", name, "--out", str(tmp_path / "a"))
    assert code == 2
    assert err.startswith("multipath: ")
    assert "holds a finished run" in err
    assert err.count("\n") == 1


def test_every_setting_is_an_option(capsys, monkeypatch):
    seen = watch(monkeypatch)
    common = "--loss scrapl --steps 7 --seed 3 --lr 0.1 --probabilities p.pt --reweight"
    call(capsys, "match", "chirplet", "--preset=paper", *common.split(), "--detach-window")
    expected = preset(
        *("paper", "chirplet"),
        **{"loss": "scrapl", "steps": 7, "seed": 3, "learning_rate": 0.1, "detach_window": True},
        **{"probabilities": "p.pt", "reweight": True},
    )
    assert seen.pop()[0] == expected
    more = "--channels 4 8 --pools 1 2 3 4 --threshold none --fft-sizes 64 --scattering.J-fr 2"
    more += " --scattering.Q 4 1 --batch-size 2 --softness 0.5 --pitches random"
    more += " --learning-rate 1e-2"
    call(capsys, "match", "granular", *more.split())
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
def test_drums_are_recorded_or_made(words, changes, capsys, monkeypatch):
    seen = watch(monkeypatch)
    call(capsys, "match", "tr808", *words)
    assert seen[0][0] == preset("quick", "tr808").changed(**changes)


def test_settings_of_a_task_that_are_taken_are_refused(capsys, monkeypatch):
    monkeypatch.setattr(type(TINY.task), "options", staticmethod(lambda out=1: {"out": out}))
    code, _, err = call(capsys, "match", "chirplet")
    assert code == 2
    assert "the task chirplet has settings called out, and so has `multipath match`" in err


def test_help_says_what_a_setting_is_and_what_it_is_by_default(capsys):
    code, out, _ = call(capsys, "match", "tr808", "--preset", "paper", "--help")
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


def test_help_of_match_lists_the_tasks_and_no_words_show_help(capsys):
    for words, texts in (
        ([], ("resynthesize", "Train with a loss that is a mean")),
        (["match"], ("chirplet", "granular", "tr808")),
        (["importance", "--help"], ("chirplet", "granular", "tr808")),
    ):
        code, out, _ = call(capsys, *words)
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
def test_run_folders_are_named_after_the_run(arguments, folder, capsys, monkeypatch):
    seen = watch(monkeypatch)
    call(capsys, "match", *arguments)
    assert [place for _, place in seen] == [Path("runs") / folder]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["match", "chirplet", "--loss", "nonsense"], "choose one of scrapl"),
        (["match", "chirplet", "--synth", "nonsense"], "choose one of slow-slow"),
        (["match", "granular", "--loss", "nonsense"], "choose one of scrapl"),
        (["match", "granular", "--reweight"], "name a file with --probabilities"),
        (["match", "granular", "--loss", "jtfs", "--probabilities", "p"], "leave out --probab"),
        (["paths", "--preset", "nonsense"], "choose one of quick, paper"),
        (["paths", "--task", "nonsense"], "'nonsense'; there are chirplet, granular, tr808"),
        (["match", "piano"], "announces tasks called 'piano'; there are chirplet, granular"),
        (["importance", "chirplets"], "called 'chirplets'; did you mean chirplet"),
        (["match", "chirplet", "--lr", "x"], 'unable to convert "x" into float'),
        (["match", "chirplet", "--colour", "x"], "Unknown option: --colour."),
        (["match", "chirplet", "--steps"], "--steps requires an argument. (--help lists"),
        (["mach", "chirplet"], 'Did you mean "match"?'),
        (["match", "chirplet", "--steps", "0"], "steps must be at least 1, got 0"),
        (["match", "chirplet", "--resume", "--out", "nowhere"], "nothing to resume"),
    ],
)
def test_user_errors_are_one_line_and_exit_code_2(arguments, message, capsys):
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_an_unwritable_folder_is_a_user_error(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, err = call(capsys, "match", "chirplet", "--out", str(tmp_path / "file" / "run"))
    assert code == 2
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ([], "the same command begins again"),
        (["config.json"], "the same command with --resume goes on"),
        (["config.json", "summary.json"], "the same command begins again"),  # yet to be discarded
    ],
)
def test_interruption_has_its_exit_code_and_says_how_to_go_on(
    files, hint, tmp_path, capsys, monkeypatch
):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for name in files:
        (tmp_path / name).write_text('{"task": "mine"}')
    monkeypatch.setattr("multipath.applications.matching.train.run", interrupted)
    code, _, err = call(capsys, "match", "chirplet", "--out", str(tmp_path))
    assert code == 130
    assert err.splitlines()[-1] == f"multipath: interrupted; {hint}"


def test_interruption_of_any_command_is_said(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("multipath.applications.reports.page.write_comparison", interrupted)
    assert call(capsys, "report", "run") == (130, "", "multipath: interrupted\n")


def test_a_missing_extra_is_named_with_its_remedy(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "multipath.applications.matching.train", None)
    monkeypatch.delitem(sys.modules, "multipath.applications.matching.train")
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.setitem(sys.modules, "lightning", None)
    code, _, err = call(capsys, "match", "chirplet", "--out", "unused")
    assert code == 2
    assert "lightning" in err
    assert "pip install 'multipath-loss[applications]'" in err


def test_bugs_keep_their_traceback(monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("multipath.applications.matching.train.run", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main(["match", "chirplet"])


def test_list_names_every_choice(capsys):
    code, out, _ = call(capsys, "list")
    assert code == 0
    for name in (*LOSSES, "fast-fast", "chirplet quick", "granular paper"):
        assert name in out
    losses = out.partition("\nlosses\n")[2].partition("\ntasks")[0].splitlines()
    places = {
        line.index(row.description) for line, row in zip(losses, LOSSES.values(), strict=True)
    }
    assert len(places) == 1  # a column


def test_paths_prints_the_table(capsys):
    code, out, _ = call(capsys, "paths")
    assert code == 0
    assert "rate" in out.splitlines()[0]
    assert len(out.splitlines()) == 256  # a heading and 255 paths
    code, out, _ = call(capsys, "paths", "--task", "granular", "--preset", "paper")
    assert code == 0
    assert len(out.splitlines()) == 316


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


def test_version(capsys):
    with pytest.raises(SystemExit) as leaving:
        cli.main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"multipath {multipath.__version__}\n"
