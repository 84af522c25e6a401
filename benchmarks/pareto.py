"""Error against the time of a training step: which loss to use, in one picture.

python -m benchmarks.pareto RUNS

RUNS is the folder of ``multipath reproduce pareto``, whose runs give the errors. What a step takes
is measured here, all losses in turns on one thread, so that a machine of varying speed slows all of
them alike; and once more for the draws of ``kpaths-8`` with targets that a cache has seen before,
which changes no gradient. Numbers and picture go to ``docs/results`` (``--out``).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from .environment import here, in_words
from .store import write_report
from .tables import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from multipath.applications.matching.config import MatchConfig

RESULTS = Path(__file__).parent.parent / "docs" / "results"
BASELINE = "mss-log"
"""What times are divided by."""
CACHED, OF = "kpaths-8-cached", "kpaths-8"
"""The same draws, whose targets have been seen before."""
TURNS = 15
BURST_SECONDS = 0.3
"""Steps of a loss are repeated until they fill this time, and their mean is its turn."""
MIDDLE, OURS = 250, "#0b6e6e"
BATCHES = 8
"""Batches of targets, again and again."""


def stepper(config: MatchConfig, cached: bool = False) -> Callable[[int], float]:
    """A training step by its number, which returns the loss: rendering, encoder, loss, optimizer.

    Args:
        config: Settings of the run.
        cached: Whether what is computed of targets is kept.
    """
    import torch

    from multipath import TargetCache, TransformLoss
    from multipath.applications.matching.module import SoundMatching

    torch.manual_seed(config.seed)
    model = SoundMatching(config)
    model.measure()
    optimizer = model.configure_optimizers()["optimizer"]
    cache = TargetCache(max_bytes=2**30)
    if cached:
        for each in model.criterion.modules():
            if isinstance(each, TransformLoss):
                each.cache = cache

    def step(number: int) -> float:
        batch = model.batches.training_batch(number % BATCHES)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = model.training_step(batch, 0)
            loss.backward()
            return loss

        with cache.keyed(batch.rows):
            return float(optimizer.step(closure).detach())

    return step


def measure(steppers: Mapping[str, Callable[[int], object]], turns: int) -> dict[str, list[float]]:
    """Seconds of the processor that a step takes, for each loss in each turn."""
    counts = dict.fromkeys(steppers, 0)

    def steps(name: str, count: int) -> float:
        start = time.process_time()
        for _ in range(count):
            steppers[name](counts[name])
            counts[name] += 1
        return (time.process_time() - start) / count

    found: dict[str, list[float]] = {name: [] for name in steppers}
    long = {name: 1 + int(BURST_SECONDS / steps(name, 2 * BATCHES)) for name in steppers}
    for _ in range(turns):
        for name, seconds in found.items():
            seconds.append(steps(name, long[name]))
    return found


def summary(
    seconds: Mapping[str, Sequence[float]], errors: Mapping[str, tuple[float, float, int]]
) -> list[dict[str, Any]]:
    """One row for each loss, the cheapest first.

    Args:
        seconds: Of the steps, turn by turn.
        errors: Mean, margin and number of seeds.
    """
    rows = []
    for name, turns in seconds.items():
        ratios = [own / base for own, base in zip(turns, seconds[BASELINE], strict=True)]
        error, margin, seeds = errors[OF if name == CACHED else name]
        row = {"loss": name, "error": error, "margin": margin, "seeds": seeds}
        rows.append({**row, "milliseconds": 1000 * median(turns), "ratio": median(ratios)})
    return sorted(rows, key=lambda row: row["ratio"])


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report in a table."""
    rows = [
        [
            row["loss"], f"{row['error']:.0f} ± {row['margin']:.0f}", str(row["seeds"]),
            f"{row['milliseconds']:.0f}", f"{row['ratio']:.2f}",
        ]
        for row in report["rows"]
    ]  # fmt: skip
    return "\n".join(
        [
            "# Error against cost, chirplets",
            "",
            "Errors of theta in per mille, with 95 % intervals (Student's t) over the seeds, after "
            "600 steps of the preset `quick`. Times are those of a training step, medians of "
            f"{report['turns']} turns on one thread. {in_words(report['environment'])}.",
            "",
            table(["loss", "theta (per mille)", "seeds", "ms per step", f"/ {BASELINE}"], rows),
        ]
    )


