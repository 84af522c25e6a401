"""The command ``multipath landscape``; what is slow to import waits until it is called."""

from __future__ import annotations

import re
from pathlib import Path

from multipath._internal.axes import plain
from multipath._internal.names import visible
from multipath.applications.matching.config import MatchConfig
from multipath.applications.runs.files import write_figure
from multipath.applications.runs.folders import check_new_file


def landscape(
    config: MatchConfig,
    *,
    out: Path | None = None,
    examples: int = 32,
    points: int = 11,
    pairs: bool = False,
    overwrite: bool = False,
) -> None:
    """Look at a loss over a synthesizer's parameters, before training.

    Args:
        config: What is matched, and with which loss.
        out: File of the plot. Default: runs/landscape-TASK-LOSS-SEED.png.
        examples: Targets to look at.
        points: Guesses of each parameter.
        pairs: Look at all pairs of parameters too, at the square of that many guesses.
        overwrite: Replace an earlier plot.
    """
    loss, title = config.objective.loss, config.task.title
    name = re.sub(r"[^\w.-]+", "-", f"{title} {loss} {config.seed}")
    file = out or Path("runs") / f"landscape-{name}.png"
    from multipath.applications.distance.plot import check_plot_format
    from multipath.applications.matching.landscape import look

    check_new_file(file, "--out", overwrite=overwrite)
    check_plot_format(file)
    found = look(config, examples=examples, points=points, pairs=pairs, progress=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_figure(file, found.plot(title=f"{plain(title)}, {plain(loss)}"), dpi=150)
    print(found)
    print(visible(f"plot: {file}"))
