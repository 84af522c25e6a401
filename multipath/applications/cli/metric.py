"""The command ``multipath metric``; what is slow to import waits until it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from multipath._internal.axes import plain
from multipath._internal.names import visible
from multipath.applications.matching.config import MatchConfig
from multipath.errors import InputError

from .measure import Measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from multipath.metric import ParameterMetric


def metric(
    config: MatchConfig,
    *,
    out: Path | None = None,
    plot: Path | None = None,
    examples: int | None = None,
    importance: Path | None = None,
    journal: Path | None = None,
    restart: bool = False,
    overwrite: bool = False,
) -> None:
    """Measure how the loss sees a synthesizer's parameters, and which it cannot hear.

    Args:
        config: What is matched.
        out: File of the result. Default: runs/metric-TASK-PRESET-SEED.pt.
        plot: Draw ellipses, eigenvalues and the share of each path into this file.
        examples: Parameters to measure at. Default: 16 with the preset quick, else as many as for
            theta-importance.
        importance: Write path probabilities into this file, from the metric of each path.
        journal: File that keeps what is done. Default: OUT.journal, removed in the end.
        restart: Discard what the journal holds.
        overwrite: Replace an earlier result.
    """
    measurement = Measurement(
        "parameter metrics", "metric", config, out, plot, journal, restart, overwrite
    )

    def find(journal_file: Path, progress: bool) -> ParameterMetric:
        from multipath.applications.matching.metric import measure_metric

        return measure_metric(config, examples=examples, journal=journal_file, progress=progress)

    def draw(result: ParameterMetric) -> Figure:
        return result.plot(title=plain(config.task.title))

    def show(result: ParameterMetric) -> None:
        print(result)
        for direction in result.inaudible():
            parts = zip(direction.tolist(), result.parameters, strict=True)
            words = ", ".join(f"{part:+.2f} {name}" for part, name in parts)
            print(f"hardly audible: {words}")
        print(visible(f"metric: {measurement.result_file}"))
        if importance is not None:
            result.importance().save(importance)
            print(visible(f"probabilities: {importance}"))

    more = {} if importance is None else {"--importance": importance}
    measurement.carry_out(find, _same, draw, show, more)


def _same(result: ParameterMetric, file: Path) -> bool:
    """Whether a file holds this very result."""
    try:
        before = type(result).load(file)
    except InputError:
        return False
    return (before.settings, before.paths.keys) == (result.settings, result.paths.keys) and bool(
        before.path_metrics.equal(result.path_metrics)
    )