LABELS = {
    "ploss": ("distance of parameters,\nwhich are known", (-6, 13), "left"),
    "mss-linear": ("mss-linear", (7, 4), "left"),
    "mss-random": ("mss-random", (-7, -4), "right"),
    "mss-revisited": ("mss-revisited", (-7, -4), "right"),
    "scrapl": ("scrapl", (-7, 6), "right"),
    "kpaths-8-reduced": ("8, reduced", (-7, -9), "right"),
    CACHED: ("8, cached", (4, -24), "left"),
    "jtfs": ("all paths", (0, 9), "center"),
}
"""What is written at a point, how far from it, and on which side; elsewhere to the right."""


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Error over cost, a point with its interval for each loss; draws are joined by a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    counted = [row for row in rows if row["loss"].removeprefix("kpaths-").isdecimal()]
    counted.sort(key=lambda row: int(row["loss"].removeprefix("kpaths-")))
    axes.plot(*_points(counted), color=OURS, linewidth=1, zorder=1)
    for row in rows:
        loss, place = row["loss"], (row["ratio"], row["error"])
        ours = loss.startswith(("kpaths", "jtfs"))
        color = OURS if ours else "#b0602c" if loss == "scrapl" else "#666666"
        axes.errorbar(
            *place, row["margin"], fmt="o", markersize=6, capsize=2, elinewidth=1, color=color,
            markerfacecolor="white" if loss == CACHED else color,
        )  # fmt: skip
        text, offset, side = LABELS.get(loss, (loss.removeprefix("kpaths-"), (7, 3), "left"))
        axes.annotate(text, place, offset, textcoords="offset points", ha=side, fontsize=8)
    axes.axhline(MIDDLE, color="#bbbbbb", linestyle=":", zorder=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, ticks in (
        (axes.xaxis, (0.5, 1, 2, 5, 10, 20, 50)),
        (axes.yaxis, (50, 100, 200, 400)),
    ):
        axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axis.set_minor_formatter("")
    axes.grid(color="#eeeeee")
    axes.set_xlabel(f"time of a training step / that with {BASELINE}")
    axes.set_ylabel("error of the parameters (per mille)")
    axes.set_title(
        "Numbers: scattering paths drawn in a step. Dotted: always guessing the middle", fontsize=9
    )
    return figure


def _points(rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    return [row["ratio"] for row in rows], [row["error"] for row in rows]


def main() -> None:
    """Measure, print, keep and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pareto", description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("an interval takes at least two --seeds")
    import torch

    from multipath.applications.reproduction.grid import TABLES
    from multipath.applications.reproduction.plan import make_plan
    from multipath.applications.reproduction.results import collect
    from multipath.applications.runs.files import write_figure
    from multipath.errors import MultipathError

    torch.set_num_threads(1)
    try:
        plan = make_plan(TABLES["pareto"], "quick", options.runs, options.seeds)
        lines = [line for line in collect(plan) if line.seeds == line.planned]
    except MultipathError as error:
        parser.error(str(error))
    errors = {
        line.row.method: (line.values["theta"].mean, line.values["theta"].margin, line.seeds)
        for line in lines
    }
    if BASELINE not in errors:
        parser.error(
            f"{options.runs} lacks {options.seeds} runs of {BASELINE}: multipath reproduce pareto "
            f"--seeds {options.seeds} --out {options.runs} makes them"
        )
    configs = {line.row.method: line.row.config("quick", 0) for line in lines}
    steppers = {name: stepper(config) for name, config in configs.items()}
    if OF in configs:
        steppers[CACHED] = stepper(configs[OF], cached=True)
    seconds = measure(steppers, options.turns)
    rows = summary(seconds, errors)
    report = {"environment": here(), "turns": options.turns, "rows": rows, "seconds": seconds}
    write_report(options.out, "pareto", report, as_markdown(report))
    write_figure(options.out / "pareto.png", draw(rows), dpi=110)


if __name__ == "__main__":
    main()
