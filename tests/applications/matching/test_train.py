"""Sound matching end to end on tiny tasks: learning, resuming, run folders."""

from __future__ import annotations

import json
import logging
import math
import shutil
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.train import run
from multipath.applications.runs.files import read_numbers
from multipath.errors import ConfigurationError, InputError
from tests.applications.tiny import TASKS, TINY, TINY_GRANULAR, StopAt
from tests.runs_code import RunsCode

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_report")]  # they train


def test_supervised_training_learns(tmp_path):
    config = TINY.changed(
        n_targets=200, steps=150, validate_every=75, channels=(8, 16, 16), dropout=0.0
    )
    summary = run(config, tmp_path)
    assert summary["theta_error"]["FM"] < 0.5 * summary["untrained_error"]["FM"]


@pytest.mark.parametrize(
    "config",
    [
        *(TINY.changed(loss=loss) for loss in ("ploss", "kpaths", "scrapl", "scrapl-padam")),
        TINY_GRANULAR.changed(loss="scrapl"),
    ],
    ids=lambda config: f"{config.task.name}-{config.objective.loss}",
)
def test_an_interrupted_run_resumes_to_the_same_result(config, tmp_path):
    whole = run(config, tmp_path / "whole")
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "parts", callbacks=[StopAt(6)])
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (tmp_path / "parts" / "summary.json").exists()
    rest = StopAt()
    resumed = run(config, tmp_path / "parts", resume=True, callbacks=[rest])
    assert rest.seen == [5, 6, 7, 8, 9, 10]  # from the checkpoint at step 4, not from the start
    assert resumed["theta_error"] == whole["theta_error"]
    metrics = [read_numbers(tmp_path / name / "metrics.csv") for name in ("whole", "parts")]
    assert metrics[0] == metrics[1]
    if config.objective.loss != "ploss":
        draws = [(tmp_path / name / "draws.csv").read_text() for name in ("whole", "parts")]
        assert draws[0] == draws[1]
    weights = [torch.load(tmp_path / name / "encoder.pt") for name in ("whole", "parts")]
    assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])
    assert not list((tmp_path / "parts" / "checkpoints").iterdir())


@pytest.mark.parametrize("name", ["chirplet", "granular"])
def test_the_summary_says_what_the_saved_encoder_scores(name, tmp_path):
    config = TASKS[name].changed(threshold=1e9)
    summary = run(config, tmp_path)
    model = SoundMatching(config)
    model.encoder.load_state_dict(torch.load(tmp_path / "encoder.pt"))
    theta = model.batches.splits["test"].theta
    distance = 1000 * (model.estimate("test") - theta).abs().mean(dim=0)
    names = {"chirplet": ("AM", "FM"), "granular": ("density", "slope")}[name]
    wanted = {"theta": float(distance.mean()), **dict(zip(names, distance.tolist(), strict=True))}
    assert summary["theta_error"] == pytest.approx(wanted, rel=1e-5)
    assert summary["untrained_error"].keys() == wanted.keys()
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    saved = MatchConfig.from_dict(json.loads((tmp_path / "config.json").read_text()))
    assert saved == config
    assert summary["task"] == name
    assert summary["steps_to_converge"] == 4  # any error is below a threshold that high
    _, *errors = [row["theta"] for row in read_numbers(tmp_path / "metrics.csv")]
    assert summary["total_variation"] == pytest.approx(abs(errors[1] - errors[0]) / 2)


def test_a_run_prints_nothing_and_leaves_global_state_as_it_was(tmp_path, capfd):
    logger = logging.getLogger("lightning.pytorch")
    before = torch.get_rng_state(), torch.get_num_threads(), logger.level
    run(TINY, tmp_path)
    assert torch.get_rng_state().equal(before[0])
    assert (torch.get_num_threads(), logger.level) == before[1:]
    assert capfd.readouterr() == ("", "")


def test_a_run_depends_on_its_seed_alone(tmp_path):
    torch.manual_seed(1)
    first = run(TINY, tmp_path / "first")
    torch.manual_seed(2)
    second = run(TINY, tmp_path / "second")
    other = run(TINY.changed(seed=1), tmp_path / "other")
    assert first["theta_error"] == second["theta_error"] != other["theta_error"]


def test_a_run_of_other_settings_is_not_resumed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(TINY, tmp_path, callbacks=[StopAt(5)])
    for changed, difference in (
        (TINY.changed(synth="slow-slow"), r"task\.synth was fast-moderate, is slow-slow"),
        (TINY_GRANULAR, r"task\.name was chirplet, is granular;.*f0 was 512\.0, is not set"),
    ):
        with pytest.raises(ConfigurationError, match=f"with other settings: {difference}"):
            run(changed, tmp_path, resume=True)


def test_resuming_before_the_first_checkpoint_starts_over(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(TINY, tmp_path, callbacks=[StopAt(2)])
    steps = StopAt()
    run(TINY, tmp_path, resume=True, callbacks=[steps])
    assert steps.seen[0] == 1


def test_a_run_takes_one_batch_after_the_other_and_tells_of_each_step(tmp_path):
    taken: list[torch.Tensor] = []
    told: list[tuple[int, float]] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, batch, index) -> None:
            taken.append(batch.targets.theta)

    run(TINY, tmp_path, callbacks=[Watch()], progress=lambda *step: told.append(step))
    batches = SoundMatching(TINY).batches
    wanted = [batches.training_batch(k).targets.theta for k in range(10)]
    assert all(theta.equal(other) for theta, other in zip(taken, wanted, strict=True))
    rows = read_numbers(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows] == [0, 4, 8]
    errors = [row["theta"] for row in rows]
    assert errors == pytest.approx([(row["AM"] + row["FM"]) / 2 for row in rows])
    assert [step for step, _ in told] == list(range(1, 11))
    assert [told[2][1], told[6][1], told[9][1]] == errors


