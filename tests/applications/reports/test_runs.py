"""Runs side by side: groups, intervals, and the page."""

import base64
import io
import json
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.image import imread

from multipath.applications.audio.files import write_audio
from multipath.applications.matching.train import run
from multipath.applications.reports.page import plot_curves, write_comparison
from multipath.applications.reports.runs import interval, read_run, read_runs, sections
from multipath.applications.reports.sounds import hear
from multipath.applications.resynthesis.run import run_resynthesis
from multipath.applications.resynthesis.settings import ResynthesisSettings
from multipath.applications.runs.files import write_csv, write_json
from multipath.errors import InputError
from tests.applications.command import call, refused
from tests.applications.tiny import TINY

pytestmark = pytest.mark.slow  # they train, search or start processes


def make_match(folder, loss="mss", seed=0, errors=(300.0, 200.0), finished=True, **settings):
    """A run of match, as its folder would be, without the training."""
    folder.mkdir(parents=True)
    task = {"name": "chirplet", "synth": "slow-slow", "scattering": {"J": 5}}
    task |= {name: settings.pop(name) for name in task if name in settings}
    config = {"seed": seed, "task": task, "objective": {"loss": loss}, "training": settings}
    write_json(folder / "config.json", config)
    rows = [
        {"step": 10 * (i + 1), "loss": 1.0, "theta": error, "AM": error, "FM": error}
        for i, error in enumerate(errors)
    ]
    write_csv(folder / "metrics.csv", rows)
    if finished:
        found = dict.fromkeys(("theta", "AM", "FM"), errors[-1])
        write_json(folder / "summary.json", {"errors": "theta_error", "theta_error": found})
    return folder


def make_draws(folder, counts):
    rows = [
        {"index": i, "key": (i, 0), "rate": 2.0**i, "scale": 0.5, "spin": 1, "count": count}
        for i, count in enumerate(counts)
    ]
    write_csv(folder / "draws.csv", rows)


def embedded(page, kind):
    found = re.findall(rf'src="data:{kind};base64,([^"]+)"', page)
    return [io.BytesIO(base64.b64decode(content)) for content in found]


def test_intervals_are_those_of_student():
    found = interval([1.0, 2.0, 4.0])
    deviation = np.std([1, 2, 4], ddof=1)
    assert found.mean == pytest.approx(7 / 3)
    assert found.margin == pytest.approx(4.302652730 * deviation / 3**0.5, rel=1e-9)  # a table's
    single = interval([5.0])
    assert (single.mean, single.count) == (5.0, 1)
    assert np.isnan(single.margin)


def test_runs_are_grouped_by_everything_but_the_seed(tmp_path):
    folders = [
        make_match(tmp_path / "a", seed=0, errors=(300, 200)),
        make_match(tmp_path / "b", seed=1, errors=(280, 220)),
        make_match(tmp_path / "c", seed=0, learning_rate=0.1),
        make_match(tmp_path / "d", loss="scrapl", seed=0),
        make_match(tmp_path / "e", synth="fast-fast"),
        make_match(tmp_path / "f", scattering={"J": 6}),
    ]
    found = sections(read_runs(folders))
    assert [section.task for section in found] == ["chirplet slow-slow", "chirplet fast-fast"]
    groups = found[0].groups
    names = [[run.name for run in group.runs] for group in groups]
    assert names == [["a", "b"], ["c"], ["d"], ["f"]]
    assert groups[1].label == "mss, scattering.J=5, learning_rate=0.1"
    assert groups[2].label.startswith("scrapl")
    assert groups[0].errors["AM"] == interval([200.0, 220.0])
    steps, band = groups[0].band
    assert steps == [10, 20]
    assert band == [interval([300.0, 280.0]), interval([200.0, 220.0])]
    assert groups[2].errors["theta"].count == 1


def make_drums(folder, rows, finished=True, data=None):
    """A run that matched recordings: there is no theta to judge it by."""
    task = {"name": "tr808", "alignment": "meso", "data": data}
    config = {"seed": 0, "task": task, "objective": {}}
    write_json(folder / "config.json", config)
    write_csv(folder / "metrics.csv", [{"step": 5 * i, **row} for i, row in enumerate(rows, 1)])
    if finished:
        write_json(folder / "summary.json", {"errors": "distance", "distance": rows[-1]})
    return folder


