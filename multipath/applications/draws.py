"""A Lightning callback that keeps a table of the paths drawn."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer

from multipath.integrations.lightning import DrawCounter

from .draw_counts import write_draws


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
            write_draws(self.file, self.draws)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last steps too."""
        if self.draws is not None:
            write_draws(self.file, self.draws)
