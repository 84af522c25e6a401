"""The commands ``multipath importance``; what is slow to import waits until one is called."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from multipath._internal.tables import aligned
from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks.chirplet import ChirpletTask
from multipath.applications.runs.files import write_figure
from multipath.applications.runs.folders import check_place
from multipath.applications.synths.chirplet import CHIRPLETS
from multipath.errors import ConfigurationError, MultipathError
from multipath.importance._journal import discard
from multipath.importance.theta import Method

from .match import (
    Alignment,
    Count,
    Data,
    Preset,
    RefuseBadFiles,
    Seed,
    Synthetic,
    Trim,
    drums,
)

if TYPE_CHECKING:
    from multipath.importance import ThetaImportance

importance = typer.Typer(
    help="theta-importance: measure which paths say most about a synthesizer's parameters.",
    no_args_is_help=True,
)

# Options of every task.
Out = Annotated[
    Path | None,
    typer.Option(help="Result. Default: runs/importance-TASK-PRESET-SEED.pt.", metavar="FILE"),
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", help="Draw the probabilities into this file.", metavar="FILE"),
]
How = Annotated[Method, typer.Option(help="eigenvalue as published, or a cheaper proxy.")]
Examples = Annotated[
    int | None, typer.Option(help="Targets to measure on. Default: as published; quick: 16.")
]
BatchSize = Annotated[
    int | None, typer.Option("--batch", help="Targets in a batch. Default: as in training.")
]
Tolerance = Annotated[
    float | None, typer.Option(help="Largest relative residual of an eigenvalue. Default: 0.02.")
]
JournalFile = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        help="Where to keep what is done. Default: OUT.journal, removed in the end.",
        metavar="FILE",
    ),
]
Restart = Annotated[bool, typer.Option("--restart", help="Discard what the journal holds.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")]


@importance.command()
def chirplet(
    synth: Annotated[
        str, typer.Option(help=f"Ranges of AM and FM: {', '.join(CHIRPLETS)}.")
    ] = "fast-moderate",
    preset_name: Preset = "quick",
    out: Out = None,
    plot: Plot = None,
    method: How = "eigenvalue",
    examples: Examples = None,
    batch: BatchSize = None,
    seed: Seed = 0,
    tolerance: Tolerance = None,
    journal: JournalFile = None,
    restart: Restart = False,
    overwrite: Overwrite = False,
) -> None:
    """For chirplets: which paths tell the rate of their AM and the speed of their FM."""
    measure_and_show(
        preset(preset_name, "chirplet", synth=synth, seed=seed),
        Files(out, plot, journal),
        restart=restart,
        overwrite=overwrite,
        method=method,
        examples=examples,
        batch=batch,
        tolerance=tolerance,
    )


@importance.command()
def granular(
    preset_name: Preset = "quick",
    out: Out = None,
    plot: Plot = None,
    method: How = "eigenvalue",
    examples: Examples = None,
    batch: BatchSize = None,
    seed: Seed = 0,
    tolerance: Tolerance = None,
    journal: JournalFile = None,
    restart: Restart = False,
    overwrite: Overwrite = False,
) -> None:
    """For textures of grains: which paths tell how dense they are and how steeply they rise."""
    measure_and_show(
        preset(preset_name, "granular", seed=seed),
        Files(out, plot, journal),
        restart=restart,
        overwrite=overwrite,
        method=method,
        examples=examples,
        batch=batch,
        tolerance=tolerance,
    )


@importance.command()
def tr808(
    count: Count = None,
    data: Data = None,
    synthetic: Synthetic = False,
    alignment: Alignment = "micro",
    trim: Trim = None,
    refuse_bad_files: RefuseBadFiles = False,
    preset_name: Preset = "quick",
    out: Out = None,
    plot: Plot = None,
    method: How = "eigenvalue",
    examples: Examples = None,
    batch: BatchSize = None,
    seed: Seed = 0,
    tolerance: Tolerance = None,
    journal: JournalFile = None,
    restart: Restart = False,
    overwrite: Overwrite = False,
) -> None:
    """For drums, recorded or made: which paths tell the 14 parameters of the TR-808."""
    measure_and_show(
        preset(
            preset_name,
            "tr808",
            **drums(count, data, synthetic, alignment, trim, refuse_bad_files),
            seed=seed,
        ),
        Files(out, plot, journal),
        restart=restart,
        overwrite=overwrite,
        method=method,
        examples=examples,
        batch=batch,
        tolerance=tolerance,
    )


@dataclass(frozen=True)
class Files:
    """What a command writes.

    Args:
        out: The result.
        plot: The picture, if any.
        journal: What is done so far. Default: beside the result until that is there.
    """

    out: Path | None
    plot: Path | None
    journal: Path | None

    def named(self, config: MatchConfig) -> Files:
        """The same with a result and a journal."""
        name = re.sub(r"[^\w.-]+", "-", f"{config.task.title} {config.preset} {config.seed}")
        out = self.out or Path("runs") / f"importance-{name}.pt"
        return Files(out, self.plot, self.journal or out.with_name(f"{out.name}.journal"))

    def prepare(self, *, restart: bool, overwrite: bool) -> None:
        """Refuse what cannot be written, before the long work, and discard what is not wanted."""
        options = {"--out": self.out, "--plot": self.plot, "--journal": self.journal}
        files = {option: file for option, file in options.items() if file is not None}
        if len({file.resolve() for file in files.values()}) < len(files):
            given = ", ".join(f"{option} {file}" for option, file in files.items())
            raise ConfigurationError(f"expected different files, got {given}; rename one of them")
        for option, file in files.items():
            if file.is_dir():
                raise ConfigurationError(f"{file} is a folder; name a file ({option})")
            check_place(file.parent, option)
        if self.plot is not None:
            from multipath.applications.distance.plot import check_plot_file

            check_plot_file(self.plot)
        if self.out is not None and self.out.exists() and not overwrite:
            raise ConfigurationError(
                f"{self.out} exists; choose another file (--out), or replace it with --overwrite"
            )
        if restart and self.journal is not None:
            discard(self.journal)


def measure_and_show(
    config: MatchConfig, files: Files, *, restart: bool, overwrite: bool, **settings: Any
) -> None:
    """Measure with progress bars, write the result, and print what it says.

    Args:
        config: What is matched.
        files: What to write.
        restart: Discard what the journal holds.
        overwrite: Replace an earlier result.
        **settings: Of :func:`multipath.applications.matching.importance.measure`.
    """
    with _processes() as rank:
        wanted = files.named(config)
        _first_rank(rank, lambda: wanted.prepare(restart=restart, overwrite=overwrite))
        from multipath.applications.matching.importance import measure

        try:
            result = measure(config, journal=wanted.journal, progress=rank == 0, **settings)
        except KeyboardInterrupt:
            if rank == 0:
                hint = " without --restart" if restart else ""
                print(f"multipath: interrupted; the same command{hint} goes on", file=sys.stderr)
            raise typer.Exit(130) from None
        except ConfigurationError:  # alike on all ranks
            if rank == 0:
                raise
            raise typer.Exit(2) from None
        if rank == 0:
            _finish(config, result, wanted, keep_journal=files.journal is not None)


def _finish(config: MatchConfig, result: ThetaImportance, files: Files, keep_journal: bool) -> None:
    from multipath.applications.matching.importance import inside

    out = cast(Path, files.out)
    result.save(out)
    if files.plot is not None:
        chirps = isinstance(config.task, ChirpletTask)
        marked = inside(config, result.paths) if chirps else None
        figure = result.plot(inside=marked, title=config.task.title)
        write_figure(files.plot, figure, dpi=150)
    if not keep_journal:  # only now that all is written
        discard(cast(Path, files.journal))
    print(result)
    settings = result.settings
    measured = f"examples: {settings['examples']}, batches: {settings['batches']}"
    if result.residuals is not None:
        measured += f", largest relative residual: {float(result.residuals.max()):.2g}"
    print(f"method: {settings['method']}, {measured}")
    if isinstance(config.task, ChirpletTask):
        print(_shares(config, result))
    print(f"probabilities: {out}")
    if files.plot is not None:
        print(f"picture: {files.plot}")


def _shares(config: MatchConfig, result: ThetaImportance) -> str:
    from multipath.applications.matching.importance import inside

    rows = [["paths whose AM and FM lie", "number", "uniform", "theta-importance"]]
    for name, spacings in (("in the synthesizer's ranges", 0.0), ("within half a filter", 0.5)):
        chosen = inside(config, result.paths, spacings)
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
            raise typer.Exit(2)
    if failure[0] is not None:
        raise failure[0]
