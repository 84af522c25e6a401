"""Plot of metrics: ellipses over pairs of parameters, eigenvalues, traces of the paths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from os import PathLike

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import Normalize

from multipath._internal.axes import FAINT, INK, plain, tidy
from multipath.paths import PathTable

from .figure import Figure
from .path_plane import draw_bars, draw_plane, path_plane

MOST = 200
"""A panel shows at most this many ellipses."""
RADIUS = 0.06
"""The radius to which the median ellipse is scaled, the geometric mean of its two semi-axes;
parameters range from 0 to 1."""
LONGEST = 4.0
"""Longest semi-axis that is drawn: along an inaudible direction it would be infinite."""
COLUMNS = 4


def plot_metric(
    paths: PathTable,
    parameters: Sequence[str],
    theta: np.ndarray,
    metric: np.ndarray,
    traces: np.ndarray,
    file: str | PathLike[str] | None,
    title: str,
) -> Figure:
    """Plot the metrics of some examples.

    Args:
        paths: The paths.
        parameters: Names of the U parameters.
        theta: Where the metrics are those, shape (n, U).
        metric: The metrics, shape (n, U, U).
        traces: What each path adds, shape (P,).
        file: Where to save the plot, if anywhere.
        title: Text above the plot.
    """
    pairs = list(combinations(range(len(parameters)), 2))
    count = len(pairs) + 2
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.4 * columns, 3.2 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    level = _level([metric[:, list(pair)][:, :, list(pair)] for pair in pairs])
    for axes, pair in zip(panels, pairs, strict=False):
        tidy(axes)
        chosen = list(pair)
        draw_ellipses(axes, theta[:MOST, chosen], metric[:MOST][:, chosen][:, :, chosen], level)
        axes.set_xlabel(plain(parameters[pair[0]]))
        axes.set_ylabel(plain(parameters[pair[1]]))
    _draw_eigenvalues(panels[len(pairs)], metric)
    _draw_traces(figure, panels[len(pairs) + 1], paths, traces)
    for axes in panels[count:]:
        axes.set_axis_off()
    if title:
        figure.suptitle(plain(title), fontsize=10, color=INK)
    if file is not None:
        figure.savefig(file, dpi=150)
    return figure


def draw_ellipses(axes: Axes, centres: np.ndarray, metrics: np.ndarray, level: float) -> None:
    r"""Draw the ellipses :math:`e^\top M e = level` around some points of the plane.

    Args:
        axes: The axes to draw into.
        centres: Shape (n, 2).
        metrics: Shape (n, 2, 2).
        level: Squared distance of the ellipses.
    """
    values, vectors = np.linalg.eigh(metrics)
    tiny = np.finfo(np.float64).tiny
    semi = np.minimum(LONGEST, np.sqrt(level / np.maximum(values, tiny)))
    angles = np.degrees(np.arctan2(vectors[:, 1, 0], vectors[:, 0, 0]))
    axes.add_collection(
        EllipseCollection(
            2 * semi[:, 0],
            2 * semi[:, 1],
            angles,
            units="xy",
            offsets=centres,
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors="tab:purple",
            linewidths=0.9,
        )
    )
    axes.plot(*centres.T, ".", color=INK, markersize=2)
    low, high = centres.min(axis=0), centres.max(axis=0)
    room = 0.1 * np.maximum(high - low, 0.5)
    axes.set_xlim(low[0] - room[0], high[0] + room[0])
    axes.set_ylim(low[1] - room[1], high[1] + room[1])


def _level(metrics: Sequence[np.ndarray]) -> float:
    """The squared distance at which the median ellipse of all panels has the radius wanted."""
    if not metrics:
        return 1.0
    roots = np.sqrt(np.maximum(np.linalg.det(np.concatenate(metrics)), 0.0))
    audible = roots[roots > 0]
    if not len(audible):
        traces = np.trace(np.concatenate(metrics), axis1=1, axis2=2)
        audible = traces[traces > 0] if (traces > 0).any() else np.ones(1)
    return RADIUS**2 * float(np.median(audible))


def _draw_eigenvalues(axes: Axes, metric: np.ndarray) -> None:
    """Draw the eigenvalues of each example, and of the mean, over their number."""
    tidy(axes)
    place = np.arange(metric.shape[1]) + 1
    each, mean = np.linalg.eigvalsh(metric), np.linalg.eigvalsh(metric.mean(axis=0))
    least = max(float(each.max()), np.finfo(np.float64).tiny) * 1e-9
    for values in each[:MOST]:
        axes.plot(place, np.maximum(values, least), ".", color=FAINT, markersize=4)
    axes.plot(place, np.maximum(mean, least), "o-", color="tab:purple", label="mean metric")
    axes.set_yscale("log")
    axes.set_xticks(place)
    axes.set_xlabel("number, in ascending order")
    axes.set_ylabel("eigenvalue")
    axes.legend(frameon=False, fontsize=8)


def _draw_traces(figure: Figure, axes: Axes, paths: PathTable, traces: np.ndarray) -> None:
    quantity = "share of the trace"
    shares = traces / (traces.sum() or 1.0)
    plane = path_plane(paths, shares)
    if plane is None:
        draw_bars(axes, paths, shares, quantity)
        return
    mesh = draw_plane(axes, *plane, Normalize(0.0, np.nanmax(plane[0]) or 1.0))
    figure.colorbar(mesh, ax=axes, label=quantity)
