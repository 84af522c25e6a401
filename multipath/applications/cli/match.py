"""The command ``multipath match``; what is slow to import waits until it is called."""

from __future__ import annotations

import re
from pathlib import Path

from multipath.applications.matching.config import MatchConfig
from multipath.applications.runs.folders import RunFolder


def match(
    config: MatchConfig,
    *,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Train an encoder to find a synthesizer's parameters.

    Args:
        config: What to run.
        out: Run folder. Default: runs/TASK-LOSS-SEED.
        resume: Go on from the last checkpoint in the folder.
        overwrite: Move the run that the folder holds aside.
    """
    from multipath.applications.matching.train import run

    from .console import show_finished, show_progress, show_summary

    loss, seed = config.objective.loss, config.seed
    name = re.sub(r"[^\w.-]+", "-", f"{config.task.title} {loss} {seed}")
    folder = out or Path("runs") / name
    nothing_left = resume and RunFolder(folder).finished
    with show_progress(f"{loss}, seed {seed}", config.training.steps, folder) as progress:
        summary = run(config, folder, resume=resume, overwrite=overwrite, progress=progress)
    if nothing_left:
        show_finished(folder)
    else:
        show_summary(summary, folder)
