"""The page of the documentation that lets one hear training, and what it is made from."""

import base64
import importlib.util
import io
import json
import logging
import sys
from types import SimpleNamespace

import pytest
import torch

from tests import ROOT

soundfile = pytest.importorskip("soundfile")
RUNS = ROOT / "docs" / "listening" / "runs.json"


def load(path):
    """A module of the documentation."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def listening():
    return load(ROOT / "docs" / "_ext" / "listening.py")


@pytest.fixture(scope="module")
def page(listening, tmp_path_factory):
    file = tmp_path_factory.mktemp("listening") / "page.html"
    listening.write_training(file)
    return file


def test_what_was_trained_is_small_and_complete(listening):
    assert RUNS.stat().st_size < 2**20
    found = json.loads(RUNS.read_text(encoding="utf-8"))
    assert [task["name"] for task in found["tasks"]] == list(listening.WORDS)
    losses = [{run["loss"] for run in task["runs"]} for task in found["tasks"]]
    assert losses == [{"mss-log", "scrapl", "kpaths", "pnp"}] * 3
    for task in found["tasks"]:
        starts = {run["rows"][0]["error"] for run in task["runs"]}
        assert len(starts) == 1  # from the same weights
        steps = [[row["step"] for row in run["rows"] if "sounds" in row] for run in task["runs"]]
        assert steps == steps[:1] * 4
        assert (steps[0][0], steps[0][-1]) == (0, found["steps"])
        for run in task["runs"]:
            seconds = [row["seconds"] for row in run["rows"]]
            assert seconds == sorted(seconds)
            heard = [sound for row in run["rows"] for sound in row.get("sounds", [])]
            assert len(heard) == len(task["sounds"]) * len(steps[0])
        for sound in task["sounds"]:
            samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sound)))
            assert rate == found["rate"]
            assert len(samples) / rate == pytest.approx(1, abs=0.2)
            assert abs(samples).max() > 0.3


def test_the_page_in_a_browser(page, browser):
    assert browser.faults(page) == []
    assert browser.run("document.querySelectorAll('section').length") == 3
    assert browser.run("document.querySelectorAll('audio').length") == 15

    def seen():
        """What the first section shows."""
        return browser.run(
            "(section => ({"
            "step: section.querySelector('output').textContent,"
            "marks: [...section.querySelectorAll('circle')].map(x => x.getAttribute('cx')),"
            "sounds: [...section.querySelectorAll('audio')].map(x => x.src),"
            "errors: [...section.querySelectorAll('.error')].map(x => x.textContent)"
            "}))(document.querySelector('section'))"
        )

    def different(before, after):
        return [one != two for one, two in zip(before, after, strict=True)]

    first = seen()
    assert first["step"].startswith("0 of ")
    browser.run("document.querySelector('section input').focus()")
    browser.press("ArrowRight")
    second = seen()
    assert second["step"] != first["step"]
    assert different(first["marks"], second["marks"]) == [True] * 4
    assert different(first["errors"], second["errors"]) == [True] * 4
    assert different(first["sounds"], second["sounds"]) == [False] + [True] * 4
    # the other sound
    browser.run("document.querySelectorAll('section [data-sound]')[1].click()")
    third = seen()
    assert different(second["sounds"], third["sounds"]) == [True] * 5
    assert third["step"] == second["step"]
    # spectrograms have colors
    browser.wait(
        "[...document.querySelectorAll('section canvas')].every(canvas => canvas.height < 150 &&"
        " Math.max(...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
        ".filter((_, i) => i % 4 === 0)) > 200)"
    )
    # the target, then a reconstruction
    browser.run(
        "window.played = []; document.querySelectorAll('section audio').forEach((player, i) =>"
        " player.addEventListener('playing', () => played.push(i)));"
        "document.querySelector('section .then').click()"
    )
    browser.wait("played.join() === '0,1'")
    assert browser.complaints == []


def test_pages_come_with_a_build_of_html_and_the_map_if_its_sources_changed(
    listening, tmp_path, monkeypatch
):
    written = []

    def write_difference(file):
        written.append(file.name)
        file.touch()

    monkeypatch.setattr(listening, "write_difference", write_difference)
    build = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(name="html"))
    other = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(name="dummy"))
    listening.write_pages(other, None)
    listening.write_pages(build, ValueError("failed"))
    assert not list(tmp_path.iterdir())
    listening.write_pages(build, None)
    listening.write_pages(build, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "listen_to_training.html",
        "which_modulation_differs.html",
    ]
    assert written == ["which_modulation_differs.html"]


def test_the_script_trains(listening, tmp_path, monkeypatch, capsys):
    script = load(ROOT / "docs" / "listening_runs.py")
    few = {"n_targets": 10, "validate_every": 1, "channels": (4, 4, 4, 4)}
    monkeypatch.setattr(script, "SHARED", script.SHARED | few)
    monkeypatch.setattr(script, "LOSSES", {"ploss": "parameters"})
    arguments = ["listening_runs", "--only", "chirplet", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(tmp_path / "runs.json")])
    logger, threads = logging.getLogger("lightning.pytorch"), torch.get_num_threads()
    monkeypatch.setattr(logger, "level", logger.level)
    with torch.random.fork_rng():
        script.main()
    torch.set_num_threads(threads)
    listening.write_training(tmp_path / "page.html", tmp_path / "runs.json")
    assert "chirplet ploss" in capsys.readouterr().out
    (task,) = json.loads((tmp_path / "runs.json").read_text())["tasks"]
    (run,) = task["runs"]
    assert [row["step"] for row in run["rows"]] == [0, 1, 2]
    assert run["rows"][0]["parameters"] != run["rows"][2]["parameters"]
