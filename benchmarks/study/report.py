"""Tables and a plot of the study: python -m benchmarks.study.report"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import table
from multipath.applications.reports.runs import interval

from . import quadratic
from .problems import PROBLEMS
from .run import OTHER_RATE, QUADRATIC, RESULTS, Record, load
from .schemes import SCHEMES


@dataclass(frozen=True)
class Row:
    """One scheme on one problem: every seed's errors on the test split."""

    scheme: str
    lr: float
    errors: list[list[float]]  # a seed, then a parameter
    steps: float
    milliseconds: float

    @property
    def overall(self) -> list[float]:
        """Mean over the parameters, for each seed; logarithms where there is no parameter."""
        if len(self.errors[0]) == 1:
            return [math.log10(max(e[0], 1e-12)) for e in self.errors]
        return [statistics.fmean(e) for e in self.errors]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.overall)

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval of the mean, from Student's distribution."""
        return interval(self.overall).margin

    def of(self, parameter: int) -> float:
        """Mean error of one parameter."""
        return statistics.fmean(e[parameter] for e in self.errors)


def rows(records: Sequence[Record], problem: str, stage: str = "final") -> list[Row]:
    """Schemes with their final runs on one problem, best first."""
    found = defaultdict(list)
    for record in records:
        run = record["run"]
        if run["stage"] == stage and run["problem"] == problem:
            found[run["scheme"]].append(record)
    made = [
        Row(
            scheme,
            runs[0]["run"]["lr"],
            [r["test"] or r["validation"] for r in runs],
            statistics.fmean(r["steps"] for r in runs),
            statistics.fmean(r.get("milliseconds") or math.nan for r in runs),
        )
        for scheme, runs in found.items()
        if all(math.isfinite(value) for r in runs for value in r["test"] or r["validation"])
    ]
    return sorted(made, key=lambda row: row.mean)


def sound_table(problem: str, found: Sequence[Row]) -> str:
    """Markdown of one sound matching problem."""
    header = ["scheme", "theta", *PROBLEMS[problem]().parameters, "lr", "steps", "ms/step", ""]
    lines = [
        [
            row.scheme, f"{row.mean:.0f} ± {row.half_width:.0f}", f"{row.of(0):.0f}",
            f"{row.of(1):.0f}", f"{row.lr:g}", f"{row.steps:.0f}", f"{row.milliseconds:.0f}",
            SCHEMES[row.scheme].about,
        ]
        for row in found
    ]  # fmt: skip
    return table(header, lines, words=(0, 7))


def quadratic_table(found: Sequence[Row]) -> str:
    """Markdown of the quadratic problem."""
    lines = [
        [row.scheme, f"{row.mean:.2f} ± {row.half_width:.2f}", f"{row.lr:g}", f"{row.steps:.0f}"]
        for row in found
    ]
    return table(["scheme", "log10 of the excess", "lr", "steps"], lines)


def average_table(tables: dict[str, list[Row]]) -> str:
    """Each scheme's errors relative to ``energy 8``, and their geometric mean over problems."""
    reference = {
        p: next(r.mean for r in found if r.scheme == "energy 8") for p, found in tables.items()
    }
    by_scheme: dict[str, dict[str, float]] = defaultdict(dict)
    for problem, found in tables.items():
        for row in found:
            by_scheme[row.scheme][problem] = row.mean / reference[problem]
    complete = {s: ratios for s, ratios in by_scheme.items() if len(ratios) == len(tables)}
    ranked = sorted(complete.items(), key=lambda item: statistics.geometric_mean(item[1].values()))
    lines = []
    for scheme, ratios in ranked:
        cells = [statistics.geometric_mean(ratios.values()), *(ratios[p] for p in tables)]
        lines.append([scheme, *(f"{cell:.2f}" for cell in cells)])
    return table(["scheme", "mean", *tables], lines)


