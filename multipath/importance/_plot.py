"""Picture of probabilities: how much more often than uniformly each path is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

import torch
from matplotlib.figure import Figure
from torch import Tensor

if TYPE_CHECKING:
    from .result import ThetaImportance


def plot_probabilities(
    result: ThetaImportance,
    file: str | PathLike[str] | None,
    inside: Sequence[bool] | Tensor | None,
    title: str,
) -> Figure:
    """See :meth:`multipath.importance.ThetaImportance.plot`."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(torch.log2(len(result.paths) * result.probabilities()).numpy())
    if file is not None:
        figure.savefig(file, dpi=150)
    return figure
