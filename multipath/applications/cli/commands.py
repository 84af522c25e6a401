"""The commands of ``multipath``.

What is slow to import is imported by the command that needs it, so that ``--help`` is not.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from multipath import __version__
from multipath.applications.matching.objectives import LOSSES, loss_names, scattering_loss
from multipath.applications.matching.presets import PRESETS, preset
from multipath.applications.synths.chirplet import CHIRPLETS

from .distance import distance
from .importance import importance
from .match import Preset, match
from .plugins import check, show_plugins
from .reproduce import reproduce
from .resynthesize import resynthesize


class Commands(TyperGroup):
    """Commands that say when they are interrupted, where Typer would end them in silence."""

    def invoke(self, ctx: Any) -> Any:
        """Run one; those that can go on have said so themselves."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("multipath: interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="multipath",
    cls=Commands,
    help="Train with a loss that is a mean over many paths at the price of a few of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(match, name="match")
app.add_typer(importance, name="importance")
app.command()(distance)
app.command()(check)
app.command()(resynthesize)
app.command()(reproduce)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        print(f"multipath {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Train with a loss that is a mean over many paths at the price of a few of them."""


@app.command()
def paths(
    task: Annotated[str, typer.Option(help=f"{', '.join(PRESETS)}.")] = "chirplet",
    preset_name: Preset = "quick",
) -> None:
    """Print the paths of a preset's joint time-frequency scattering transform."""
    print(scattering_loss(preset(preset_name, task)).paths)


@app.command("list")
def list_choices(
    checked: Annotated[
        bool, typer.Option("--check", help="Run the conformance tests of every plug-in.")
    ] = False,
) -> None:
    """List plug-ins, losses, tasks with their presets, and synthesizers."""
    show_plugins(checked)
    show(
        "losses", dict(zip(loss_names(), (row.description for row in LOSSES.values()), strict=True))
    )
    show(
        "tasks and presets",
        {
            f"{task} {name}": f"{config.task.n_samples} samples at "
            f"{config.task.sample_rate:g} Hz, {config.training.steps} steps of "
            f"{config.training.batch_size} sounds"
            for task, presets in PRESETS.items()
            for name, config in presets.items()
        },
    )
    show(
        "chirplet synthesizers (AM-FM)",
        {
            name: "AM {:g} to {:g} Hz, FM {:g} to {:g} octaves/s".format(*ranges.am, *ranges.fm)
            for name, ranges in CHIRPLETS.items()
        },
    )


def show(title: str, rows: Mapping[str, str]) -> None:
    """Print names and what they mean in two columns."""
    print(title)
    width = max(map(len, rows))
    for name, words in rows.items():
        print(f"  {name:{width}}  {words}")


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of runs of match or resynthesize.", metavar="RUN..."),
    ],
    out: Annotated[Path, typer.Option(help="The page.")] = Path("comparison.html"),
) -> None:
    """Compare runs on one page: curves with intervals over seeds, errors, sounds, pictures."""
    from multipath.applications.reports.page import write_comparison

    for section in write_comparison(runs, out):
        for note in section.notes:
            print(f"note: {note}")
    print(f"report: {out}")
