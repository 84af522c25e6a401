"""Curves with bands, and error against cost."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from multipath._internal.axes import plain
from multipath.applications.reports.page import plot_curves
from multipath.applications.reports.runs import Group, Section, read_run
from multipath.applications.runs.files import write_figure

from .plan import Plan
from .results import collect

__all__ = ["plot_cost", "write_figures"]


def write_figures(plan: Plan) -> list[Path]:
    """Write the figures of a table: ``TABLE.png`` with costs, or ``TABLE-TASK.png`` with curves.

    Nothing is written for what has no finished run.
    """
    figures: dict[str, Figure] = {}
    if plan.table.figure == "cost":
        if figure := plot_cost(plan):
            figures[plan.table.name] = figure
    elif plan.table.kind == "match":
        sections: dict[str, Section] = {}  # one for each task, with a group for each method
        for row, jobs in plan.rows:
            if runs := [read_run(job.target) for job in jobs if job.done]:
                section = sections.setdefault(row.case, Section("match", row.case, [], []))
                section.groups.append(Group(row.method, runs))
        figures = {f"{plan.table.name}-{case}": plot_curves(s) for case, s in sections.items()}
    files = {plan.folder / f"{name}.png": figure for name, figure in figures.items()}
    for file, figure in files.items():
        write_figure(file, figure, dpi=150)
    return list(files)


def plot_cost(plan: Plan) -> Figure | None:
    """Parameter error over time per step, a point with its interval for each method."""
    lines = [line for line in collect(plan) if {"theta", "time"} <= set(line.values)]
    if not lines:
        return None
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for line, marker in zip(lines, cycle("osD^v<>pPX*hd"), strict=False):
        error, cost = line.values["theta"], line.values["time"]
        margin = error.margin if error.count > 1 else 0.0
        axes.errorbar(
            cost.mean, error.mean, margin, fmt=marker, capsize=3, label=plain(line.row.name)
        )
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time per step (ms)")
    axes.set_ylabel("theta error (per mille)")
    axes.grid(color="#eeeeee")
    return figure
