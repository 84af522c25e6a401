"""Reports of runs, and the command line."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.report import _write_pairs
from multipath.applications.matching.tasks.data import Targets, seeded
from multipath.applications.matching.train import run
from multipath.applications.runs.files import read_numbers
from multipath.applications.runs.html import render_page
from tests.applications.tiny import TINY, TINY_GRANULAR

TASK = TINY.changed(
    loss="mss-log",
    preset="<slow & fast>",  # must be escaped in the page
    steps=4,
    validate_every=2,
    dropout=0.0,
)


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """What the page of the run is made from."""
    return {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, values) -> Path:
    path = tmp_path_factory.mktemp("run")

    def render(file, template, **given):
        values.update(given)
        return render_page(file, template, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multipath.applications.matching.report.render_page", render)
        run(TASK, path)
    return path


def test_the_page_needs_no_file_beside_it(folder):
    page = (folder / "report.html").read_text()
    addresses = re.findall(r'(?:src|href)\s*=\s*["\']?([^"\'\s>]+)', page)
    kinds = Counter(address.partition(";")[0] for address in addresses)
    assert kinds == {"data:image/png": 4, "data:audio/wav": 8, "data:text/plain": 2}
    assert "url(" not in page
    contents = [base64.b64decode(address.partition(",")[2]) for address in addresses]
    for name in ("convergence", "loss", "pairs", "estimates"):
        assert (folder / f"{name}.png").read_bytes() in contents
    assert (folder / "metrics.csv").read_bytes() in contents
    assert (folder / "config.json").read_bytes() in contents
    heard = [content for content in contents if content.startswith(b"RIFF")]
    wanted, _ = soundfile.read(folder / "audio" / "0_target.wav")
    samples, rate = soundfile.read(io.BytesIO(heard[0]))
    assert rate == 8192
    assert abs(samples - wanted).max() < 1e-4


def test_players_come_first_and_have_names(folder):
    page = (folder / "report.html").read_text()
    assert page.index("<audio") < page.index('class="cards"') < page.index("<img")
    names = re.findall("<h3>(.*?)</h3>", page)
    assert names == [f"sound {i}" for i in (1, 2, 3, 4)]
    assert not re.search("#[0-9]<", page)


def test_recordings_are_called_by_their_names():
    recordings = Targets(sounds=torch.zeros(3, 8), names=("kick/01.wav", "a", "b"))
    chosen = recordings.take(torch.tensor([2, 0]))
    assert chosen.names == ("b", "kick/01.wav")
    assert [chosen.name(i) for i in range(2)] == ["b", "kick/01.wav"]
    assert [recordings.take(slice(1, None)).name(i) for i in range(2)] == ["a", "b"]
    assert Targets(theta=torch.zeros(2, 1)).name(1) == "sound 2"


def cards(page: str) -> list[str]:
    return re.findall('<div class="card"><b>(.*?)</b>', page)


def test_there_are_no_empty_cards(folder, values, tmp_path):
    page = (folder / "report.html").read_text()
    assert "steps to theta below" not in page  # it never was
    assert f"theta did not fall below {TASK.training.threshold:g}" in page
    assert all(re.match("[0-9]", shown) for shown in cards(page))
    for threshold, steps in ((None, None), (1000.0, 2)):
        training = {**values["config"]["training"], "threshold": threshold}
        changed = {
            "summary": {**values["summary"], "steps_to_converge": steps, "paths": None},
            "config": {**values["config"], "training": training},
        }
        render_page(tmp_path / "page.html", "run.html.jinja", **{**values, **changed})
        page = (tmp_path / "page.html").read_text()
        assert "did not fall below" not in page
        assert "paths in the loss" not in page
        assert ("<b>2</b><span>steps to theta below 1000</span>" in page) == (steps == 2)


def test_curves_begin_at_step_0(folder, tmp_path, without_report):
    rows = read_numbers(folder / "metrics.csv")
    assert [row["step"] for row in rows] == [0, 2, 4]
    torch.manual_seed(seeded(TASK.seed, "weights").initial_seed())
    model = SoundMatching(TASK)
    (batch,) = model.batches.all_of("validation")
    found = model.evaluation.validate(batch, model.eval().estimate("validation"))
    assert rows[0]["theta"] == pytest.approx(float(found["theta"].mean()), rel=1e-4)
    first = model.train().training_step(model.batches.training_batch(0), 0).detach()
    assert rows[0]["loss"] == pytest.approx(float(first), rel=1e-4)  # there is no dropout
    second = 2 * rows[1]["loss"] - rows[0]["loss"]  # rows have means over the steps before
    run(TASK.changed(validate_every=1, steps=2), tmp_path)
    each = read_numbers(tmp_path / "metrics.csv")
    assert [row["step"] for row in each] == [0, 1, 2]
    assert each[2]["loss"] == pytest.approx(second, rel=1e-4)
    assert each[1]["loss"] == each[0]["loss"]


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
    targets, reconstructions, _ = _write_pairs(tmp_path, model, theta)
    torch.testing.assert_close(targets, reconstructions)


def test_sounds_are_playable_pairs_at_a_common_gain(folder):
    for i in range(4):
        target, rate = soundfile.read(folder / "audio" / f"{i}_target.wav")
        found, _ = soundfile.read(folder / "audio" / f"{i}_reconstruction.wav")
        assert rate == 8192
        assert len(target) == len(found) == 4096
        assert max(abs(target).max(), abs(found).max()) == pytest.approx(0.9, abs=0.05)
