"""Plots of where a distance comes from, also in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from multipath import PathTable
from multipath.applications.runs.files import write_figure
from multipath.diagnostics import plot_path_values
from multipath.errors import InputError


def write_path_values(
    paths: PathTable, values: Sequence[float], quantity: str, title: str, file: str | Path | None
) -> Figure:
    """Plot a number for each path, and write the plot whole or not at all.

    Args:
        paths: The paths.
        values: One number per path.
        quantity: What the numbers are, for the labels.
        title: The title of the plot.
        file: File to write, if any; its suffix names the format (PNG, PDF, SVG, ...).

    Raises:
        InputError: If there is no such folder or format.
        OSError: If the file cannot be written.
    """
    if file is not None:
        check_plot_file(file)
    figure = plot_path_values(paths, values, quantity, title)
    if file is not None:
        write_figure(Path(file), figure, dpi=150)
    return figure


def check_plot_file(file: str | Path) -> None:
    """Refuse a plot that cannot be written, before the work that it would show.

    Raises:
        InputError: If its folder does not exist or its suffix is not a format of matplotlib.
    """
    file = Path(file)
    if not file.parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent}; make it first")
    check_plot_format(file)


def check_plot_format(file: Path) -> None:
    """Refuse a plot whose suffix is not a format of matplotlib.

    Raises:
        InputError: If it is not.
    """
    formats = FigureCanvasAgg.get_supported_filetypes()
    if file.suffix.lstrip(".").lower() not in formats:
        raise InputError(
            f"{file}: expected a plot with one of the suffixes {', '.join(sorted(formats))}, got "
            f"{file.suffix or 'none'}"
        )