@pytest.mark.parametrize("finished", [True, False])
def test_applications_say_how_they_are_judged(tmp_path, finished):
    rows = [{"loudness": 9.0, "mss": 4.0}, {"loudness": 8.0, "mss": 3.0}]
    found = read_run(make_drums(tmp_path, rows, finished))
    assert (found.task, found.curve) == ("tr808 meso", {5.0: 4.0, 10.0: 3.0})
    assert found.errors == ({"loudness": 8.0, "mss": 3.0} if finished else {})
    axes = plot_curves(sections([found])[0]).axes[0]
    assert axes.get_ylabel() == "mss distance"


def test_unfinished_runs_are_flagged_and_left_out_of_means(tmp_path):
    folders = [
        make_match(tmp_path / "whole", seed=0, errors=(300, 200, 100)),
        make_match(tmp_path / "other", seed=1, errors=(320, 220, 140)),
        make_match(tmp_path / "part", seed=2, errors=(900,), finished=False),
        make_match(tmp_path / "empty", seed=3, finished=False),
    ]
    (folders[3] / "metrics.csv").unlink()
    section = sections(read_runs(folders))[0]
    (group,) = section.groups
    assert section.notes == [
        "part is unfinished: shown up to step 10",
        "empty is unfinished: shown up to step 0",
    ]
    assert group.errors["theta"] == interval([100.0, 140.0])
    assert [each.mean for each in group.band[1]] == [310, 210, 120]
    mean, *single = plot_curves(section).axes[0].lines
    assert mean.get_ydata().tolist() == [310, 210, 120]
    assert [line.get_linestyle() for line in single] == ["-", "-", "--", "--"]
    assert single[2].get_xydata().tolist() == [[10, 900]]
    write_comparison(folders, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count(">unfinished<") == 2


def test_only_unfinished_runs_make_a_page(tmp_path):
    folder = make_match(tmp_path / "part", errors=(900,), finished=False)
    write_comparison([folder], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Errors of groups" not in page
    assert imread(embedded(page, "image/png")[0]).std() > 0.02


def test_a_seed_run_twice_counts_once(tmp_path):
    folders = [make_match(tmp_path / name, seed=7) for name in "ab"]
    section = sections(read_runs(folders))[0]
    assert section.notes == ["b has the settings and the seed of a: intervals count them once"]
    assert section.groups[0].errors["theta"].count == 1


def test_folders_of_one_name_are_told_apart(tmp_path):
    folders = [make_match(tmp_path / day / "run", seed=i) for i, day in enumerate(("mon", "tue"))]
    assert [run.name for run in read_runs(folders)] == ["mon/run", "tue/run"]


def test_draws_are_summed_over_seeds(tmp_path):
    folders = [make_match(tmp_path / name, seed=i) for i, name in enumerate("abc")]
    make_draws(folders[0], [1, 2])
    make_draws(folders[2], [10, 20])
    (group,) = sections(read_runs(folders))[0].groups
    assert [row["count"] for row in group.draws] == [11, 22]
    write_comparison(folders, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("Paths drawn") == 1
    assert len(embedded(page, "image/png")) == 2


# The page of real runs


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        config = TINY.changed(loss="kpaths", seed=seed, steps=4, validate_every=2, dropout=0.0)
        run(config, root / f"match <{seed}>")
    tone = torch.sin(0.3 * torch.arange(1024.0)) * torch.linspace(1, 0, 1024)
    for transform in ("scattering1d", "jtfs"):
        settings = ResynthesisSettings.for_recording(
            1024, 2048, transform, J=5, steps=4, interval=2, draws=4
        )
        run_resynthesis(tone, settings, root / transform, source="tone.wav")
    return root


def test_the_page_of_real_runs(real, tmp_path, capsys):
    folders = sorted(real.iterdir())
    out = tmp_path / "pages" / "all.html"
    code, output, _ = call(capsys, "report", *folders, "--out", out)
    assert code == 0
    assert f"report: {out}" in output.replace("\n", "")
    page = out.read_text()
    assert page.index("Resynthesis: tone.wav") > 0
    assert page.index(f"Sound matching: {TINY.task.title}") > 0
    assert "match &lt;0&gt;" in page
    assert "match <" not in page
    # a link to each run's own report, and nothing else outside of the page
    links = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page)
    assert len(links) == 4
    assert all((out.parent / unquote(link)).is_file() for link in links)
    sounds = embedded(page, "audio/wav")
    # targets once, and what each run made of them; another seed has other targets
    assert len(sounds) == (1 + 2) + (2 + 2) * (1 + 1)
    samples, rate = soundfile.read(sounds[0])
    wanted, _ = soundfile.read(folders[0] / "target.wav")
    assert rate == 8192
    assert np.abs(samples / samples.max() - wanted / wanted.max()).max() < 1e-4
    # curves, spectrograms and draws (of both transforms; of both seeds together)
    plots = embedded(page, "image/png")
    assert len(plots) == (2 + 2) + (2 + 1)
    assert all(imread(plot).std() > 0.02 for plot in plots)
    for name in ("jtfs", "scattering1d"):
        summary = json.loads((real / name / "summary.json").read_text())
        assert f"{100 * summary['relative']:.4g}" in page
    errors = [run.errors["AM"] for run in read_runs(folders) if run.kind == "match"]
    assert f"{np.mean(errors):.4g} ±" in page


def test_players_of_a_comparison_come_first_and_have_names(real, tmp_path):
    write_comparison([real / "scattering1d", real / "jtfs"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.index("<audio") < page.index("<img")
    assert "<h3>tone.wav</h3>" in page
    assert re.findall("<label>(.*?)<audio", page) == ["target", "scattering1d", "jtfs"]
    assert not re.search("#[0-9]", page.partition("</style>")[2])


def test_what_was_never_drawn_has_no_picture(tmp_path):
    folders = [make_match(tmp_path / "a"), make_match(tmp_path / "b", loss="scrapl")]
    make_draws(folders[0], [0, 0])
    make_draws(folders[1], [1, 0])
    write_comparison(folders, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert re.findall("<h3>(Paths drawn.*?)</h3>", page) == ["Paths drawn: scrapl"]


def test_a_page_replaces_an_older_one_whole(real, tmp_path, monkeypatch):
    out = tmp_path / "page.html"
    out.write_text("older")

    def fill_up(file, content):
        with file.open("wb") as stream:
            stream.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OSError, match="No space left"):
        write_comparison([real / "jtfs"], out)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["older"]


def test_a_silent_resynthesis_is_shown(real, tmp_path):
    folder = shutil.copytree(real / "jtfs", tmp_path / "run")
    write_audio(folder / "resynthesis.wav", torch.zeros(4096), 8192)
    write_comparison([folder], tmp_path / "page.html")
    assert len(embedded((tmp_path / "page.html").read_text(), "audio/wav")) == 2


def make_sounds(folder, targets, gain):
    """Recordings as a run leaves them, each pair at a gain of its own."""
    for i, target in enumerate(targets):
        for name, factor in (("target", 1.0), ("reconstruction", gain)):
            sound = 0.9 * factor * target / max(1.0, gain)
            write_audio(folder / "audio" / f"{i}_{name}.wav", sound / target.abs().max(), 8000)


def test_sounds_stand_beside_the_target_they_were_made_of(tmp_path):
    first, second = torch.randn(2, 5, 200, generator=torch.Generator().manual_seed(0))
    made = {"a": (first, 0.5, 0), "b": (first, 2.0, 0), "c": (second, 1.0, 1)}
    for name, (targets, gain, seed) in made.items():
        make_match(tmp_path / name, seed=seed, learning_rate=gain)
        (tmp_path / name / "audio").mkdir()
        make_sounds(tmp_path / name, targets, gain)
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        write_json(tmp_path / name / "summary.json", {**summary, "sounds": ["kick"]})
    runs = read_runs([tmp_path / name for name in made])
    heard = hear(runs)
    assert [list(row.reconstructions) for row in heard] == [["a", "b"], ["c"]] * 2
    for row, target in zip(heard, (first[0], second[0], first[1], second[1]), strict=True):
        torch.testing.assert_close(row.target, target / target.abs().max(), rtol=0, atol=1e-5)
        for name, found in row.reconstructions.items():  # as loud as it was made
            torch.testing.assert_close(found, made[name][1] * row.target, rtol=0, atol=1e-5)
    assert [row.name for row in heard] == ["kick", "kick of c", "sound 2", "sound 2 of c"]
    assert heard[0].gain == pytest.approx(0.45)  # "b" is twice as loud as the target
    assert len(hear(runs[:2])) == 4  # one target in common is no reason to hear no others


def test_recordings_of_one_name_are_no_task_in_common(tmp_path):
    for name, recording in (("a", "00ff"), ("b", "11ee"), ("c", "00ff")):
        (tmp_path / name).mkdir()
        config = {"task": "resynthesis", "source": "kick.wav", "seed": ord(name)}
        write_json(tmp_path / name / "config.json", config | {"recording": recording})
    found = sections(read_runs([tmp_path / name for name in "abc"]))
    assert [[run.name for run in section.runs] for section in found] == [["a", "c"], ["b"]]
    assert [len(section.groups) for section in found] == [1, 1]
    assert "Several recordings are called kick.wav: these are of 11ee" in found[1].notes


def test_drums_are_a_task_in_common_if_the_recordings_are_the_same(tmp_path):
    made = {
        "a": ("kicks", {"1.wav": "11"}),
        "b": ("../data/kicks/", {"1.wav": "11"}),
        "c": ("kicks", {"1.wav": "22"}),
        "d": ("snares", {"1.wav": "33"}),
        "e": (None, {}),
    }
    for name, (data, sources) in made.items():
        (tmp_path / name).mkdir()
        make_drums(tmp_path / name, [{"mss": 4.0}], data=data)
        if sources:
            write_json(tmp_path / name / "sources.json", sources)
    found = sections(read_runs([tmp_path / name for name in made]))
    names = [[run.name for run in section.runs] for section in found]
    assert names == [["a", "b"], ["c"], ["d"], ["e"]]
    tasks = [section.task for section in found]
    assert tasks == ["tr808 meso kicks", "tr808 meso kicks", "tr808 meso snares", "tr808 meso"]


# What cannot be compared


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "config.json is damaged"),
        ("config.json", '{"loss": "mss"}', "expected a run of match or resynthesize"),
        ("config.json", '{"task": "a"}', "expected a run of match or resynthesize"),
        ("config.json", '{"task": {}}', "damaged or of another version .KeyError.'seed'"),
        ("config.json", '{"task": "resynthesis"}', "of another version .KeyError.'source'"),
        ("summary.json", '{"a": 1}', "damaged or of another version .KeyError.'errors'"),
        ("metrics.csv", "step,theta\n1,many\n", "metrics.csv is damaged .could not convert"),
        ("metrics.csv", "step,loss\n1,2\n", "damaged or of another version .KeyError.'theta'"),
        ("metrics.csv", "step,theta\nnan,2\n9,1\n", "damaged or of another version .ValueError"),
        ("metrics.csv", "step,theta\n9,1\ninf,2\n", "damaged or of another version .OverflowError"),
        ("draws.csv", "index\n1\n", "expected a table with the columns index, key and count"),
    ],
)
def test_damaged_runs_are_refused(tmp_path, name, content, message):
    folder = make_match(tmp_path / "run")
    make_draws(folder, [1, 2])
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_run(folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["missing"], "missing: there is no such folder; pass the folder of a run"),
        (["a", "b", "a"], "a is given twice; pass each run once"),
        (["empty"], r"empty holds no run \(no config.json\); pass the folder of a run"),
        (["."], r"holds no run \(no config.json\); pass the runs in it: a, b"),
    ],
)
def test_folders_refused_in_one_line(tmp_path, capsys, monkeypatch, names, message):
    for name in "ab":
        make_match(tmp_path / name)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(capsys, "report", *names))
    assert not Path("comparison.html").exists()


def test_an_earlier_page_is_replaced_only_on_request(tmp_path, capsys, monkeypatch):
    folder, out = make_match(tmp_path / "a"), tmp_path / "page.html"
    words = "report", folder, "--out", out
    out.write_text("older")
    line = refused(capsys, *words)
    assert line.endswith(
        "page.html exists; choose another file (--out), or replace it with --overwrite"
    )
    for answer, replaced in (("n", False), ("", False), ("yes", True), ("Y", True)):
        out.write_text("older")
        terminal = io.StringIO(f"{answer}\n")
        terminal.isatty = lambda: True
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", terminal)
            patch.setattr(sys.stderr, "isatty", lambda: True)
            code, _, error = call(capsys, *words)
        assert "page.html exists; replace it? [y/N]" in error
        assert (code == 0) == replaced == (out.read_text() != "older")
    out.write_text("older")
    assert call(capsys, *words, "--overwrite")[0] == 0
    assert out.read_text() != "older"


def test_nothing_is_no_comparison():
    with pytest.raises(InputError, match="there is nothing to compare"):
        read_runs([])
