"""Plot of a variance report: what each sampler's noise costs, and where the gradients are."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from multipath._internal.axes import FAINT, INK, plain, tidy
from multipath.paths import PathTable

from .figure import Figure
from .path_plane import draw_bars, draw_plane, path_plane

SIZE = "weight × norm of the gradient"
DECADES = 4
"""Gradients more than so many decades below the largest share the bottom colour."""


def plot_report(
    rows: Sequence[tuple[str, int, float]],
    paths: PathTable,
    sizes: np.ndarray,
    path: str | PathLike[str] | None,
) -> Figure:
    """Plot the error of each sampler per unit of cost beside the gradients of the paths.

    Args:
        rows: Name of a sampler, number of draws, and mean square error times cost over the power
            of the gradient.
        paths: The paths.
        sizes: Weight times gradient norm of each path, shape (P,).
        path: Where to save the plot, if anywhere.
    """
    figure = Figure(figsize=(11.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.1))
    _draw_work(left, rows)
    plane = path_plane(paths, sizes)
    right.set_title("gradient of each path", fontsize=10, color=INK)
    if plane is None:
        draw_bars(right, paths, sizes, SIZE)
    else:
        _draw_gradients(figure, right, *plane)
    right.set_title("gradient of each path", fontsize=10, color=INK)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _draw_work(axes: Axes, rows: Sequence[tuple[str, int, float]]) -> None:
    """Draw curves over the number of draws, or bars if there is only one such number."""
    draws = sorted({n_draws for _, n_draws, _ in rows})
    curves: dict[str, list[float]] = {}
    for name, _, work in sorted(rows, key=lambda row: row[1]):
        curves.setdefault(plain(name, 32), []).append(work)
    tidy(axes)
    axes.set_title("error of the gradient per unit of cost", fontsize=10, color=INK)
    label = "mean square error × cost / power of the gradient"
    if len(draws) == 1:
        names = sorted(curves, key=lambda name: curves[name][0], reverse=True)
        works = [curves[name][0] for name in names]
        colors = [FAINT if name == "optimal" else "tab:blue" for name in names]
        bars = axes.barh(names, works, color=colors, height=0.65)
        axes.bar_label(bars, [f"{work:.3g}" for work in works], padding=4, color=INK, fontsize=9)
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{label}, {draws[0]} draws per step" if draws[0] > 1 else label)
        return
    for number, (name, works) in enumerate(curves.items()):
        style: dict[str, Any] = {"color": f"C{number}", "marker": "o"}
        if name == "optimal":
            style = {"color": FAINT, "linestyle": "--"}
        axes.plot(draws, works, label=name, linewidth=1.6, markersize=4, **style)
    axes.set_xscale("log")
    axes.set_xticks(draws, [str(k) for k in draws])
    axes.xaxis.set_minor_locator(NullLocator())
    if all(work > 0 for works in curves.values() for work in works):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("draws per step")
    axes.set_ylabel(label)
    axes.legend(frameon=False, fontsize=9)


def _draw_gradients(
    figure: Figure, axes: Axes, plane: np.ndarray, scales: list[float], rates: list[float]
) -> None:
    top, least = np.nanmax(plane), np.nanmin(plane)
    floor = max(least, top * 10.0**-DECADES)
    norm = LogNorm(floor, top) if floor < top else None
    mesh = draw_plane(axes, np.maximum(plane, floor), scales, rates, norm)
    bar = figure.colorbar(mesh, ax=axes, extend="min" if least < floor else "neither")
    bar.set_label(SIZE)
