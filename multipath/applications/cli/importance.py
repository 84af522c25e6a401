"""The command ``multipath importance``; what is slow to import waits until it is called."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from multipath._internal.axes import plain
from multipath._internal.names import visible
from multipath._internal.tables import aligned
from multipath.applications.matching.config import MatchConfig
from multipath.applications.runs.files import write_figure
from multipath.applications.runs.folders import check_place
from multipath.errors import ConfigurationError, InputError, MultipathError
from multipath.importance import discard_journal
from multipath.importance.theta import Method

if TYPE_CHECKING:
    from multipath.importance import ThetaImportance


def importance(
    config: MatchConfig,
    *,
    out: Path | None = None,
    plot: Path | None = None,
    method: Method = "eigenvalue",
    examples: int | None = None,
    batch: int | None = None,
    tolerance: float | None = None,
    journal: Path | None = None,
    restart: bool = False,
    overwrite: bool = False,
) -> None:
    """Measure which paths say most about a synthesizer's parameters (theta-importance).

    Args:
        config: What is matched.
        out: File of the result. Default: runs/importance-TASK-PRESET-SEED.pt.
        plot: Draw the probabilities into this file.
        method: eigenvalue as published, or a cheaper proxy.
        examples: Targets to measure on. Default: as published; 16 with the preset quick.
        batch: Targets in a batch. Default: as in training.
        tolerance: Largest relative residual of an eigenvalue. Default: 0.02.
        journal: File that keeps what is done. Default: OUT.journal, removed in the end.
        restart: Discard what the journal holds.
        overwrite: Replace an earlier result.
    """
    name = re.sub(r"[^\w.-]+", "-", f"{config.task.title} {config.preset} {config.seed}")
    result_file = out or Path("runs") / f"importance-{name}.pt"
    journal_file = journal or result_file.with_name(f"{result_file.name}.journal")
    files = {"--out": result_file, "--journal": journal_file}
    if plot is not None:
        files["--plot"] = plot

    taken = f"{result_file} exists; choose another file (--out), or replace it with --overwrite"

    def prepare() -> None:
        _check(files)
        # with a journal that is not removed yet, it may be the result of this very command
        if result_file.exists() and not (overwrite or journal_file.exists()):
            raise ConfigurationError(taken)
        if restart and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
            discard_journal(journal_file)

    with _processes() as rank:
        _first_rank(rank, prepare)
        from multipath.applications.matching.importance import measure

        try:
            result = measure(
                config,
                examples=examples,
                batch=batch,
                method=method,
                tolerance=tolerance,
                journal=journal_file,
                progress=rank == 0,
            )
        except KeyboardInterrupt:
            if rank == 0:
                hint = " without --restart" if restart else ""
                print(f"multipath: interrupted; the same command{hint} goes on", file=sys.stderr)
            raise SystemExit(130) from None
        except ConfigurationError:  # alike on all ranks
            if rank == 0:
                raise
            raise SystemExit(2) from None
        if rank == 0:
            if result_file.exists() and not overwrite and not _same(result, result_file):
                raise ConfigurationError(taken)
            result.save(result_file)
            if plot is not None:
                inside = config.task.inside(result.paths)
                title = plain(config.task.title)
                write_figure(plot, result.plot(inside=inside, title=title), dpi=150)
            if journal is None:  # only now that all is written
                discard_journal(journal_file)
            _show(config, result)
            print(visible(f"probabilities: {result_file}"))
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


def _same(result: ThetaImportance, file: Path) -> bool:
    """Whether a file holds this very result."""
    try:
        before = type(result).load(file)
    except InputError:
        return False
    return (before.settings, before.paths.keys) == (result.settings, result.paths.keys) and bool(
        before.curvature.equal(result.curvature)
    )


def _show(config: MatchConfig, result: ThetaImportance) -> None:
    print(result)
    settings = result.settings
    measured = f"examples: {settings['examples']}, batches: {settings['batches']}"
    if result.residuals is not None:
        measured += f", largest relative residual: {float(result.residuals.max()):.2g}"
    print(f"method: {settings['method']}, {measured}")
    if shares := _shares(config, result):
        print(shares)


def _shares(config: MatchConfig, result: ThetaImportance) -> str:
    """How much is drawn where the synthesizer's parameters are, if that can be told."""
    rows = [["paths that lie", "number", "uniform", "theta-importance"]]
    for name, spacings in (("in the synthesizer's ranges", 0.0), ("within half a filter", 0.5)):
        chosen = config.task.inside(result.paths, spacings)
        if chosen is None:
            return ""
        even, share = float(chosen.double().mean()), result.share(chosen)
        rows.append([name, str(int(chosen.sum())), f"{even:.1%}", f"{share:.1%}"])
    return aligned(rows)


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
