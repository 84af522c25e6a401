"""One sound matching run, from a configuration to a folder with its results."""

from __future__ import annotations

import json
import logging
import math
import shutil
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from ..errors import ConfigurationError, InputError
from .callbacks import History, Progress, ReportProgress, SeededSteps
from .data import seeded
from .environment import describe_environment
from .matching import SoundMatching, theta_errors
from .presets import LOSSES, MatchConfig
from .report import write_report

log = logging.getLogger(__name__)


def run(
    config: MatchConfig,
    folder: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoints: bool = True,
) -> dict[str, Any]:
    """Train, test, and write everything a run leaves behind.

    The folder gets ``config.json``, ``metrics.csv``, ``summary.json``, ``encoder.pt``, plots (PNG),
    pairs of target and reconstruction (WAV), TensorBoard logs, and ``report.html``, which shows
    them. The checkpoint is removed when the run is finished. torch's global generator is left as
    it was found.

    Args:
        config: What to run.
        folder: Made if needed.
        resume: Go on from the last checkpoint of an interrupted run with the same configuration;
            the result is that of an uninterrupted one.
        overwrite: Discard what an earlier run left in the folder.
        progress: Called after each step, see :data:`~multipath.applications.callbacks.Progress`.
        callbacks: More Lightning callbacks.
        checkpoints: Save one at each validation.

    Returns:
        The content of ``summary.json``: errors in per mille L1, seconds per step, environment.

    Raises:
        ConfigurationError: If the folder holds another run and neither ``resume`` nor
            ``overwrite`` says what to do with it, or there is nothing to resume.
    """
    files = RunFolder(Path(folder))
    checkpoint = files.prepare(config, resume=resume, overwrite=overwrite)
    gpus = range(torch.cuda.device_count())
    with _quiet_lightning(), torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seeded(config.seed, "weights").initial_seed())
        model = SoundMatching(config)
        untrained = _errors(model, *model.estimate("test"))
        history = History(files.metrics)
        own: list[Callback] = [SeededSteps(config.seed), history]
        if progress is not None:
            own.append(ReportProgress(progress, history))
        if checkpoints:
            own.append(
                ModelCheckpoint(
                    files.checkpoint.parent,
                    files.checkpoint.stem,
                    save_on_train_epoch_end=True,
                    enable_version_counter=False,
                )
            )
        trainer = Trainer(
            max_steps=config.steps,
            accelerator="auto",
            devices=1,
            logger=TensorBoardLogger(files.root, name=None, version=files.tensorboard.name),
            callbacks=[*own, *callbacks],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=checkpoints,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        _fit(trainer, model, checkpoint)
        model.cpu()
    history.write()
    theta, estimate = model.estimate("test")
    summary = _summarize(model, history, untrained, _errors(model, theta, estimate))
    torch.save(model.encoder.state_dict(), files.encoder)
    write_report(files.root, model, (theta, estimate), history.rows, summary)
    files.summary.write_text(json.dumps(summary, indent=2) + "\n")
    files.checkpoint.unlink(missing_ok=True)
    return summary


class RunFolder:
    """The files of a run, and what may be done with a folder that already has some.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.json"
        self.metrics = root / "metrics.csv"
        self.summary = root / "summary.json"
        self.encoder = root / "encoder.pt"
        self.tensorboard = root / "tensorboard"
        self.checkpoint = root / "checkpoints" / "last.ckpt"

    def prepare(self, config: MatchConfig, *, resume: bool, overwrite: bool) -> Path | None:
        """Make the folder ready, and return the checkpoint to go on from, if any."""
        if resume and overwrite:
            raise ConfigurationError("resume and overwrite exclude each other; choose one")
        if self.summary.exists() and not overwrite:
            raise ConfigurationError(
                f"{self.root} holds a finished run; choose another folder (--out), or discard it "
                "with --overwrite"
            )
        if resume:
            return self._resume(config)
        if self.config.exists() and not overwrite:
            raise ConfigurationError(
                f"{self.root} holds an unfinished run; go on with --resume, or discard it with "
                "--overwrite"
            )
        for stale in (self.summary, self.checkpoint, self.metrics):
            stale.unlink(missing_ok=True)
        shutil.rmtree(self.tensorboard, ignore_errors=True)
        self.root.mkdir(parents=True, exist_ok=True)
        self.config.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
        return None

    def _resume(self, config: MatchConfig) -> Path | None:
        if not self.config.exists():
            raise ConfigurationError(
                f"nothing to resume: {self.root} holds no run; start one without --resume"
            )
        try:
            saved = MatchConfig.from_dict(json.loads(self.config.read_text())).to_dict()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{self.config} is damaged ({error}); start again with --overwrite"
            ) from error
        now = config.to_dict()
        changed = [
            f"{key} was {saved[key]}, is {now[key]}" for key in now if now[key] != saved[key]
        ]
        if changed:
            raise ConfigurationError(
                f"cannot resume {self.root} with other settings: {'; '.join(changed)}"
            )
        if not self.checkpoint.exists():
            log.info("no checkpoint in %s yet: starting from the beginning", self.root)
            return None
        try:
            torch.load(self.checkpoint, map_location="meta", weights_only=False)
        except Exception as error:  # whatever unpickling a damaged file may raise
            raise InputError(
                f"{self.checkpoint} is damaged; start again with --overwrite"
            ) from error
        return self.checkpoint


def _fit(trainer: Trainer, model: SoundMatching, checkpoint: Path | None) -> None:
    """Train; an interruption stays a KeyboardInterrupt, where Lightning would end the process."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(model, ckpt_path=checkpoint)
    except SystemExit:
        if not trainer.interrupted:
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)  # Lightning has switched it off
        raise KeyboardInterrupt from None


def _errors(model: SoundMatching, theta: Tensor, estimate: Tensor) -> dict[str, float]:
    return theta_errors((estimate - theta).abs().mean(dim=0), model.synth.parameter_names)


def _summarize(
    model: SoundMatching, history: History, untrained: dict[str, float], trained: dict[str, float]
) -> dict[str, Any]:
    config = model.config
    paths = getattr(getattr(model.criterion, "loss", model.criterion), "paths", None)
    return {
        "application": "chirplet",
        "synth": config.synth,
        "loss": config.loss,
        "loss_description": LOSSES[config.loss],
        "preset": config.preset,
        "seed": config.seed,
        "steps": config.steps,
        "theta_error": trained,
        "untrained_error": untrained,
        "seconds_per_step": history.seconds_per_step,
        "training_seconds": math.fsum(history.durations),
        "paths": None if paths is None else len(paths),
        "encoder_weights": sum(weight.numel() for weight in model.encoder.parameters()),
        "environment": describe_environment(),
    }


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's tips and its advice about data loading workers."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
