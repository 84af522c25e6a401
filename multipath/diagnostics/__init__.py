"""Diagnostics: what a loss can teach, how noisy each sampler's gradient is, plots of paths."""

from .landscape import LossLandscape, Valley, loss_landscape
from .path_values import plot_path_values
from .variance import EstimatorRow, VarianceReport, estimate_variance

__all__ = [
    "EstimatorRow",
    "LossLandscape",
    "Valley",
    "VarianceReport",
    "estimate_variance",
    "loss_landscape",
    "plot_path_values",
]
