"""One sound matching run, from a configuration to a folder with its results."""

from __future__ import annotations

import logging
import math
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from multipath._internal.files import naming
from multipath._internal.names import visible
from multipath._internal.state import check_names, loaded_integer, loaded_tensor
from multipath.applications.runs.environment import describe_environment
from multipath.applications.runs.files import read_json, write_bytes, write_json, write_tensors
from multipath.applications.runs.folders import AFRESH, RunFolder, changed_files, folder_lock
from multipath.applications.runs.settings import differences
from multipath.errors import ConfigurationError, InputError, MultipathError
from multipath.importance import ThetaImportance, load_probabilities

from .callbacks import DrawHistogram, History, Progress, WholeCheckpoints
from .config import MatchConfig
from .module import SoundMatching
from .report import PAIRS, write_report
from .tasks.data import seeded
from .tasks.evaluation import by_type, means, steps_to_converge, total_variation

log = logging.getLogger(__name__)

CHECKPOINT = {
    *("pytorch-lightning_version", "epoch", "global_step", "state_dict", "loops", "callbacks"),
    *("optimizer_states", "lr_schedulers"),
}
"""What Lightning goes on from."""


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
    them; and ``probabilities.pt`` and ``start.pt``, copies of the files that a run draws from and
    starts from, if any, so that it can be resumed without the originals; and ``metric.journal``,
    the metrics of the targets, if the loss needs them: they are measured once. The checkpoint is
    removed when the run is finished. torch's global generator is left as it was found.

    Args:
        config: What to run.
        folder: Made if needed.
        resume: Go on from the last checkpoint of an interrupted run with the same configuration;
            the result is that of an uninterrupted one. Of a finished run it is returned at once.
        overwrite: Move what an earlier run left aside, into ``previous-1`` (or -2, ...) there.
        progress: Called after each step, see
            :data:`~multipath.applications.matching.callbacks.Progress`.
        callbacks: More Lightning callbacks.
        checkpoints: Save one at each validation.

    Returns:
        The content of ``summary.json``: errors in per mille L1, how fast and how steadily they fell
        (:mod:`~multipath.applications.matching.tasks.evaluation`), seconds per step, environment.

    Raises:
        ConfigurationError: If the folder holds another run and neither ``resume`` nor
            ``overwrite`` says what to do with it, there is nothing to resume, another process is
            at work there, or it holds files but no run.
        InputError: If a file of the run to resume is damaged.
    """
    files = MatchFolder(Path(folder))
    files.check_name()
    with folder_lock(files.root):
        going_on = files.check(config.to_dict(), resume=resume, overwrite=overwrite)
        fingerprint = config.task.fingerprint()
        if resume and (going_on or files.sources.exists()):
            files.check_sources(fingerprint)
        if resume and files.finished:
            return files.clear_up()
        gpus = range(torch.cuda.device_count())
        with _quiet_lightning(), torch.random.fork_rng(devices=gpus):
            torch.manual_seed(seeded(config.seed, "weights").initial_seed())
            model = SoundMatching(config, files.read_probabilities(config, resume=resume))
            start = files.source_of_weights(config, resume=resume)
            if start is not None:
                load_encoder(start, model.encoder)
            if not going_on:
                files.prepare(config, fingerprint, start, resume=resume)
            model.measure(files.metric, progress=progress is not None)
            untrained = model.evaluate("test", model.estimate("test"))
            if going_on:
                files.restore(model)
            history = History(files.metrics)

            def seed_step(trainer: Trainer, *_: Any) -> None:
                """Dropout is a function of the step: a resumed run repeats an uninterrupted one."""
                torch.manual_seed(seeded(config.seed, "step", trainer.global_step).initial_seed())

            def report_progress(trainer: Trainer, *_: Any) -> None:
                # the last step is told with its own validation, which follows
                if progress is not None and trainer.global_step < config.training.steps:
                    progress(trainer.global_step, history.rows[-1][model.evaluation.headline])

            around = LambdaCallback(
                on_train_batch_start=seed_step, on_train_batch_end=report_progress
            )
            own: list[Callback] = [history, DrawHistogram(files.draws), around]
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
                max_steps=config.training.steps,
                accelerator="auto",
                devices=1,
                logger=TensorBoardLogger(files.root, name=None, version=files.tensorboard.name),
                callbacks=[*own, *callbacks],
                plugins=[WholeCheckpoints()],
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=checkpoints,
                num_sanity_val_steps=-1,  # the validation at step 0
                use_distributed_sampler=False,
            )
            with naming(files.root):  # Lightning names no file
                _fit(trainer, model, files.checkpoint if going_on else None)
            model.cpu()
        history.write()
        if progress is not None:
            progress(config.training.steps, history.rows[-1][model.evaluation.headline])
        estimate = model.estimate("test")
        summary = _summarize(model, history, untrained, model.evaluate("test", estimate))
        if count := config.training.test_sounds:
            summary["scattering_distance"] = model.scattering_distance(estimate, count)
        write_tensors(files.encoder, model.encoder.state_dict())
        write_report(files.root, model, estimate, history.rows, summary)
        files.finish(summary)
        return summary


class MatchFolder(RunFolder):
    """The files of a run of sound matching."""

    may_change = ("task.data",)  # recordings may have moved: sources.json says what they are

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.encoder = root / "encoder.pt"
        self.sources = root / "sources.json"
        self.probabilities = root / "probabilities.pt"
        self.start = root / "start.pt"
        self.metric = root / "metric.journal"
        self.tensorboard = root / "tensorboard"
        self.checkpoint = root / "checkpoints" / "last.ckpt"

    def check_name(self) -> None:
        """Refuse names that TensorBoard could not write to, before anything is there."""
        try:
            str(self.root).encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(
                f"{self.root}: expected a name that is text (UTF-8), for TensorBoard's logs are in "
                "that folder; choose another one (--out)"
            ) from error

    def restore(self, model: SoundMatching) -> None:
        """Refuse a checkpoint that does not fit: Lightning would leave a log, and say it worse."""
        with self.restoring() as content:
            if not content.keys() >= CHECKPOINT:
                raise KeyError(*CHECKPOINT - content.keys())
            training, state = model.config.training, content["state_dict"]
            step = loaded_integer("the step", content["global_step"], 1, training.steps)
            (schedule,) = content["lr_schedulers"]
            if (schedule["last_epoch"], schedule["base_lrs"]) != (step, [training.learning_rate]):
                raise ValueError("another schedule")
            for name, own in model.state_dict().items():
                if not name.endswith("_extra_state"):  # which its owner checks
                    loaded_tensor(name, state[name], tuple(own.shape), own.dtype)
            model.load_state_dict(state)

    def read_probabilities(self, config: MatchConfig, *, resume: bool) -> Tensor | None:
        """The probabilities to draw from: a resumed run's own copy, else the file named."""
        if config.objective.probabilities is None:
            return None
        if resume and self.probabilities.exists():
            return load_probabilities(self.probabilities)
        file, title = config.objective.probabilities, config.task.title
        with suppress(InputError):  # plain probabilities; what is wrong with others is told below
            made = ThetaImportance.load(file).settings.get("task", title)
            if made != title:
                words = map(visible, (file, made, title))
                log.warning("%s was measured for %s, but this run matches %s", *words)
        return load_probabilities(file)

    def source_of_weights(self, config: MatchConfig, *, resume: bool) -> Path | None:
        """The weights to start from, if any: a resumed run's own copy, else those named."""
        if config.training.start is None:
            return None
        if resume and self.start.exists():
            return self.start
        named = Path(config.training.start)
        before = MatchFolder(named if named.is_dir() else named.parent)
        task = read_json(before.config).get("task") if before.config.is_file() else None
        if isinstance(task, Mapping):
            now = config.to_dict()["task"]
            if task.get("name") != now["name"]:
                raise ConfigurationError(
                    f"{named} matched {task.get('name')}, but this run matches {now['name']}; "
                    "start from a run of the same task"
                )
            if changed := list(differences(task, now, "task.")):
                log.warning(
                    "%s was trained with other settings, so that its parameters may mean something "
                    "else: %s",
                    visible(named),
                    visible("; ".join(changed[:3])),
                )
        return before.encoder if named.is_dir() else named

    def check_sources(self, fingerprint: dict[str, str]) -> None:
        """Refuse to go on when the files that the targets come from have changed."""
        saved = read_json(self.sources, AFRESH) if self.sources.exists() else {}
        changed = changed_files(saved, fingerprint)
        if changed:
            raise ConfigurationError(
                f"cannot resume {self.root} with other recordings: {', '.join(changed)}; "
                "restore them, or start again with --overwrite"
            )

    def prepare(
        self,
        config: MatchConfig,
        fingerprint: dict[str, str],
        start: Path | None = None,
        *,
        resume: bool = False,
    ) -> None:
        """Begin, and keep what the run depends on beside its settings."""
        needed: dict[Path, Path] = {}
        if config.objective.probabilities is not None:
            needed[self.probabilities] = Path(config.objective.probabilities)
        if start is not None:
            needed[self.start] = start
        contents = {  # first: the files may be those of an earlier run here
            copy: given.read_bytes()
            for copy, given in needed.items()
            if not (resume and copy.exists())
        }
        self.begin(config.to_dict(), resume=resume)
        for copy, content in contents.items():
            write_bytes(copy, content)
        if fingerprint:
            write_json(self.sources, fingerprint)


