"""A Lightning callback that counts the paths drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from .. import StochasticLoss
from .draw_counts import DrawCounts


class DrawHistogram(Callback):
    """Counts how often each path is drawn, and writes ``draws.csv``.

    It looks at the module's ``criterion``; unless that is a
    :class:`~multipath.StochasticLoss`, nothing is counted and nothing written. Draws count once a
    step, however many micro-batches share them. The table is rewritten after each validation and at
    the end. Part of the checkpoint: a resumed run counts on.

    Args:
        file: Where the table goes.
    """

    def __init__(self, file: Path | str) -> None:
        self.file = Path(file)
        self.draws: DrawCounts | None = None
        self._state: dict[str, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the paths."""
        criterion = getattr(pl_module, "criterion", None)
        if isinstance(criterion, StochasticLoss):
            self.draws = DrawCounts(criterion.loss.paths)
            if self._state:
                self.draws.load_state_dict(self._state)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any
    ) -> None:
        """Count."""
        if self.draws is not None:
            self.draws.add(pl_module.criterion.last_draw)  # type: ignore[arg-type, union-attr]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write."""
        if self.draws is not None and not trainer.sanity_checking:
            self.draws.write(self.file)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last steps too."""
        if self.draws is not None:
            self.draws.write(self.file)

    def state_dict(self) -> dict[str, Any]:
        """Counts so far."""
        return {} if self.draws is None else self.draws.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Carry on; the paths are known once the training starts."""
        self._state = state_dict
