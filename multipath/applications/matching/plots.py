"""Plots of sound matching runs, as matplotlib figures; nothing global is touched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from multipath._internal.axes import FAINT, INK, plain, tidy

if TYPE_CHECKING:
    from .cqt import LogCQT

MIDDLE = 250.0
"""Per mille error of always answering the middle of a uniform parameter range."""


def plot_convergence(
    rows: Sequence[Mapping[str, float]],
    label: str,
    untrained: float | None = None,
    column: str = "theta",
) -> Figure:
    """Validation error over steps.

    Args:
        rows: Those of ``metrics.csv``, with ``step`` and ``column``.
        label: Name of the curve.
        untrained: Error at step 0, for rows that begin later.
        column: Which error.
    """
    figure, axes = _curve("error (per mille)" if column == "theta" else plain(column))
    points = [(row["step"], row[column]) for row in rows]
    if untrained is not None and points[:1] and points[0][0] > 0:
        points.insert(0, (0.0, untrained))
    axes.plot(*zip(*points, strict=True), label=plain(label), linewidth=1.6, alpha=0.85)
    if column == "theta":
        axes.axhline(MIDDLE, color=FAINT, linewidth=1, linestyle=":", label="always the middle")
    axes.set_ylim(bottom=0)
    axes.set_title("validation error", fontsize=10, color=INK)
    axes.legend(frameon=False)
    return figure


def plot_loss(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Training loss over steps: that of the first step, then means between two validations.

    Args:
        rows: Those of ``metrics.csv``, with ``step`` and ``loss``.
    """
    figure, axes = _curve("loss")
    points = [(row["step"], row["loss"]) for row in rows]
    axes.plot(*zip(*points, strict=True), color="tab:purple", linewidth=1.6, alpha=0.85)
    axes.set_ylim(bottom=min(0.0, *(loss for _, loss in points)))
    axes.set_title("training loss", fontsize=10, color=INK)
    return figure


def _curve(quantity: str) -> tuple[Figure, Axes]:
    """Axes for what falls over the steps."""
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    tidy(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel(quantity)
    return figure, axes


def plot_estimates(
    theta: Tensor, estimate: Tensor, names: Sequence[str], units: Sequence[str]
) -> Figure:
    """Estimated against true parameters of the test set, one panel a parameter.

    Args:
        theta: True parameters in physical units, shape (n, U).
        estimate: Estimated parameters, same shape.
        names: Names of the parameters.
        units: Their units.
    """
    count = len(names)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.2 * columns, 3.2 * rows), layout="constrained")
    for column, (name, unit) in enumerate(zip(names, units, strict=True)):
        axes = figure.add_subplot(rows, columns, column + 1)
        true, found = theta[:, column].tolist(), estimate[:, column].tolist()
        low, high = min(true), max(true)
        axes.plot([low, high], [low, high], color=FAINT, linewidth=1)
        axes.scatter(true, found, s=9, alpha=0.6, linewidths=0)
        axes.set_xlabel(plain(f"true {name} ({unit})"))
        axes.set_ylabel(plain(f"estimated {name} ({unit})"))
        axes.set_aspect("equal", adjustable="datalim")
        tidy(axes)
    return figure


def plot_pairs(
    targets: Tensor,
    reconstructions: Tensor,
    names: Sequence[str] = (),
    features: LogCQT | None = None,
) -> Figure:
    """Constant-Q features of targets (above) and what the encoder makes of them (below).

    Args:
        targets: Features, shape (n, bins, frames).
        reconstructions: The same.
        names: Titles of the columns.
        features: What they are, for axes in seconds and Hz.
    """
    count = len(targets)
    figure = Figure(figsize=(2.6 * count, 4.2), layout="constrained")
    top = float(torch.maximum(targets.max(), reconstructions.max()))
    _, bins, frames = targets.shape
    seconds, octaves = float(frames), float(bins)
    if features is not None:
        seconds, octaves = frames * features.seconds_per_frame, bins / features.bins_per_octave
    panels = figure.subplots(2, count, squeeze=False, sharex=True, sharey=True)
    for title, row, planes in zip(
        ("target", "reconstruction"), panels, (targets, reconstructions), strict=True
    ):
        for axes, plane in zip(row, planes, strict=True):
            axes.imshow(
                plane.numpy(),
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=0.0,
                vmax=top,
                extent=(0.0, seconds, 0.0, octaves),
            )
            axes.tick_params(colors=INK, labelsize=8)
        row[0].set_ylabel(title if features is None else f"{title}\nfrequency (Hz)", color=INK)
    for axes, name in zip(panels[0], names, strict=False):
        axes.set_title(plain(name, 28), fontsize=9, color=INK)
    for axes in panels[1]:
        axes.set_xlabel("frame" if features is None else "time (s)", color=INK)
    if features is not None:
        ticks = range(0, math.floor(octaves) + 1)
        panels[0, 0].set_yticks(ticks, [f"{features.lowest * 2.0**octave:.3g}" for octave in ticks])
    return figure
