"""The command line of sound matching: options, help, and what a run prints."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from multipath.applications.cli.console import show_summary
from multipath.applications.matching.presets import preset
from multipath.applications.runs.files import read_numbers
from multipath.applications.runs.html import number
from tests.applications.tiny import TINY, use_tiny_presets


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
    words = ["--steps", "20", "--validate-every", "20", "--out"]
    code, out, err = call("match", "granular", *words, str(folder))
    assert code == 0
    lines = re.findall(r"^ploss, seed 0: (\d+) % \((\d+) of 20\), error (\S+), ", err, re.M)
    assert [line[:2] for line in lines] == [(str(5 * i), str(i)) for i in range(2, 21, 2)]
    rows = read_numbers(folder / "metrics.csv")
    told = [number(row["theta"]) for row in rows]  # before training, and after it
    assert [line[2] for line in lines] == [*9 * [told[0]], told[1]]
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
        (["match"], ("amchirp", "chirplet", "drum", "granular", "tr808")),
        (["importance", "--help"], ("chirplet", "granular", "tr808")),
        (["metric", "--help"], ("amchirp", "drum")),
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
