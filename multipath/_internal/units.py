"""Long work in units: shared among processes, kept in a journal, shown by a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from multipath.errors import InputError

from .extras import extra
from .journal import Journal, Record
from .progress import redirected
from .workers import Workers

Shape = tuple[int | None, ...] | None
"""Of a tensor in a result; None where anything goes."""


class Units:
    """What does the units of a long work.

    Args:
        workers: The processes that share the work.
        journal: Where results are kept, if anywhere.
        bar: Progress bars, if any.
    """

    def __init__(self, workers: Workers, journal: Journal | None, bar: Any) -> None:
        self.workers, self.journal, self.bar = workers, journal, bar

    def stage(self, name: str, total: int) -> Callable[[int], None]:
        """A function to call with each amount of work done, which advances a bar of its own."""
        if self.bar is None:
            return lambda amount: None
        task = self.bar.add_task(name, total=total)
        return lambda amount: self.bar.advance(task, amount)

    def run(
        self,
        units: list[str],
        work: Callable[[str], Record],
        elsewhere: Callable[[Record], None],
        shapes: Callable[[str], list[Shape]],
    ) -> dict[str, Record]:
        """Results of all units.

        Args:
            units: Their names, the costliest first.
            work: Computes one.
            elsewhere: Called with results that are known already or come from other processes.
            shapes: Shapes that the tensors of a result must have.

        Raises:
            InputError: If the journal holds results of other shapes.
        """
        done = self.journal.records if self.journal else {}
        for unit in done.keys() & set(units):
            record, expected = done[unit], shapes(unit)
            if len(record) != len(expected) or not all(map(_has_shape, record, expected)):
                raise InputError(
                    f"{self.journal and self.journal.path} is damaged: the result {unit!r} has "
                    "another shape than it should; remove the file to start again"
                )
        keep = self.journal.append if self.journal else lambda unit, record: None
        return self.workers.run(units, done, work, keep, elsewhere)


def _has_shape(tensor: Tensor, expected: Shape) -> bool:
    return expected is None or (
        tensor.ndim == len(expected)
        and all(size in (own, None) for own, size in zip(tensor.shape, expected, strict=True))
    )


@contextmanager
def progress_bars(wanted: bool) -> Iterator[Any]:
    """Bars on standard error, or lines in a file, with the time left; None if not wanted."""
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
    console = Console(stderr=True)
    with redirected(console) or Progress(*columns, console=console) as bar:
        yield bar
