"""What the terminal shows: a progress bar while training, a table of errors after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Column, Table

from multipath._internal.names import visible
from multipath._internal.progress import redirected
from multipath.applications.runs.folders import RunFolder
from multipath.applications.runs.html import number

if TYPE_CHECKING:  # Lightning is slow to import
    from multipath.applications.matching.callbacks import Progress

OF_TABLE, OF_COLUMN = 4, 3
"""Characters that a table takes beside what is in its first column, and in each of the others."""


def plain_console() -> Console:
    """Shows text as it is: names may look like rich's markup, or like codes of emoji."""
    return Console(markup=False, emoji=False)


@contextmanager
def show_progress(
    title: str,
    steps: int,
    folder: Path,
    text: Callable[[float], str] = lambda error: f"error {number(error)}",
) -> Iterator[Progress]:
    """Show a bar on stderr from the first step on, and say how to go on after an interruption.

    Where stderr is a file, it gets a line for every tenth of the steps.

    Args:
        title: Before the bar.
        steps: When it is full.
        folder: That of the run.
        text: Tells the latest error. Default: per mille, or small and without a unit.

    Yields:
        The function that moves the bar.

    Raises:
        SystemExit: With status 130, if interrupted.
    """
    console = Console(stderr=True)
    bar: Any = redirected(console) or ProgressBar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
        console=console,
    )
    task = bar.add_task(visible(title), total=steps, text="")

    def move(done: int, error: float | None) -> None:
        bar.start()
        bar.update(task, completed=done, text="" if error is None else text(error))

    try:
        yield move
    except KeyboardInterrupt:
        bar.stop()
        further = "with --resume goes on" if RunFolder(folder).unfinished else "begins again"
        print(f"multipath: interrupted; the same command {further}", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        bar.stop()


def show_finished(folder: Path) -> None:
    """Say that there was nothing left to do."""
    words = f"{folder} holds a finished run, and nothing is left to do: {folder / 'report.html'}"
    print(visible(words))


def show_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """Print the errors of a finished run and where its report is."""
    unit = f" ({summary['unit']})" if summary["unit"] else ""
    table = Table(Column(no_wrap=True), f"error{unit}", "untrained")
    for name, error in summary[summary["errors"]].items():
        table.add_row(visible(name), number(error), number(summary["untrained_error"][name]))
    plain_console().print(table)
    _show_types(summary["types"], list(summary[summary["errors"]]))
    print(f"{1000 * summary['seconds_per_step']:.1f} ms per step")
    print(visible(f"report: {folder / 'report.html'}"))


def _show_types(types: Mapping[str, Any], names: Sequence[str]) -> None:
    """Print errors by type, as many types beside each other as leave each value in one line."""
    console = plain_console()
    room = console.width - max(map(len, names)) - OF_TABLE
    beside = max(1, room // (len("0.0123 (0.0123)") + OF_COLUMN))
    for first in range(0, len(types), beside):
        some = dict(list(types.items())[first : first + beside])
        headings = [visible(f"{name} ({found['count']})") for name, found in some.items()]
        table = Table(Column(no_wrap=True), *headings, title="error by type, untrained in brackets")
        for name in names:
            pairs = [(each["trained"][name], each["untrained"][name]) for each in some.values()]
            table.add_row(
                visible(name), *(f"{number(now)} ({number(before)})" for now, before in pairs)
            )
        console.print(table)