def test_the_error_told_in_the_end_is_that_of_the_last_step(tmp_path):
    told: list[tuple[int, float]] = []
    run(TINY.changed(steps=8), tmp_path, progress=lambda *step: told.append(step))
    assert told[-1] == (8, read_numbers(tmp_path / "metrics.csv")[-1]["theta"])
    assert [step for step, _ in told] == list(range(1, 9))


def test_the_learning_rate_follows_its_schedule(tmp_path):
    rates: list[float] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, *_) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    run(TINY.changed(schedule="cosine"), tmp_path, callbacks=[Watch()])
    wanted = [0.5e-3 * (1 + math.cos(math.pi * k / 10)) for k in range(10)]
    assert rates == pytest.approx(wanted, rel=1e-5)


DRAWING = TINY.changed(loss="scrapl")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.raises(KeyboardInterrupt):
        run(DRAWING, folder, callbacks=[StopAt(6)])
    return folder


def without(*path):
    def change(state):
        *groups, name = path
        for group in groups:
            state = state[group]
        del state[name]

    return change


def zeroed(state):
    state["state_dict"]["criterion._extra_state"].zero_()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {"a": 1},
        lambda state: [1],
        lambda state: {**state, "state_dict": 5},
        without("pytorch-lightning_version"),
        without("optimizer_states"),
        without("loops"),
        without("state_dict", "encoder.dense.0.weight"),
        without("state_dict", "criterion._extra_state"),
        lambda state: {**state, "code": RunsCode("ran")},
        zeroed,
    ],
)
def test_an_intact_checkpoint_of_other_content_is_damaged(
    interrupted, tmp_path, monkeypatch, change
):
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(interrupted, tmp_path / "run"))
    file = folder / "checkpoints" / "last.ckpt"
    state = torch.load(file, weights_only=False)
    torch.save(change(state) or state, file)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"last\.ckpt is damaged; start again with --overwrite"):
        run(DRAWING, folder, resume=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "ran").exists()


def test_training_that_diverges_stops_with_a_reason(tmp_path):
    with pytest.raises(InputError, match="training has diverged; lower the learning rate"):
        run(TINY.changed(loss="mss", learning_rate=1e6), tmp_path)
    with pytest.raises(ConfigurationError, match="learning_rate must be positive"):
        TINY.changed(learning_rate=float("nan"))


def test_a_run_that_cannot_be_built_leaves_no_folder(tmp_path):
    with pytest.raises(ConfigurationError, match="lower f0 or the bandwidth"):
        run(TINY.changed(f0=900.0), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run(TINY, tmp_path / "done")
    with pytest.raises(ConfigurationError, match="lower f0 or the bandwidth"):
        run(TINY.changed(f0=900.0), tmp_path / "done", overwrite=True)
    assert (tmp_path / "done" / "summary.json").exists()


def test_a_run_starts_from_what_another_one_has_found(tmp_path):
    first = run(TINY.changed(loss="ploss"), tmp_path / "first")
    later = TINY.changed(loss="kpaths", start=str(tmp_path / "first"))
    with pytest.raises(KeyboardInterrupt):
        run(later, tmp_path / "later", callbacks=[StopAt(2)])
    whole = run(later.changed(start=str(tmp_path / "first" / "encoder.pt")), tmp_path / "whole")
    shutil.rmtree(tmp_path / "first")  # a resumed run has its own copy
    resumed = run(later, tmp_path / "later", resume=True)
    assert resumed["untrained_error"] == first["theta_error"]
    assert resumed["theta_error"] == whole["theta_error"] != first["theta_error"]


def test_weights_that_no_run_can_start_from_are_refused(tmp_path, caplog):
    run(TINY.changed(channels=(4, 4)), tmp_path / "other")
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes((tmp_path / "other" / "encoder.pt").read_bytes()[:-100])
    (tmp_path / "empty").mkdir()
    for start, reason in {
        "other": "this state is not that of the encoder|must be",
        "damaged.pt": "it is damaged",
        "empty": "there is no such file",
        "absent": "there is no such file",
    }.items():
        with pytest.raises(InputError, match=f"same task and encoder.*{start}.*, but.*({reason})"):
            run(TINY.changed(start=str(tmp_path / start)), tmp_path / "run")
        assert not [each for each in (tmp_path / "run").glob("*") if each.name[0] != "."]
    other = TINY.changed(start=str(tmp_path / "other" / "encoder.pt"), synth="slow-slow", steps=1)
    run(other.changed(channels=(4, 4), validate_every=1), tmp_path / "slow")
    assert caplog.text.count("task.synth was fast-moderate, is slow-slow") == 1
    run(TINY_GRANULAR, tmp_path / "textures")
    with pytest.raises(ConfigurationError, match="textures matched granular, but this run matches"):
        run(TINY.changed(start=str(tmp_path / "textures")), tmp_path / "run")
