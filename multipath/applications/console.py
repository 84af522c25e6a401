"""What the terminal shows: a progress bar while training, a table of errors after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

if TYPE_CHECKING:  # Lightning is slow to import
    from .callbacks import Progress


def make_progress_bar() -> ProgressBar:
    """A bar with steps, time left, and a field ``error`` for the latest theta error."""
    return ProgressBar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[error]}"),
        console=Console(stderr=True),
    )


@contextmanager
def show_progress(title: str, steps: int) -> Iterator[Progress]:
    """Show a bar on stderr from the first step on; yields the function that moves it."""
    bar = make_progress_bar()
    task = bar.add_task(title, total=steps, error="")

    def move(done: int, error: float | None) -> None:
        bar.start()
        bar.update(task, completed=done, error=error_text(error))

    try:
        yield move
    finally:
        if bar.live.is_started:
            bar.stop()


def error_text(error: float | None) -> str:
    """The latest error, for a progress bar."""
    return "" if error is None else f"error {error:.0f} per mille"


def show_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """Print the errors of a finished run and where its report is."""
    table = Table("", f"error ({summary['unit']})", "untrained")
    for name, error in summary[summary["errors"]].items():
        table.add_row(name, f"{error:.1f}", f"{summary['untrained_error'][name]:.1f}")
    Console().print(table)
    print(f"{1000 * summary['seconds_per_step']:.1f} ms per step")
    print(f"report: {folder / 'report.html'}")