def load_encoder(file: Path, encoder: nn.Module) -> None:
    """Give an encoder the weights that an earlier run has found.

    Args:
        file: ``encoder.pt`` of that run.
        encoder: Changed in place.

    Raises:
        InputError: If there is no such file, it is damaged, or it holds the weights of another
            encoder.
    """
    own = encoder.state_dict()
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
        check_names("the encoder", found, own)
        weights = {
            name: loaded_tensor(name, found[name], tuple(value.shape), value.dtype)
            for name, value in own.items()
        }
    except PermissionError:
        raise
    except Exception as error:  # torch says what is wrong with a damaged file in many ways
        if isinstance(error, MultipathError):
            reason = str(error)
        else:
            reason = "it is damaged" if file.is_file() else "there is no such file"
        raise InputError(
            "expected a finished run of the same task and encoder to start from, or its "
            f"encoder.pt, got {file}, but {reason}"
        ) from error
    encoder.load_state_dict(weights)


def _fit(trainer: Trainer, model: SoundMatching, checkpoint: Path | None) -> None:
    """Train; an interruption stays a KeyboardInterrupt, where Lightning would end the process.

    Raises:
        InputError: If the checkpoint holds what Lightning cannot go on from.
    """
    handler = signal.getsignal(signal.SIGINT)
    started = threading.Event()
    trainer.callbacks.append(LambdaCallback(on_train_batch_start=lambda *_: started.set()))  # type: ignore[attr-defined]
    try:
        trainer.fit(model, ckpt_path=checkpoint)
    except SystemExit:
        if not trainer.interrupted:
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)  # Lightning has switched it off
        raise KeyboardInterrupt from None
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if checkpoint is None or started.is_set() or isinstance(error, MultipathError):
            raise
        raise InputError(f"{checkpoint} is damaged; {AFRESH}, or remove it") from error


