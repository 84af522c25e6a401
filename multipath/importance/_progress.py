"""How far the work is, and when it will be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from multipath.diagnostics._gradients import extra


class Stage:
    """One bar, or none.

    Args:
        bar: A ``rich.progress.Progress``, if there is one.
        name: What is being done.
        total: How much of it there is.
    """

    def __init__(self, bar: Any, name: str, total: int) -> None:
        self.bar = bar
        self.task = None if bar is None else bar.add_task(name, total=total)

    def advance(self, amount: int) -> None:
        """So much more is done."""
        if self.bar is not None:
            self.bar.advance(self.task, amount)


@contextmanager
def progress_bars(wanted: bool) -> Iterator[Any]:
    """Bars on standard error with the time that is left; None where they are not wanted."""
    if not wanted:
        yield None
        return
    with extra():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield bar
