"""The commands ``multipath match``; what is slow to import waits until one is called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.objectives import loss_names
from multipath.applications.matching.presets import preset
from multipath.applications.synths.chirplet import CHIRPLETS
from multipath.errors import ConfigurationError

match = typer.Typer(
    help="Sound matching: train an encoder to find a synthesizer's parameters.",
    no_args_is_help=True,
)

# Options of every task.
Loss = Annotated[str, typer.Option(help=f"What is minimised: {', '.join(loss_names())}.")]
Preset = Annotated[str, typer.Option("--preset", help="quick (a CPU) or paper (a GPU).")]
Steps = Annotated[int | None, typer.Option(help="Optimizer steps.")]
Seed = Annotated[int, typer.Option(help="Governs everything random.")]
Rate = Annotated[float | None, typer.Option(help="Learning rate.")]
Probabilities = Annotated[
    str | None,
    typer.Option(help="File of path probabilities for the scrapl losses.", metavar="FILE"),
]
Reweight = Annotated[
    bool, typer.Option("--reweight", help="Weight these draws, so that they are unbiased.")
]
Out = Annotated[Path | None, typer.Option(help="Run folder. Default: runs/TASK-LOSS-SEED.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Move a run in the folder aside.")]

# Options that say which drums.
Count = Annotated[int | None, typer.Argument(metavar="[N]", help="Drums to make with --synthetic.")]
Data = Annotated[Path | None, typer.Option(help="Folder of recordings to match.", metavar="DIR")]
Synthetic = Annotated[
    bool, typer.Option("--synthetic", help="Match drums that the synthesizer made.")
]
Alignment = Annotated[str, typer.Option(help="micro (aligned) or meso (shifted in training).")]
Trim = Annotated[
    float | None,
    typer.Option(
        help="Recordings begin where they come this close to their peak. Default: 60.",
        metavar="DB",
    ),
]
RefuseBadFiles = Annotated[
    bool, typer.Option("--refuse-bad-files", help="Stop at a recording that cannot be used.")
]


@match.command()
def chirplet(
    synth: Annotated[
        str, typer.Option(help=f"Ranges of AM and FM: {', '.join(CHIRPLETS)}.")
    ] = "fast-moderate",
    loss: Loss = "scrapl",
    preset_name: Preset = "quick",
    steps: Steps = None,
    seed: Seed = 0,
    lr: Rate = None,
    probabilities: Probabilities = None,
    reweight: Reweight = False,
    detach_window: Annotated[
        bool, typer.Option("--detach-window", help="Cut the gradient of the window's length.")
    ] = False,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Match chirplets: find the rate of their AM and the speed of their FM."""
    config = preset(
        preset_name,
        "chirplet",
        synth=synth,
        loss=loss,
        steps=steps,
        seed=seed,
        learning_rate=lr,
        probabilities=probabilities,
        reweight=reweight,
        detach_window=detach_window,
    )
    run_and_show(config, out, resume=resume, overwrite=overwrite)


@match.command()
def granular(
    loss: Loss = "scrapl",
    preset_name: Preset = "quick",
    steps: Steps = None,
    seed: Seed = 0,
    lr: Rate = None,
    probabilities: Probabilities = None,
    reweight: Reweight = False,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Match textures of grains: find how dense they are and how steeply they rise."""
    config = preset(
        preset_name,
        "granular",
        loss=loss,
        steps=steps,
        seed=seed,
        learning_rate=lr,
        probabilities=probabilities,
        reweight=reweight,
    )
    run_and_show(config, out, resume=resume, overwrite=overwrite)


@match.command()
def tr808(
    count: Count = None,
    data: Data = None,
    synthetic: Synthetic = False,
    alignment: Alignment = "micro",
    trim: Trim = None,
    refuse_bad_files: RefuseBadFiles = False,
    loss: Loss = "kpaths",
    preset_name: Preset = "quick",
    steps: Steps = None,
    seed: Seed = 0,
    lr: Rate = None,
    probabilities: Probabilities = None,
    reweight: Reweight = False,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Match drums, recorded (--data DIR) or made (--synthetic [N]), with a TR-808 synthesizer."""
    config = preset(
        preset_name,
        "tr808",
        **drums(count, data, synthetic, alignment, trim, refuse_bad_files),
        loss=loss,
        steps=steps,
        seed=seed,
        learning_rate=lr,
        probabilities=probabilities,
        reweight=reweight,
    )
    run_and_show(config, out, resume=resume, overwrite=overwrite)


def drums(
    count: int | None,
    data: Path | None,
    synthetic: bool,
    alignment: str,
    trim: float | None,
    refuse_bad_files: bool,
) -> dict[str, Any]:
    """The settings that options about drums stand for.

    Raises:
        ConfigurationError: If they ask for both recordings and synthetic drums, or for neither.
    """
    if synthetic == (data is not None):
        raise ConfigurationError(
            "expected either recordings to match (--data DIR) or --synthetic [N], got "
            + ("both" if synthetic else "neither")
        )
    if data is not None and count is not None:
        raise ConfigurationError(
            f"got {count} beside --data: recordings are not counted; leave it out, or make drums "
            "with --synthetic"
        )
    return {
        "data": None if data is None else str(data),
        "n_targets": count,
        "alignment": alignment,
        "trim": trim,
        "bad_files": "refuse" if refuse_bad_files else None,
    }


def run_and_show(config: MatchConfig, out: Path | None, *, resume: bool, overwrite: bool) -> None:
    """Run with a progress bar, and print the errors in the end.

    Args:
        config: What to run.
        out: Folder. Default: one named after task, loss and seed.
        resume: See :func:`multipath.applications.matching.train.run`, as for the next.
        overwrite: Likewise.
    """
    from multipath.applications.matching.train import run

    from .console import show_progress, show_summary

    loss, seed = config.objective.loss, config.seed
    name = re.sub(r"[^\w.-]+", "-", f"{config.task.title} {loss} {seed}")
    folder = out or Path("runs") / name
    with show_progress(f"{loss}, seed {seed}", config.training.steps, folder) as progress:
        summary = run(config, folder, resume=resume, overwrite=overwrite, progress=progress)
    show_summary(summary, folder)
