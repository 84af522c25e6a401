"""Pictures of where a distance comes from, chosen by what describes the paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from multipath import PathTable
from multipath.applications.runs.files import write_figure
from multipath.errors import InputError

_COLORS = "magma_r"


def plot_path_losses(
    paths: PathTable,
    losses: Sequence[float],
    title: str,
    picture: str | Path,
    quantity: str = "distance",
) -> None:
    """Draw the losses of all paths, or another quantity, and write the picture whole or not at all.

    See :func:`draw_path_losses`.

    Args:
        paths: What the losses belong to.
        losses: One value a path.
        title: Written above the picture.
        picture: File to write; its suffix names the format (PNG, PDF, SVG, ...).
        quantity: What the values are, for the labels.

    Raises:
        InputError: If there is no such folder or format.
        OSError: If the picture cannot be written.
    """
    check_plot_file(picture)
    figure = draw_path_losses(paths, losses, title, quantity)
    write_figure(Path(picture), figure, dpi=150)


def draw_path_losses(
    paths: PathTable, losses: Sequence[float], title: str, quantity: str = "distance"
) -> Figure:
    """Draw the losses of all paths, or another quantity.

    - Paths with a ``scale`` (joint time-frequency scattering): the plane of rate (Hz, log axis) and
      signed scale (cycles/octave; above zero for patterns that rise, below for those that fall).
    - Paths with a ``frequency`` (scattering over time): first order over frequency (Hz), and second
      order over the plane of frequency and rate (Hz).
    - Others: one bar a path; for short-time Fourier transforms, one a resolution.

    Args:
        paths: What the losses belong to.
        losses: One value a path.
        title: Written above the picture.
        quantity: What the values are, for the labels.
    """
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    values = np.asarray(losses, dtype=np.float64)
    if "scale" in paths.columns:
        _draw_rate_scale(figure, paths, values, quantity)
    elif "frequency" in paths.columns:
        _draw_frequency_rate(figure, paths, values, quantity)
    else:
        _draw_bars(figure.subplots(), paths, values, quantity)
    figure.suptitle(title)
    return figure


def check_plot_file(picture: str | Path) -> None:
    """Refuse a picture that cannot be written, before the work that it would show.

    Raises:
        InputError: If its folder does not exist or its suffix is not a format of matplotlib.
    """
    picture = Path(picture)
    if not picture.parent.is_dir():
        raise InputError(f"{picture}: there is no folder {picture.parent}; make it first")
    formats = FigureCanvasAgg.get_supported_filetypes()
    if picture.suffix.lstrip(".").lower() not in formats:
        raise InputError(
            f"{picture}: expected a picture with one of the suffixes {', '.join(sorted(formats))}, "
            f"got {picture.suffix or 'none'}"
        )


def _draw_rate_scale(
    figure: Figure, paths: PathTable, values: NDArray[np.float64], quantity: str = "distance"
) -> None:
    scales = [
        scale * spin
        for scale, spin in zip(paths.column("scale"), paths.column("spin"), strict=True)
    ]
    axes = figure.subplots()
    rows = _draw_plane(axes, paths.column("rate"), scales, values, quantity)
    axes.set_yticks(range(len(rows)), [f"{row:+.2g}" if row else "0" for row in rows], fontsize=7)
    axes.set_xlabel("rate (Hz)")
    axes.set_ylabel("scale (cycles/octave): + rising, − falling")


def _draw_frequency_rate(
    figure: Figure, paths: PathTable, values: NDArray[np.float64], quantity: str
) -> None:
    order = np.array(paths.column("order"))
    frequency = np.array(paths.column("frequency"), dtype=np.float64)
    rate = np.array(paths.column("rate"), dtype=np.float64)
    first, second = order == 1, order == 2
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    upper.plot(frequency[first], values[first], color="black", linewidth=1)
    upper.set_ylabel("first order")
    upper.set_ylim(bottom=0)
    if second.any():
        rows = _draw_plane(lower, frequency[second], rate[second], values[second], quantity)
        ticks = range(0, len(rows), 2)
        names = [f"{rows[i]:.0f}" if rows[i] >= 100 else f"{rows[i]:.3g}" for i in ticks]
        lower.set_yticks(ticks, names, fontsize=7)
    lower.set_ylabel("second order: rate (Hz)")
    lower.set_xlabel("frequency (Hz)")
    lower.set_xscale("log")


def _draw_bars(axes: Axes, paths: PathTable, values: NDArray[np.float64], quantity: str) -> None:
    resolutions = "fft_size" in paths.columns
    names = [str(name) for name in paths.column("fft_size" if resolutions else "key")]
    axes.bar(range(len(values)), values, color="tab:purple")
    axes.set_xticks(range(len(values)), names)
    axes.set_xlabel("FFT size (samples)" if resolutions else "path")
    axes.set_ylabel(quantity)


def _draw_plane(
    axes: Axes,
    x: Sequence[float] | NDArray[np.float64],
    y: Sequence[float] | NDArray[np.float64],
    values: NDArray[np.float64],
    quantity: str = "distance",
) -> NDArray[np.float64]:
    """Colour a grid, x on a log axis, y evenly spaced whatever its values; returns those values."""
    columns, column = np.unique(np.asarray(x, dtype=np.float64), return_inverse=True)
    rows, row = np.unique(np.asarray(y, dtype=np.float64), return_inverse=True)
    grid = np.full((len(rows), len(columns)), np.nan)  # pairs that no path covers stay blank
    grid[row, column] = values
    mesh = axes.pcolormesh(
        _edges(columns), np.arange(len(rows) + 1) - 0.5, grid, cmap=_COLORS, vmin=0.0
    )
    axes.set_xscale("log")
    colors = axes.inset_axes((1.02, 0.0, 0.025, 1.0))  # leaves the width of the axes alone
    axes.figure.colorbar(mesh, cax=colors, label=f"{quantity} of the path")
    return rows


def _edges(centers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Borders of the cells around increasing positive centres, halfway on a log axis."""
    logs = np.log(centers)
    middles = (logs[1:] + logs[:-1]) / 2
    first = 2 * logs[0] - middles[0] if len(middles) else logs[0] - 0.5
    last = 2 * logs[-1] - middles[-1] if len(middles) else logs[-1] + 0.5
    edges: NDArray[np.float64] = np.exp(np.concatenate([[first], middles, [last]]))
    return edges
