"""Lightning callbacks that count the paths drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from .. import StochasticLoss
from .draw_counts import DrawCounts


class DrawCounter(Callback):
    """Counts how often each path is drawn.

    It looks at one attribute of the module; unless that is a :class:`~multipath.StochasticLoss`,
    nothing is counted. Draws count once a step, however many micro-batches share them. Part of the
    checkpoint: a resumed run counts on.

    Args:
        criterion: The attribute.

    Attributes:
        draws: The counts, a :class:`DrawCounts`, once the training has started.
    """

    def __init__(self, criterion: str = "criterion") -> None:
        self.criterion = criterion
        self.draws: DrawCounts | None = None
        self._state: dict[str, Any] = {}

    def find(self, pl_module: LightningModule) -> StochasticLoss | None:
        """The criterion of a module, if it draws."""
        found = getattr(pl_module, self.criterion, None)
        return found if isinstance(found, StochasticLoss) else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the paths."""
        criterion = self.find(pl_module)
        if criterion is not None:
            self.draws = DrawCounts(criterion.loss.paths)
            if self._state:
                self.draws.load_state_dict(self._state)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any
    ) -> None:
        """Count."""
        criterion = self.find(pl_module)
        if self.draws is not None and criterion is not None:
            self.draws.add(criterion.last_draw)

    def state_dict(self) -> dict[str, Any]:
        """Counts so far."""
        return {} if self.draws is None else self.draws.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Carry on; the paths are known once the training starts."""
        self._state = state_dict


class DrawHistogram(DrawCounter):
    """Counts how often each path is drawn, and writes ``draws.csv``.

    It looks at the module's ``criterion``, see :class:`DrawCounter`; where nothing is counted
    nothing is written. The table is rewritten after each validation and at the end.

    Args:
        file: Where the table goes.
    """

    def __init__(self, file: Path | str) -> None:
        super().__init__()
        self.file = Path(file)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write."""
        if self.draws is not None and not trainer.sanity_checking:
            self.draws.write(self.file)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last steps too."""
        if self.draws is not None:
            self.draws.write(self.file)
