"""What happens around the training steps: history, checkpoints, counts of draws."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from multipath._internal.state import check_names, loaded_real, refused
from multipath.applications.runs.files import check_rows, write_csv, write_tensors
from multipath.integrations.lightning import DrawCounter
from multipath.metric import AdaptiveDamping

Progress = Callable[[int, float | None], None]
"""Called after each step with the number of steps done and the latest error, if any."""


class History(Callback):
    """Keeps one row a validation, rewrites ``metrics.csv``, and times the training steps.

    The first row is that of step 0, before training, with the loss of the first step. In the others
    the loss is the mean over the steps since the row before.

    It is part of the checkpoint: a resumed run carries its rows on.

    Args:
        file: Where the rows go.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, float]] = []
        self.durations: list[float] = []
        self._losses: list[torch.Tensor] = []
        self._started = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock."""
        self._started = perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop the clock and remember the loss."""
        self.durations.append(perf_counter() - self._started)
        self._losses.append(outputs["loss"].detach())
        if math.isnan(self.rows[0]["loss"]):
            self.rows[0]["loss"] = float(self._losses[0])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a row; what is resumed has that of step 0 already."""
        if trainer.sanity_checking and self.rows:
            return
        loss = float(torch.stack(self._losses).mean()) if self._losses else float("nan")
        self._losses.clear()
        errors = {
            name.removeprefix("validation/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("validation/")
        }
        self.rows.append({"step": trainer.global_step, "loss": loss, **errors})
        if not trainer.sanity_checking:
            self.write()

    def write(self) -> None:
        """Write every row to the file."""
        if self.rows:
            write_csv(self.file, self.rows)

    @property
    def seconds_per_step(self) -> float:
        """Mean over the steps; paths differ in cost, so a median would flatter."""
        return statistics.fmean(self.durations)

    def state_dict(self) -> dict[str, Any]:
        """Rows and durations so far."""
        return {"rows": self.rows, "durations": self.durations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Carry on.

        Raises:
            InputError: If it holds no such rows and durations.
            ConfigurationError: If it is the state of something else.
        """
        check_names("History", state_dict, ("rows", "durations"))
        rows, durations = state_dict["rows"], state_dict["durations"]
        check_rows("the rows of the history", rows)
        if not isinstance(durations, list):
            raise refused("the durations of the history", "a list of seconds", durations)
        seconds = [loaded_real("a duration of the history", each) for each in durations]
        self.rows, self.durations = list(rows), seconds


class Damping(Callback):
    """Ends the epochs of an :class:`~multipath.metric.AdaptiveDamping`, and is saved with them.

    It looks at ``validation/pnp``, which the module logs.

    Args:
        damping: What is shrunk or grown at each validation.
    """

    def __init__(self, damping: AdaptiveDamping) -> None:
        self.damping = damping

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the encoder and the optimizer's state, or put them back to where they were best."""
        if trainer.sanity_checking:
            return
        value = trainer.callback_metrics["validation/pnp"]
        self.damping.update(value, pl_module.encoder, trainer.optimizers[0])  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """That of the damping."""
        return self.damping.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Carry on.

        Raises:
            InputError: If it is damaged.
            ConfigurationError: If it is the state of something else.
        """
        self.damping.load_state_dict(state_dict)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces, and runs nothing that it reads.

    Lightning writes to the folder of temporary files and moves from there, which is a copy where
    that is another disk: an interruption or a full disk would leave half a checkpoint and no other.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Save to a file; its folder is made if needed, in one that is there.

        Args:
            checkpoint: What to save.
            path: The file.
            storage_options: Not used: they are for other places than files.
        """
        file = Path(path)
        file.parent.mkdir(exist_ok=True)  # and no more: a run whose folder was removed has failed
        write_tensors(file, checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load from a file.

        Args:
            path: The file.
            map_location: As for :func:`torch.load`.
            weights_only: Not used: code in a checkpoint is never run.
        """
        content: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        return content


class DrawHistogram(DrawCounter):
    """Counts how often each path is drawn, and writes ``draws.csv``.

    It looks at the module's ``criterion``, see
    :class:`~multipath.integrations.lightning.DrawCounter`; where nothing is counted nothing is
    written. The table is rewritten after each validation and at the end.

    Args:
        file: Where the table goes.
    """

    def __init__(self, file: Path | str) -> None:
        super().__init__()
        self.file = Path(file)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write."""
        if self.draws is not None and not trainer.sanity_checking:
            write_csv(self.file, self.draws.rows())

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last steps too."""
        if self.draws is not None:
            write_csv(self.file, self.draws.rows())
