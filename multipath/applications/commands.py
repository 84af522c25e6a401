"""The commands of ``multipath``.

What is slow to import is imported by the command that needs it, so that ``--help`` is not.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from .distance_command import distance
from .presets import LOSSES, PRESETS, preset
from .report_command import report
from .resynthesize_command import resynthesize
from .synthesizers import CHIRPLETS

app = typer.Typer(
    name="multipath",
    help="Train with a loss that is a mean over many paths at the price of a few of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
match = typer.Typer(
    help="Sound matching: train an encoder to find a synthesizer's parameters.",
    no_args_is_help=True,
)
app.add_typer(match, name="match")
app.command()(distance)
app.command()(resynthesize)
app.command()(report)


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


Preset = Annotated[str, typer.Option("--preset", help="quick (a CPU) or paper (a GPU).")]


@match.command()
def chirplet(
    synth: Annotated[
        str, typer.Option(help=f"Ranges of AM and FM: {', '.join(CHIRPLETS)}.")
    ] = "fast-moderate",
    loss: Annotated[str, typer.Option(help=f"What is minimised: {', '.join(LOSSES)}.")] = "scrapl",
    preset_name: Preset = "quick",
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    seed: Annotated[int, typer.Option(help="Governs everything random.")] = 0,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    detach_window: Annotated[
        bool, typer.Option("--detach-window", help="Cut the gradient of the window's length.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Run folder. Default: runs/chirplet-SYNTH-LOSS-SEED.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Discard what the folder holds.")
    ] = False,
) -> None:
    """Match chirplets: find the rate of their AM and the speed of their FM."""
    from .console import show_progress, show_summary
    from .run import run

    config = preset(
        preset_name,
        synth,
        loss=loss,
        steps=steps,
        seed=seed,
        learning_rate=lr,
        detach_window=detach_window,
    )
    folder = out or Path("runs") / f"chirplet-{synth}-{loss}-{seed}"
    try:
        with show_progress(f"{loss}, seed {seed}", config.steps) as progress:
            summary = run(config, folder, resume=resume, overwrite=overwrite, progress=progress)
    except KeyboardInterrupt:
        print("multipath: interrupted; the same command with --resume goes on", file=sys.stderr)
        raise typer.Exit(130) from None
    show_summary(summary, folder)


@app.command()
def paths(preset_name: Preset = "quick") -> None:
    """Print the paths of a preset's joint time-frequency scattering transform."""
    from .objectives import scattering_loss

    print(scattering_loss(preset(preset_name)).paths)


@app.command("list")
def list_choices() -> None:
    """List losses, synthesizers and presets."""
    print("losses")
    for name, description in LOSSES.items():
        print(f"  {name:14} {description}")
    print("chirplet synthesizers (AM-FM)")
    for name, ranges in CHIRPLETS.items():
        (slow_am, fast_am), (slow_fm, fast_fm) = ranges.am, ranges.fm
        print(
            f"  {name:14} AM {slow_am:g} to {fast_am:g} Hz, FM {slow_fm:g} to {fast_fm:g} octaves/s"
        )
    print("presets")
    for name, config in PRESETS.items():
        print(
            f"  {name:14} {config.n_samples} samples at {config.sample_rate:g} Hz, "
            f"{config.steps} steps of {config.batch_size} sounds"
        )