def _given_steps(records: Sequence[Record]) -> list[str]:
    """Which schemes had a number of steps and not a time, and why."""
    finals = [r["run"] for r in records if r["run"]["stage"] == "final"]
    given = [run["scheme"] for run in finals if run.get("steps") is not None]
    if not given:
        return []
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(given))
    costs = [r["run"]["relative_to"] for r in records if r["run"].get("relative_to")]
    references = ", ".join(f"`{name}`" for name in dict.fromkeys(costs))
    return [
        f"Runs of {names} had a number of steps instead of a time: as many as fit into the time "
        f"of the runs of {references}, by costs measured in turns (`--as`). Their ms/step is that "
        "time divided by the steps."
    ]


def plot(tables: dict[str, list[Row]], path: Path) -> None:
    """Errors with their intervals, a panel a problem."""
    from matplotlib.figure import Figure

    longest = max(len(found) for found in tables.values())
    figure = Figure(figsize=(5.2 * len(tables), 1.5 + 0.26 * longest), layout="constrained")
    colors = {
        "balanced": "#0b6e6e", "combined": "#7a3b8f", "energy": "#2c6fb0", "scrapl": "#b0602c"
    }  # fmt: skip
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for axis, (problem, found) in zip(panels, tables.items(), strict=True):
        for place, row in enumerate(reversed(found)):
            color = next(
                (c for name, c in colors.items() if row.scheme.startswith(name)), "#777777"
            )
            axis.errorbar(
                row.mean, place, xerr=row.half_width, fmt="o", color=color, capsize=2, markersize=5
            )
        axis.set_yticks(range(len(found)), [row.scheme for row in reversed(found)], fontsize=8)
        axis.set_title(problem)
        axis.grid(axis="x", alpha=0.3)
        if problem == QUADRATIC:
            axis.set_xlabel("log10 of the excess over the minimum")
        else:
            axis.set_xlabel("parameter error on the test set, per mille")
            axis.axvline(250, color="#bbbbbb", linestyle=":", zorder=0)
    figure.suptitle("Equal time, five seeds, 95 % intervals (dotted: always answering the middle)")
    figure.savefig(path, dpi=110)


def write(path: Path) -> None:
    """``.md`` and ``.png`` beside the runs."""
    records = load(path)
    sounds = {problem: found for problem in PROBLEMS if (found := rows(records, problem))}
    finals = [r for r in records if r["run"]["stage"] == "final" and r["run"]["problem"] in sounds]
    budget = min(r["run"]["budget"] for r in finals)
    n_seeds = len({r["run"]["seed"] for r in finals})
    parts = [
        "# Which sampler, which optimizer: a study",
        f"""\
Every run has {budget:g} s of one thread's processor time, set-up included; batches of 4 sounds,
reduced sampling, cosine schedule. Granular has {3 * budget:g} s: in {budget:g} no scheme had
learned its density (mean errors 180 to 260, SCRAPL's the least). Learning rates were chosen for
each scheme and problem among two, in half the time on a seed of its own; pilot runs had found the
range. {n_seeds} other seeds were then trained. Errors are of the parameters, in per mille, on 512
sounds that neither training nor tuning saw, with 95 % intervals of the mean (Student). Always
answering the middle scores 250. `python -m benchmarks.study.run` repeats it.""",
        *_given_steps(records),
        "![errors with intervals](study.png)",
        "## All sound problems together",
        "Errors relative to `energy 8`, and their geometric mean.",
        average_table(sounds),
    ]
    for problem, found in sounds.items():
        parts += [f"## {problem}", sound_table(problem, found)]
        if others := rows(records, problem, OTHER_RATE):
            parts += [
                "The same seeds at a learning rate that tuning did not choose: how much of a "
                "difference is one of tuning.",
                sound_table(problem, others),
            ]
    tables = sounds
    if quadratics := rows(records, QUADRATIC):
        tables[QUADRATIC] = quadratics
        parts += [
            "## Quadratic paths",
            f"A known minimum, path sizes over four decades. Each run costs as much as "
            f"{quadratic.PRICE:g} evaluations of one path; k paths cost 0.75 + 0.25 k.",
            quadratic_table(quadratics),
        ]
    path.with_suffix(".md").write_text(
        "\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8"
    )
    plot(tables, path.with_suffix(".png"))


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    write(parser.parse_args().results)


if __name__ == "__main__":
    main()
