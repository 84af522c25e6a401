"""What plots of one number per path share: the plane of rates and scales, or path indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import Normalize

from multipath._internal.axes import INK, plain, tidy
from multipath.paths import PathTable

CMAP = "magma"
"""As spectrograms have it: what is loud, or large, is bright."""
EMPTY = "#dddddd"
"""The colour of cells without a path."""
MARK = "#35d0ba"
"""Lines that can be seen on every colour of a plane."""
FEW = 32
"""At most so many paths are named below the axis."""


def path_plane(
    paths: PathTable, values: np.ndarray
) -> tuple[np.ndarray, list[float], list[float]] | None:
    """Values over signed scale (rows) and rate (columns), if the paths have such numbers.

    Where several paths share a cell, the largest value counts; cells without a path are NaN.

    Returns:
        The plane, its scales and its rates; None if the paths have no rates and scales.
    """
    if not are_numbers(paths, "rate", "scale"):
        return None
    rates, scales = paths.column("rate"), paths.column("scale")
    if None in rates or None in scales:
        return None
    if are_numbers(paths, "spin"):
        scales = [s * (spin or 1) for s, spin in zip(scales, paths.column("spin"), strict=True)]
    return spread(values, rates, scales)


def are_numbers(paths: PathTable, *columns: str) -> bool:
    """Whether the paths have these columns, of numbers or None each."""
    known = set(columns) <= set(paths.columns)
    return known and all(
        value is None or isinstance(value, int | float)
        for column in columns
        for value in paths.column(column)
    )


def spread(
    values: np.ndarray, x: list[float], y: list[float]
) -> tuple[np.ndarray, list[float], list[float]]:
    """Spread values over a plane of increasing y (rows) and x (columns), which are returned too."""
    columns, rows = sorted(set(x)), sorted(set(y))
    plane = np.full((len(rows), len(columns)), np.nan)
    for column, row, value in zip(x, y, values, strict=True):
        place = rows.index(row), columns.index(column)
        plane[place] = np.fmax(plane[place], value)
    return plane, rows, columns


def draw_plane(
    axes: Axes,
    plane: np.ndarray,
    scales: list[float],
    rates: list[float],
    norm: Normalize | None,
) -> QuadMesh:
    """Draw evenly spaced cells whose ticks name rates and scales; all planes look like this."""
    mesh = axes.pcolormesh(plane, cmap=CMAP, norm=norm)
    axes.set_facecolor(EMPTY)
    shown = range(0, len(rates), len(rates) // 10 + 1)
    axes.set_xticks([i + 0.5 for i in shown], [short(rates[i]) for i in shown])
    shown = range(0, len(scales), len(scales) // 16 + 1)
    signed = any(scale < 0 for scale in scales)
    names = ["+" * (signed and scales[i] > 0) + short(scales[i]) for i in shown]
    axes.set_yticks([i + 0.5 for i in shown], names)
    axes.tick_params(colors=INK, labelsize=8)
    axes.set_xlabel("rate (Hz)")
    axes.set_ylabel("scale (cycles/octave)" + ("\n+ rising, − falling" if signed else ""))
    return mesh


def outline(axes: Axes, chosen: np.ndarray, **style: Any) -> None:
    """Draw the border between the chosen cells of a plane and the others."""
    padded = np.pad(chosen, 1)
    below, above = padded[:-1, 1:-1], padded[1:, 1:-1]
    before, after = padded[1:-1, :-1], padded[1:-1, 1:]
    lines = [((x, y), (x + 1, y)) for y, x in np.argwhere(below != above)]
    lines += [((x, y), (x, y + 1)) for y, x in np.argwhere(before != after)]
    axes.add_collection(LineCollection(lines, capstyle="projecting", **style))


def draw_bars(axes: Axes, paths: PathTable, values: np.ndarray, quantity: str) -> None:
    """Draw a bar for each path, or an area if there are many."""
    tidy(axes)
    axes.grid(visible=False, axis="x")
    if len(values) <= FEW:
        axes.bar(range(len(values)), values, color="tab:purple", width=0.65)
    else:
        axes.fill_between(range(len(values)), values, step="mid", color="tab:purple", linewidth=0)
    name_paths(axes, paths)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(quantity)


def name_paths(axes: Axes, paths: PathTable) -> None:
    """Name the paths below the axis, if they are few."""
    count = len(paths)
    if count <= FEW:
        names = [plain(short(key), 24) for key in paths.keys]
        slots = max(count, 3)
        turned = 90 if slots * max(map(len, names)) > 85 else 0
        axes.set_xticks(range(count), names, rotation=turned, fontsize=8)
        axes.set_xlim(-0.6, slots - 0.4)
    axes.set_xlabel("path")


def short(value: Any) -> str:
    """Text of a value: floats with two significant digits, or without decimals from 100 on."""
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.2g}"
    return str(value)
