"""Matching drums: targets, nuisance, distances, recordings that are damaged or have changed."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from multipath.applications.audio.files import write_audio
from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.encoder import Encoder
from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks import tr808 as drum_distances
from multipath.applications.matching.tasks.data import Batch, Targets
from multipath.applications.matching.train import run
from multipath.applications.runs.files import read_numbers
from multipath.errors import ConfigurationError, InputError
from tests.applications.tiny import TINY_TR808

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


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


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
    monkeypatch.setattr(drum_distances, "AT_ONCE", 3)
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
    assert "audio/0_target.wav" in page
    assert json.loads((tmp_path / "sources.json").read_text()).keys() == {
        file.name for file in drums.iterdir()
    }


@pytest.mark.slow
def test_training_comes_closer_to_recordings(drums, tmp_path):
    summary = run(recorded(drums, steps=60, validate_every=60, learning_rate=5e-3), tmp_path)
    assert summary["distances"]["mss"] < 0.8 * summary["untrained_error"]["mss"]


def test_nobody_knows_the_parameters_of_recordings(drums):
    with pytest.raises(ConfigurationError, match="nobody knows those of the targets of tr808"):
        recorded(drums).changed(loss="ploss")


@pytest.mark.slow
def test_recordings_that_changed_are_not_resumed(drums, tmp_path):
    folder, out = tmp_path / "drums", tmp_path / "run"
    folder.mkdir()
    for file in drums.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
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


def test_damaged_recordings_are_named_and_skipped_or_refused(drums, tmp_path, caplog):
    for file in drums.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "BD 3.wav").write_bytes(b"no audio")
    write_audio(tmp_path / "SD 7.wav", torch.zeros(2000), 12000)
    with caplog.at_level(logging.WARNING):
        targets = recorded(tmp_path).task.targets(0)
    assert sum(each.size for each in targets.values()) == 8
    assert [name for name in ("BD 3.wav", "SD 7.wav") if name in caplog.text] == [
        "BD 3.wav",
        "SD 7.wav",
    ]
    with pytest.raises(InputError, match=r"BD 3\.wav"):
        recorded(tmp_path, refuse_bad_files=True).task.targets(0)


@pytest.mark.slow
def test_unreadable_recordings_are_named_and_skipped_or_refused(
    drums, tmp_path, caplog, monkeypatch
):
    folder = Path(shutil.copytree(drums, tmp_path / "drums"))
    locked, opened = folder / "BD 3.wav", Path.open

    def refuse(self, *arguments, **options):  # root may read anything
        if self == locked:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    def read(self):
        with self.open("rb") as stream:
            return stream.read()

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", read)
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        run(recorded(folder), tmp_path / "run", callbacks=[StopAt(6)])
    assert f"left out: {locked}: this is not a readable recording" in caplog.text
    assert "Permission denied" in caplog.text
    with pytest.raises(InputError, match=r"BD 3\.wav: this is not a readable recording"):
        run(recorded(folder, refuse_bad_files=True), tmp_path / "refused")
    run(recorded(folder), tmp_path / "run", resume=True)
    with pytest.raises(KeyboardInterrupt):
        run(recorded(folder), tmp_path / "run", overwrite=True, callbacks=[StopAt(6)])
    monkeypatch.undo()
    with pytest.raises(ConfigurationError, match=r"other recordings: BD 3\.wav has changed;"):
        run(recorded(folder), tmp_path / "run", resume=True)


def test_too_few_recordings_leave_no_run_behind(drums, tmp_path):
    out, few = tmp_path / "run", tmp_path / "few"
    few.mkdir()
    with pytest.raises(InputError, match="there is no recording in it"):
        run(recorded(few), out)
    for name in ("BD 0.wav", "BD 1.wav"):
        (few / name).write_bytes((drums / name).read_bytes())
    with pytest.raises(InputError, match="at least 3 usable recordings are needed"):
        run(recorded(few), out)
    (few / "BD 2.wav").write_bytes((drums / "BD 2.wav").read_bytes())
    with pytest.raises(
        ConfigurationError, match=r"that fill a training batch of 4 .* about 7 are needed"
    ):
        run(recorded(few), out)
    assert not out.exists()


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
def test_mistakes_on_the_command_line(arguments, message, capsys, tmp_path):
    from multipath.applications.cli.main import main

    with pytest.raises(SystemExit) as stop:
        main(["match", "tr808", *arguments, "--out", str(tmp_path / "run")])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_command_says_what_it_left_out_and_shows_distances(drums, tmp_path, monkeypatch):
    folder = tmp_path / "drums"
    folder.mkdir()
    for file in drums.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "BD 3.wav").write_bytes(b"no audio")
    code = (
        "from multipath.applications.cli import main as cli\n"
        "from pytest import MonkeyPatch\n"
        "from tests.applications.tiny import use_tiny_presets\n"
        "use_tiny_presets(MonkeyPatch())\n"
        "cli.main()"
    )
    arguments = ["match", "tr808", "--data", folder, "--loss", "mss", "--out", tmp_path / "run"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "BD 3.wav" in done.stderr
    for text in ("decay_loudness", "jtfs", "SD (1)", "report.html"):
        assert text in done.stdout
