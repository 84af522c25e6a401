"""The commands of ``multipath``.

What is slow to import is imported by the command that needs it, so that ``--help`` is not.
"""

from typing import Annotated

import typer

from .. import __version__
from .distance_command import distance
from .importance_command import importance
from .match_command import Preset, match
from .objectives import LOSSES, loss_names, scattering_loss
from .plugins_command import check, show_plugins
from .presets import PRESETS, preset
from .report_command import report
from .reproduce_command import reproduce
from .resynthesize_command import resynthesize
from .synthesizers import CHIRPLETS

app = typer.Typer(
    name="multipath",
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
app.command()(report)
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
    application: Annotated[str, typer.Option(help=f"{', '.join(PRESETS)}.")] = "chirplet",
    preset_name: Preset = "quick",
) -> None:
    """Print the paths of a preset's joint time-frequency scattering transform."""
    print(scattering_loss(preset(preset_name, application)).paths)


@app.command("list")
def list_choices(
    checked: Annotated[
        bool, typer.Option("--check", help="Run the conformance tests of every plug-in.")
    ] = False,
) -> None:
    """List plug-ins, losses, applications with their presets, and synthesizers."""
    show_plugins(checked)
    print("losses")
    for name, objective in zip(loss_names(), LOSSES.values(), strict=True):
        print(f"  {name:14} {objective.description}")
    print("applications and presets")
    for application, presets in PRESETS.items():
        for name, config in presets.items():
            task, training = config.application, config.training
            print(
                f"  {application + ' ' + name:14} {task.n_samples} samples at "
                f"{task.sample_rate:g} Hz, {training.steps} steps of {training.batch_size} sounds"
            )
    print("chirplet synthesizers (AM-FM)")
    for name, ranges in CHIRPLETS.items():
        (slow_am, fast_am), (slow_fm, fast_fm) = ranges.am, ranges.fm
        print(
            f"  {name:14} AM {slow_am:g} to {fast_am:g} Hz, FM {slow_fm:g} to {fast_fm:g} octaves/s"
        )
