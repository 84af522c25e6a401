"""Reports of runs, and the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import soundfile
import torch

from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.report import _write_pairs
from multipath.applications.matching.train import run
from tests.applications.tiny import TINY, TINY_GRANULAR

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
