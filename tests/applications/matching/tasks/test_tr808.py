"""Matching drums: targets, nuisance, distances, recordings that are damaged or have changed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from multipath.applications.audio.files import write_audio
from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.encoder import Encoder
from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks import tr808
from multipath.applications.matching.tasks.data import Batch, Targets
from multipath.applications.matching.train import run
from multipath.applications.runs.files import read_numbers
from multipath.errors import ConfigurationError, InputError
from tests.applications.tiny import TINY_TR808, StopAt, use_tiny_presets

FEATURES = [
    f"{part}_{feature}"
    for part in ("transient", "decay")
    for feature in ("loudness", "centroid", "flatness")
]


@pytest.fixture(scope="module")
def drums(tmp_path_factory):
    """Ten recordings at two rates, two of them with a silent beginning."""
    folder = tmp_path_factory.mktemp("drums")
    for number in range(10):
        rate = (12000, 24000)[number % 2]
        time = torch.arange(rate // 10) / rate
        sound = 0.5 * torch.exp(-30 * time) * torch.sin(2 * torch.pi * (200 + 50 * number) * time)
        if number < 2:
            sound = torch.cat([torch.zeros(rate // 20), sound])
        write_audio(folder / f"{'BD' if number < 5 else 'SD'} {number}.wav", sound, rate)
    return folder


def recorded(folder, **changes) -> MatchConfig:
    return TINY_TR808.changed(data=str(folder), loss="mss", **changes)


@pytest.mark.slow
def test_the_paper_preset_is_that_of_the_paper():
    config = preset("paper", "tr808")
    task, training, encoder = config.task, config.training, config.encoder
    assert (task.n_samples, task.sample_rate, task.onset) == (44100, 44100.0, 2048)
    assert (training.batch_size, training.steps // training.validate_every) == (8, 50)
    assert (training.learning_rate, training.schedule) == (1e-4, "linear")
    assert len(task.scattering.build(task.n_samples, task.sample_rate).paths) == 483
    network = Encoder(
        14, channels=encoder.channels, embedding=encoder.embedding, pools=encoder.pools
    )
    assert sum(weight.numel() for weight in network.parameters()) == pytest.approx(724e3, rel=1e-3)


@pytest.mark.parametrize("alignment", ["micro", "meso"])
@pytest.mark.parametrize("noise", ["fixed", "random"])
def test_alignment_and_noise_decide_the_chance_of_reconstructions(alignment, noise):
    task = TINY_TR808.changed(alignment=alignment, noise=noise).task
    seeds, delays = task.draw_nuisance(2000, torch.Generator().manual_seed(0)).unbind(dim=1)
    reach = set(range(129)) if alignment == "meso" else {64}
    assert set(delays.tolist()) == reach
    assert len(seeds.unique()) == (1 if noise == "fixed" else 2000)
    judged = task.evaluation_nuisance(50, torch.Generator().manual_seed(0))
    assert judged[:, 1].tolist() == [64] * 50


def test_evaluation_renders_aligned_in_training_and_in_test():
    batches = SoundMatching(TINY_TR808.changed(alignment="meso")).batches
    assert all((batch.nuisance[:, 1] == 64).all() for batch in batches.all_of("test"))
    delays = torch.cat([batches.training_batch(k).nuisance[:, 1] for k in range(20)])
    assert len(delays.unique()) > 20


def test_targets_begin_after_the_onset(drums):
    for config in (TINY_TR808, recorded(drums)):
        for targets in config.task.targets(0).values():
            assert not targets.sounds[:, :64].any()
            loud = targets.sounds.abs() > 1e-2 * targets.sounds.abs().amax(dim=1, keepdim=True)
            assert (loud.int().argmax(dim=1) < 64 + 60).all()  # 5 ms


def test_synthetic_targets_are_met_by_their_parameters():
    model = SoundMatching(TINY_TR808)
    batch = next(model.batches.all_of("test"))
    right = model.evaluation(batch, batch.targets.theta)
    wrong = model.evaluation(batch, 1 - batch.targets.theta)
    assert right["theta"].abs().max() == 0
    for name in ("mss", "jtfs", *FEATURES):  # the noise is another
        assert right[name].mean() < 0.5 * wrong[name].mean(), name


def test_validation_leaves_out_the_scattering():
    model = SoundMatching(TINY_TR808)
    batch = next(model.batches.all_of("validation"))
    estimate = torch.full((batch.targets.size, 14), 0.5)
    cheap, full = (
        judge(batch, estimate) for judge in (model.evaluation.validate, model.evaluation)
    )
    assert full.keys() - cheap.keys() == {"jtfs"}
    assert all(cheap[name].equal(full[name]) for name in cheap)


def test_drums_in_several_parts_are_compared_as_in_one(monkeypatch):
    model = SoundMatching(TINY_TR808)
    batch = next(model.batches.all_of("test"))
    estimate = torch.full((batch.targets.size, 14), 0.5)
    whole = model.evaluation(batch, estimate)
    monkeypatch.setattr(tr808, "AT_ONCE", 3)
    parts = model.evaluation(batch, estimate)
    assert all(torch.allclose(parts[name], whole[name], rtol=1e-4) for name in whole)
    with pytest.raises(InputError, match="these targets have none"):
        model.evaluation(Batch(Targets(theta=batch.targets.theta), batch.nuisance), estimate)


@pytest.mark.slow
def test_a_run_on_recordings_tells_distances_by_type(drums, tmp_path):
    config = recorded(drums, alignment="meso")
    summary = run(config, tmp_path)
    assert summary["errors"] == "distances"
    assert summary["distances"].keys() == {"mss", "jtfs", *FEATURES}
    assert "jtfs" not in read_numbers(tmp_path / "metrics.csv")[0]
    types = summary["types"]
    assert {name: found["count"] for name, found in types.items()} == {"BD": 1, "SD": 1}
    for key, wanted in (("trained", "distances"), ("untrained", "untrained_error")):
        mean = (types["BD"][key]["mss"] + types["SD"][key]["mss"]) / 2
        assert summary[wanted]["mss"] == pytest.approx(mean)
    page = (tmp_path / "report.html").read_text()
    assert "<th>BD (1)</th><th>SD (1)</th>" in page
    assert "<td>decay_loudness</td>" in page
    assert re.findall("<h3>(.*?)</h3>", page) == summary["sounds"]  # by the names of the files
    assert len({*summary["sounds"]} & {file.name for file in drums.iterdir()}) == 2
    assert "true" not in re.sub('"data:[^"]*"', "", page)
    assert not (tmp_path / "estimates.png").exists()
    assert json.loads((tmp_path / "sources.json").read_text()).keys() == {
        file.name for file in drums.iterdir()
    }


@pytest.mark.slow
def test_training_comes_closer_to_recordings(drums, tmp_path):
    summary = run(recorded(drums, steps=60, validate_every=60, learning_rate=5e-3), tmp_path)
    assert summary["distances"]["mss"] < 0.8 * summary["untrained_error"]["mss"]


@pytest.mark.slow
def test_recordings_that_changed_are_not_resumed(drums, tmp_path):
    folder, out = tmp_path / "drums", tmp_path / "run"
    shutil.copytree(drums, folder)
    with pytest.raises(KeyboardInterrupt):
        run(recorded(folder), out, callbacks=[StopAt(6)])
    kept = (folder / "BD 1.wav").read_bytes()
    (folder / "BD 1.wav").write_bytes((folder / "BD 2.wav").read_bytes())
    (folder / "SD 9.wav").rename(folder / "SD 10.wav")
    wanted = "other recordings: BD 1.wav has changed, SD 10.wav is new, SD 9.wav is gone; restore"
    with pytest.raises(ConfigurationError, match=wanted):
        run(recorded(folder), out, resume=True)
    (folder / "BD 1.wav").write_bytes(kept)
    (folder / "SD 10.wav").rename(folder / "SD 9.wav")
    folder = folder.rename(tmp_path / "moved")  # where they are does not matter
    resumed = run(recorded(folder), out, resume=True)
    whole = run(recorded(folder), tmp_path / "whole")
    assert resumed["distances"] == whole["distances"]


def test_unreadable_recordings_are_named_and_skipped_or_refused(drums, caplog, monkeypatch):
    locked, opened = drums / "BD 3.wav", Path.open

    def refuse(self, *arguments, **options):  # root may read anything
        if self == locked:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    task = recorded(drums).task
    assert sum(targets.size for targets in task.targets(0).values()) == 9
    assert f"left out: {locked}: this is not a readable recording" in caplog.text
    assert "Permission denied" in caplog.text
    assert task.fingerprint()["BD 3.wav"] == "unreadable"
    with pytest.raises(InputError, match=r"BD 3\.wav: this is not a readable recording"):
        recorded(drums, refuse_bad_files=True).task.targets(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alignment": "macro"}, "alignment must be micro or meso, got 'macro'"),
        ({"noise": "pink"}, "noise must be fixed or random, got 'pink'"),
        ({"onset": 2048}, r"onset must lie in \[0, n_samples = 2048\), got 2048"),
        ({"n_targets": 0}, "n_targets must be at least 1, got 0"),
        ({"sample_rate": 12000.5}, "whole number of Hz from 1 to 1000000, got 12000.5"),
        ({"trim": float("nan")}, "trim must be a positive number of dB, got nan"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        TINY_TR808.changed(**changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either recordings to match (--data DIR) or --synthetic [N], got neither"),
        (("--synthetic", "9", "--data", "here"), "got both"),
        (("--data", "here", "9"), "got 9 beside --data: recordings are not counted"),
        (("--synthetic", "--alignment", "macro"), 'Choose from: "micro", "meso"'),
        (("--data", "nowhere"), "nowhere: there is no such folder"),
    ],
)
def test_mistakes_on_the_command_line(arguments, message, call, tmp_path):
    code, _, error = call("match", "tr808", *arguments, "--out", tmp_path / "run")
    assert code == 2
    assert message in error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_command_says_what_it_left_out_and_shows_distances(
    drums, call, tmp_path, caplog, monkeypatch
):
    use_tiny_presets(monkeypatch)
    folder = tmp_path / "drums"
    shutil.copytree(drums, folder)
    (folder / "BD 3.wav").write_bytes(b"no audio")
    words = ["match", "tr808", "--data", folder, "--loss", "mss", "--out", tmp_path / "run"]
    code, printed, error = call(*words)
    assert code == 0, error
    assert "BD 3.wav" in caplog.text
    for text in ("decay_loudness", "jtfs", "SD (1)", "report.html"):
        assert text in printed