def _summarize(
    model: SoundMatching, history: History, untrained: dict[str, Tensor], trained: dict[str, Tensor]
) -> dict[str, Any]:
    config, evaluation = model.config, model.evaluation
    training, objective = config.training, config.objective
    paths = getattr(getattr(model.criterion, "loss", model.criterion), "paths", None)
    test = model.batches.splits["test"]
    types, trained_rows = test.types, [row for row in history.rows if row["step"]]
    curve = [row[evaluation.headline] for row in trained_rows]
    steps = [row["step"] for row in trained_rows]
    return {
        "task": config.task.name,
        "variant": config.task.variant,
        "loss": objective.loss,
        "loss_description": model.objective.description,
        "probabilities": objective.probabilities,
        "reweight": objective.reweight,
        "preset": config.preset,
        "seed": config.seed,
        "steps": training.steps,
        "errors": evaluation.key,
        "headline": evaluation.headline,
        "unit": evaluation.unit,
        evaluation.key: means(trained),
        "untrained_error": means(untrained),
        "types": {} if types is None else by_type(types, trained, untrained),
        "steps_to_converge": steps_to_converge(steps, curve, training.threshold),
        "total_variation": total_variation(curve),
        "seconds_per_step": history.seconds_per_step,
        "training_seconds": math.fsum(history.durations),
        "sounds": [test.name(i) for i in range(min(PAIRS, test.size))],
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
