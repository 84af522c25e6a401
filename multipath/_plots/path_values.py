"""Plot of one number per path, laid out by what describes the paths."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.ticker import LogLocator, NullFormatter

from multipath._internal.axes import plain, tidy
from multipath.paths import PathTable

from .figure import Figure
from .path_plane import are_numbers, draw_bars, draw_plane, path_plane, spread


def plot_values(paths: PathTable, values: np.ndarray, quantity: str, title: str) -> Figure:
    """Plot values over rate and scale, over frequency and rate, or path by path."""
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    plane = path_plane(paths, values)
    if plane is not None:
        _draw_colors(figure, figure.subplots(), *plane, quantity)
    elif are_numbers(paths, "order", "frequency", "rate"):
        _draw_orders(figure, paths, values, quantity)
    else:
        draw_bars(figure.subplots(), paths, values, quantity)
    figure.suptitle(plain(title))
    return figure


def _draw_colors(
    figure: Figure,
    axes: Axes,
    plane: np.ndarray,
    rows: list[float],
    columns: list[float],
    quantity: str,
) -> None:
    norm = Normalize(0.0, np.nanmax(plane) or 1.0)
    mesh = draw_plane(axes, plane, rows, columns, norm)
    figure.colorbar(mesh, ax=axes, label=f"{quantity} of the path")


def _draw_orders(figure: Figure, paths: PathTable, values: np.ndarray, quantity: str) -> None:
    """Draw the first order over frequency, above the second over frequency and rate."""
    order = np.array(paths.column("order"))
    frequency = np.array(paths.column("frequency"), dtype=np.float64)
    rate = np.array(paths.column("rate"), dtype=np.float64)
    first, second = order == 1, order == 2
    axes = figure.subplots(1 + bool(second.any()), 1, squeeze=False)[:, 0]
    tidy(axes[0])
    axes[0].plot(frequency[first], values[first], color="tab:purple")
    axes[0].set_xscale("log")
    axes[0].xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes[0].xaxis.set_major_formatter("{x:g}")
    axes[0].xaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylim(bottom=0)
    axes[0].set_xlabel("frequency (Hz)")
    axes[0].set_ylabel(f"first order: {quantity}")
    if second.any():
        plane = spread(values[second], frequency[second].tolist(), rate[second].tolist())
        _draw_colors(figure, axes[1], *plane, quantity)
        axes[1].set_xlabel("frequency (Hz)")
        axes[1].set_ylabel("second order: rate (Hz)")
