"""The command ``multipath importance``; what is slow to import waits until it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from multipath._internal.axes import plain
from multipath._internal.names import visible
from multipath._internal.tables import aligned
from multipath.applications.matching.config import MatchConfig
from multipath.errors import InputError
from multipath.importance.theta import Method

from .measure import Measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    measurement = Measurement(
        "theta-importance", "importance", config, out, plot, journal, restart, overwrite
    )

    def find(journal_file: Path, progress: bool) -> ThetaImportance:
        from multipath.applications.matching.importance import measure

        return measure(
            config,
            examples=examples,
            batch=batch,
            method=method,
            tolerance=tolerance,
            journal=journal_file,
            progress=progress,
        )

    def draw(result: ThetaImportance) -> Figure:
        inside = config.task.inside(result.paths)
        return result.plot(inside=inside, title=plain(config.task.title))

    def show(result: ThetaImportance) -> None:
        _show(config, result)
        print(visible(f"probabilities: {measurement.result_file}"))

    measurement.carry_out(find, _same, draw, show)


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
