"""What commands share that measure something for long: files, a journal, the ranks of torchrun."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from multipath._internal.names import visible
from multipath.applications.matching.config import MatchConfig
from multipath.applications.runs.files import write_figure
from multipath.applications.runs.folders import check_place, taken
from multipath.errors import ConfigurationError, MultipathError
from multipath.importance import discard_journal


@dataclass(frozen=True)
class Measurement:
    """One measurement, and where it goes.

    Args:
        kind: What its journal says that it is.
        name: How the names of its files begin.
        config: What is measured.
        out: File of the result. Default: runs/NAME-TASK-PRESET-SEED.pt.
        plot: Where to draw it.
        journal: File that keeps what is done. Default: OUT.journal, removed in the end.
        restart: Discard what the journal holds.
        overwrite: Replace an earlier result.
    """

    kind: str
    name: str
    config: MatchConfig
    out: Path | None = None
    plot: Path | None = None
    journal: Path | None = None
    restart: bool = False
    overwrite: bool = False

    @property
    def result_file(self) -> Path:
        """Where the result goes."""
        config = self.config
        name = re.sub(r"[^\w.-]+", "-", f"{config.task.title} {config.preset} {config.seed}")
        return self.out or Path("runs") / f"{self.name}-{name}.pt"

    @property
    def journal_file(self) -> Path:
        """Where the journal goes."""
        file = self.result_file
        return self.journal or file.with_name(f"{file.name}.journal")

    def carry_out(
        self,
        measure: Callable[[Path, bool], Any],
        same: Callable[[Any, Path], bool],
        draw: Callable[[Any], Any],
        show: Callable[[Any], None],
        more: Mapping[str, Path] | None = None,
    ) -> None:
        """Measure, and write and show what was found; an interrupted command goes on.

        Args:
            measure: Called with the journal, and whether to show progress.
            same: Whether a file holds this very result.
            draw: Makes the plot.
            show: Prints the result, and writes what else there is.
            more: Where that goes, by option.
        """
        out, journal, plot = self.result_file, self.journal_file, self.plot
        results = {"--out": out, **(more or {})}
        files = {**results, "--journal": journal}
        if plot is not None:
            files["--plot"] = plot

        def prepare() -> None:
            _check(files)
            # with a journal that is not removed yet, it may be the result of this very command
            for option, file in results.items():
                if file.exists() and not (self.overwrite or journal.exists()):
                    raise taken(file, option)
            if self.restart and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
                discard_journal(journal, self.kind)

        with _processes() as rank:
            _first_rank(rank, prepare)
            try:
                result = measure(journal, rank == 0)
            except KeyboardInterrupt:
                if rank == 0:
                    hint = " without --restart" if self.restart else ""
                    print(
                        f"multipath: interrupted; the same command{hint} goes on", file=sys.stderr
                    )
                raise SystemExit(130) from None
            except ConfigurationError:  # alike on all ranks
                if rank == 0:
                    raise
                raise SystemExit(2) from None
            if rank == 0:
                if out.exists() and not self.overwrite and not same(result, out):
                    raise taken(out, "--out")
                result.save(out)
                if plot is not None:
                    write_figure(plot, draw(result), dpi=150)
                show(result)
                if self.journal is None:  # only now that all is written
                    discard_journal(journal, self.kind)
                if plot is not None:
                    print(visible(f"plot: {plot}"))


def _check(files: Mapping[str, Path]) -> None:
    """Refuse what cannot be written, before the long work."""
    if len({file.resolve() for file in files.values()}) < len(files):
        given = ", ".join(f"{option} {file}" for option, file in files.items())
        raise ConfigurationError(f"expected different files, got {given}; rename one of them")
    for option, file in files.items():
        if file.is_dir():
            raise ConfigurationError(f"{file} is a folder; name a file ({option})")
        check_place(file.parent, option)
    if "--plot" in files:
        from multipath.applications.distance.plot import check_plot_file

        check_plot_file(files["--plot"])


@contextmanager
def _processes() -> Iterator[int]:
    """Joins the processes of ``torchrun``, if it has started this one; yields the rank."""
    if "WORLD_SIZE" not in os.environ:
        yield 0
        return
    import torch.distributed as dist

    try:
        dist.init_process_group("gloo", timeout=timedelta(days=1))  # waiting is no failure
    except ValueError as error:
        raise ConfigurationError(
            f"WORLD_SIZE is set, but processes cannot be joined ({error}); start with torchrun, or "
            "unset it"
        ) from error
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def _first_rank(rank: int, task: Callable[[], None]) -> None:
    """Only the first process does the task, while all others wait; if it fails, all give up."""
    failure: list[Exception | None] = [None]
    if rank == 0:
        try:
            task()
        except (MultipathError, OSError) as error:
            failure[0] = error
    if "WORLD_SIZE" in os.environ:
        import torch.distributed as dist

        failed = [failure[0] is not None]
        dist.broadcast_object_list(failed)
        if rank and failed[0]:
            raise SystemExit(2)
    if failure[0] is not None:
        raise failure[0]
