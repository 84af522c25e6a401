"""Plot of a loss over guesses of its parameters: curves, planes, and the valleys in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from multipath._internal.axes import FAINT, INK, plain, tidy

from .figure import Figure

MOST_COLUMNS = 4
SHADES = ("tab:blue", "tab:orange", "tab:green")
Part = tuple[float, float]
Valleys = Sequence[Any]
"""Of each the guess, the loss and the depth."""


def plot_landscape(
    grid: np.ndarray,
    curves: Mapping[str, tuple[np.ndarray, Mapping[Part, np.ndarray], Valleys]],
    truth: float,
    planes: Mapping[tuple[str, str], tuple[np.ndarray, Valleys]],
    file: str | PathLike[str] | None,
    title: str,
) -> Figure:
    """Plot the loss over each parameter, and over pairs.

    Args:
        grid: The guesses, shape (K,).
        curves: By parameter, the mean loss over guesses, that of targets in parts of the range, and
            the valleys.
        truth: The mean loss at the truth.
        planes: By pair of parameters, the mean loss, shape (K, K), and the valleys.
        file: Where to save the plot, if anywhere.
        title: Text above it.
    """
    n_panels = len(curves) + len(planes)
    n_columns = min(n_panels, MOST_COLUMNS)
    n_rows = -(-n_panels // n_columns)
    figure = Figure(figsize=(3.8 * n_columns, 3.4 * n_rows), layout="constrained")
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for axes, (name, curve) in zip(panels, curves.items(), strict=False):
        _draw_curve(axes, grid, name, truth, *curve)
    for axes, (pair, (values, valleys)) in zip(panels[len(curves) :], planes.items(), strict=False):
        mesh = axes.pcolormesh(grid, grid, np.log10(values.T), cmap="magma_r", shading="nearest")
        axes.plot(*zip(*(v.guess for v in valleys), strict=True), "o", color="white", mec=INK)
        axes.set_xlabel(plain(pair[0]))
        axes.set_ylabel(plain(pair[1]))
        figure.colorbar(mesh, ax=axes, label="log10 of the loss")
    for axes in panels[n_panels:]:
        axes.remove()
    panels[0].set_ylabel("mean loss")
    panels[0].legend(frameon=False, fontsize=8)
    if title:
        figure.suptitle(plain(title), fontsize=10, color=INK)
    if file is not None:
        figure.savefig(file, dpi=150)
    return figure


def _draw_curve(
    axes: Axes,
    grid: np.ndarray,
    name: str,
    truth: float,
    mean: np.ndarray,
    parts: Mapping[Part, np.ndarray],
    valleys: Valleys,
) -> None:
    tidy(axes)
    for color, ((low, high), values) in zip(SHADES, parts.items(), strict=False):
        label = f"targets from {max(low, grid[0]):.2g} to {min(high, grid[-1]):.2g}"
        axes.plot(grid, values, color=color, linewidth=1.0, label=label)
    axes.plot(grid, mean, color=INK, linewidth=2.0, label="all targets")
    axes.axhline(truth, color=FAINT, linestyle="--", linewidth=0.8, label="at the truth")
    axes.plot(
        [v.guess[0] for v in valleys], [v.loss for v in valleys], "o", color="tab:red", zorder=3
    )
    axes.set_xlabel(f"guess of {plain(name)}")
