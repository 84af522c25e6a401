"""Plot of probabilities: how much more often than uniformly each path is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from multipath._internal.axes import FAINT, INK, plain, tidy
from multipath.paths import PathTable

from .figure import Figure
from .path_plane import FEW, MARK, draw_plane, name_paths, outline, path_plane

LABEL = "probability / uniform probability"
MORE, LESS = "tab:red", "tab:blue"
LEAST = 1 / 64
"""Bars of paths that are drawn even less often end here: a logarithmic axis has no zero."""


def plot_probabilities(
    paths: PathTable,
    probabilities: np.ndarray,
    file: str | PathLike[str] | None,
    inside: np.ndarray | None,
    title: str,
) -> Figure:
    """Plot how much more often than uniformly each path is drawn.

    Args:
        paths: The paths.
        probabilities: The probability of each path, shape (P,).
        file: Where to save the plot, if anywhere.
        inside: Which paths to outline, booleans of shape (P,).
        title: Text above the plot.
    """
    ratios = len(paths) * probabilities
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    limit = octave_limit(ratios)
    mesh = draw_ratios(axes, paths, ratios, inside, limit)
    if mesh is not None:
        label_colors(figure, [axes], mesh, limit)
    if title:
        axes.set_title(plain(title), fontsize=10, color=INK)
    if file is not None:
        figure.savefig(file, dpi=150)
    return figure


def draw_ratios(
    axes: Axes,
    paths: PathTable,
    ratios: np.ndarray,
    inside: np.ndarray | None,
    limit: float,
) -> QuadMesh | None:
    """Draw ratios as colours of a plane if the paths have rates and scales, or else as bars.

    Args:
        axes: The axes to draw into.
        paths: The paths.
        ratios: The ratio of each path, 1 where it is drawn as often as uniformly.
        inside: Which paths to outline.
        limit: Octaves on either side of 1 that the colours tell apart.

    Returns:
        The coloured mesh, or None if bars were drawn.
    """
    found = path_plane(paths, ratios)
    if found is None:
        _draw_bars(axes, paths, ratios, inside)
        return None
    plane, scales, rates = found
    with np.errstate(divide="ignore"):
        octaves = np.log2(plane)
    norm = Normalize(-limit, limit)
    # log2(0) = -inf would be drawn as missing: it gets the bottom colour, unlike cells of no path
    mesh = draw_plane(axes, np.maximum(octaves, -2 * limit), scales, rates, norm)
    if inside is not None and (marked := path_plane(paths, inside.astype(float))) is not None:
        outline(axes, marked[0] > 0, colors=MARK, linewidths=1.8)
    return mesh


def octave_limit(ratios: np.ndarray) -> float:
    """Octaves from 1 to the largest ratio, at least one."""
    return max(1.0, math.log2(ratios.max()))


def label_colors(figure: Figure, axes: Sequence[Axes], mesh: QuadMesh, limit: float) -> None:
    """Add a colour bar whose ticks are ratios."""
    values = mesh.get_array()
    below = values is not None and bool(np.nanmin(values) < -limit)
    bar = figure.colorbar(mesh, ax=axes, extend="min" if below else "neither")
    whole = range(-math.floor(limit), math.floor(limit) + 1)
    ticks = [power for power in whole if limit < 6 or power % 2 == 0]
    bar.set_ticks(ticks, labels=[_ratio(2.0**power) for power in ticks])
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.set_label(LABEL)


def _draw_bars(axes: Axes, paths: PathTable, ratios: np.ndarray, inside: np.ndarray | None) -> None:
    tidy(axes)
    axes.grid(visible=False, axis="x")
    place, shown = np.arange(len(ratios)), np.maximum(ratios, LEAST)
    if len(ratios) <= FEW:
        colors = [MORE if ratio > 1 else LESS for ratio in ratios]
        edges = "none" if inside is None else [INK if yes else "none" for yes in inside]
        axes.bar(
            place, shown - 1, bottom=1, color=colors, edgecolor=edges, linewidth=1.6, width=0.65
        )
    else:
        for color, there in ((MORE, shown >= 1), (LESS, shown <= 1)):
            axes.fill_between(
                place, np.where(there, shown, 1), 1, step="mid", color=color, linewidth=0
            )
        if inside is not None:
            band = axes.get_xaxis_transform()
            axes.bar(place[inside], 1, width=1, color=FAINT, alpha=0.3, zorder=0, transform=band)
    axes.axhline(1, color=INK, linewidth=1)
    name_paths(axes, paths)
    axes.set_yscale("log", base=2)
    low, high = min(0.5, shown.min()), max(2.0, shown.max())
    axes.set_ylim(low / 1.1, high * 1.1)
    axes.yaxis.set_major_locator(LogLocator(base=2))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _ratio(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(LABEL)


def _ratio(value: float) -> str:
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"
