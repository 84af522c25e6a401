"""Plots of sound matching runs, as matplotlib figures; nothing global is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from multipath._internal.axes import FAINT, INK, plain, tidy

MIDDLE = 250.0
"""Per mille error of always answering the middle of a uniform parameter range."""


def plot_convergence(
    rows: Sequence[Mapping[str, float]], label: str, untrained: float, column: str = "theta"
) -> Figure:
    """Validation error over steps.

    Args:
        rows: Those of ``metrics.csv``, with ``step`` and ``column``.
        label: Name of the curve.
        untrained: Error at step 0.
        column: Which error.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    tidy(axes)
    steps = [0.0, *(row["step"] for row in rows)]
    errors = [untrained, *(row[column] for row in rows)]
    axes.plot(steps, errors, label=plain(label), linewidth=1.6, alpha=0.85)
    if column == "theta":
        axes.axhline(MIDDLE, color=FAINT, linewidth=1, linestyle=":", label="always the middle")
    axes.set_xlabel("step")
    axes.set_ylabel("error (per mille)" if column == "theta" else plain(column))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


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
    columns = min(count, 7)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.6 * columns, 3.6 * rows), layout="constrained")
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


def plot_pairs(targets: Tensor, reconstructions: Tensor) -> Figure:
    """Constant-Q features of targets (above) and what the encoder makes of them (below).

    Args:
        targets: Features, shape (n, bins, frames).
        reconstructions: The same.
    """
    count = len(targets)
    figure = Figure(figsize=(2.6 * count, 3.6), layout="constrained")
    top = float(torch.maximum(targets.max(), reconstructions.max()))
    for row, (title, features) in enumerate(
        {"target": targets, "reconstruction": reconstructions}.items()
    ):
        for column, plane in enumerate(features):
            axes = figure.add_subplot(2, count, row * count + column + 1)
            axes.imshow(
                plane.numpy(), origin="lower", aspect="auto", cmap="magma", vmin=0.0, vmax=top
            )
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(title, color=INK)
            if row == 1:
                axes.set_xlabel("time", color=INK)
            if row == 0:
                axes.set_title(f"#{column}", fontsize=9, color=INK)
    return figure
