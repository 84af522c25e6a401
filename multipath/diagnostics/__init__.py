"""Diagnostics: how noisy the gradient of each sampler is, on your own data."""

from .variance import EstimatorRow, VarianceReport, estimate_variance

__all__ = ["EstimatorRow", "VarianceReport", "estimate_variance"]
