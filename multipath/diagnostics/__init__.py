"""Diagnostics: how noisy the gradient of each sampler is, on your own data, and plots of paths."""

from .path_values import plot_path_values
from .variance import EstimatorRow, VarianceReport, estimate_variance

__all__ = ["EstimatorRow", "VarianceReport", "estimate_variance", "plot_path_values"]
