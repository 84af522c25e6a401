"""Tables of what is there so far, beside the numbers of the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multipath.applications.reports.runs import Interval, interval
from multipath.applications.runs.files import read_json, write_csv, write_json, write_text
from multipath.errors import InputError

from .grid import BASELINE, Column, Row, Table
from .plan import REMEDY, Job, Plan
from .published import PUBLISHED, published

__all__ = ["Line", "collect", "markdown", "number", "table_line", "write_results"]


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        row: What was run.
        seeds: How many runs are finished.
        planned: How many there will be.
        values: Interval of each column, over the seeds that have a number there.
        settings: Learning rate, steps and batch size.
        environments: Where the runs were made, each once, in words.
    """

    row: Row
    seeds: int
    planned: int
    values: Mapping[str, Interval]
    settings: Mapping[str, float]
    environments: Sequence[str] = ()


def collect(plan: Plan) -> list[Line]:
    """What the finished runs of a plan say.

    Raises:
        InputError: If a file is damaged.
    """
    found = [_read(plan.table, jobs) for _, jobs in plan.rows]
    if plan.table.kind == "cost":
        methods = [row.method for row, _ in plan.rows]
        _add_ratios(dict(zip(methods, (numbers for numbers, _ in found), strict=True)))
    lines = []
    for (row, jobs), (numbers, environments) in zip(plan.rows, found, strict=True):
        training = jobs[0].config["training"]
        settings = {name: training[name] for name in ("learning_rate", "steps", "batch_size")}
        values = _intervals(plan.table.columns, list(numbers.values()))
        lines.append(Line(row, len(numbers), len(jobs), values, settings, environments))
    return lines


def _read(table: Table, jobs: Sequence[Job]) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """What the finished jobs found, by seed, and where they ran."""
    summaries = [(job, read_json(job.summary, REMEDY)) for job in jobs if job.done]
    numbers = {int(job.config["seed"]): _numbers(job, each, table) for job, each in summaries}
    return numbers, list(dict.fromkeys(_environment(each) for _, each in summaries))


def _intervals(
    columns: Sequence[Column], numbers: Sequence[Mapping[str, Any]]
) -> dict[str, Interval]:
    """The interval of each column that has a number for some seed."""
    values = {}
    for column in columns:
        there = [each[column.name] for each in numbers if each.get(column.name) is not None]
        if there:
            values[column.name] = interval([column.factor * float(value) for value in there])
    return values


def _numbers(job: Job, summary: Mapping[str, Any], table: Table) -> dict[str, Any]:
    if table.kind == "cost":
        return dict(summary)
    try:
        return {
            **summary[summary["errors"]],
            "untrained": summary["untrained_error"][summary["headline"]],
            "steps": summary["steps_to_converge"],
            "variation": summary["total_variation"],
            "time": summary["seconds_per_step"],
            "distance": summary.get("scattering_distance"),
        }
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{job.summary} is damaged or of another version ({error!r}); {REMEDY}"
        ) from error


def _environment(summary: Mapping[str, Any]) -> str:
    there = summary.get("environment", {})
    return ", ".join(
        f"{name} {there[name]}"
        for name in ("multipath", "torch", "python", "device", "cpus", "threads", "machine")
        if name in there
    )


def _add_ratios(costs: Mapping[str, Mapping[int, dict[str, Any]]]) -> None:
    """Time and memory over those of the baseline with the same seed, for both vary."""
    for by_seed in costs.values():
        for seed, numbers in by_seed.items():
            base = costs.get(BASELINE, {}).get(seed, {})
            for name in ("time", "memory"):
                if numbers.get(name) is not None and (base.get(name) or 0) > 0:
                    numbers[f"{name}_ratio"] = numbers[name] / base[name]


def markdown(plan: Plan, lines: Sequence[Line]) -> str:
    """The table in Markdown, with the numbers of the paper in brackets."""
    table = plan.table
    head = ["method", "seeds", *(column.title for column in table.columns)]
    # costs are those of the published signals at every scale
    measured = "One evaluation at a time." if table.kind == "cost" else f"Scale `{plan.scale}`."
    text = [
        f"# {table.title}",
        "",
        f"{measured} Means over seeds with 95 % intervals (Student's t)"
        + ("; in brackets the numbers of the paper." if table.name in PUBLISHED else "."),
        "",
        table_line(head),
        table_line(["---"] * 2 + ["---:"] * len(table.columns)),
    ]
    for line in lines:
        seeds = f"{line.seeds}" if line.seeds == line.planned else f"{line.seeds} of {line.planned}"
        cells = [_cell(table, line, column) for column in table.columns]
        text.append(table_line([line.row.name, seeds, *cells]))
    if table.kind == "match":
        text += ["", "| method | learning rate | steps | batch |", "| --- | ---: | ---: | ---: |"]
        for line in lines:
            text.append(table_line([line.row.name, *(f"{v:g}" for v in line.settings.values())]))
    text += ["", *(f"Measured with {each}." for each in _everywhere(lines))]
    return "\n".join(text) + "\n"


def _everywhere(lines: Sequence[Line]) -> list[str]:
    """The environments of all rows, each once."""
    return [each for each in dict.fromkeys(e for line in lines for e in line.environments) if each]


def _cell(table: Table, line: Line, column: Column) -> str:
    value = line.values.get(column.name)
    paper = published(table.name, line.row.name, column.name)
    own = "-" if value is None else number(value.mean, value.margin)
    if value is not None and value.count < line.seeds:
        own += f" ({value.count} of {line.seeds})"
    return own if paper is None else f"{own} [{number(*paper)}]"


def number(mean: float, margin: float | None) -> str:
    """Three digits, or all of what is larger.

    Example:
        >>> number(65.72, 4.18), number(10906.0, None), number(999.7, float("nan"))
        ('65.7 ± 4.18', '10906', '1000')
    """
    known = [mean] if margin is None or math.isnan(margin) else [mean, margin]
    return " ± ".join(f"{v:.0f}" if abs(v) >= 999.5 else f"{v:.3g}" for v in known)


def table_line(cells: Sequence[str]) -> str:
    """One line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def write_results(plan: Plan) -> Path:
    """Write ``TABLE.md``, ``.csv`` and ``.json``, each whole or not at all.

    Returns:
        The first of them.
    """
    lines = collect(plan)
    file = plan.folder / f"{plan.table.name}.md"
    plan.folder.mkdir(parents=True, exist_ok=True)
    rows = [row for line in lines for row in _rows(plan.table, line)]
    write_csv(file.with_suffix(".csv"), rows)
    write_json(
        file.with_suffix(".json"),
        {
            "table": plan.table.name,
            "scale": plan.scale,
            "environments": _everywhere(lines),
            "rows": rows,
        },
    )
    write_text(file, markdown(plan, lines))
    return file


def _rows(table: Table, line: Line) -> list[dict[str, Any]]:
    """One for each number, None where there is none."""
    found = []
    for column in table.columns:
        value = line.values.get(column.name)
        paper, margin = published(table.name, line.row.name, column.name) or (None, None)
        found.append(
            {
                "method": line.row.method,
                "task": line.row.label or line.row.task,
                "column": column.name,
                "mean": None if value is None else value.mean,
                "margin": None if value is None or math.isnan(value.margin) else value.margin,
                "count": 0 if value is None else value.count,
                "seeds": line.seeds,
                "paper": paper,
                "paper_margin": margin,
                **line.settings,
            }
        )
    return found
