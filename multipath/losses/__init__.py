"""Losses that are a weighted mean over paths, and the base class of your own."""

from .balanced import BalancedLoss
from .base import GroupedLoss, PathDecomposedLoss, SubsetLoss
from .combined import CombinedLoss
from .feature_layers import FeatureLayers
from .sliced_wasserstein import SlicedWasserstein
from .spectral import SpectralLoss
from .statistics import StatisticsLoss
from .target_cache import TargetCache
from .terms import TermLoss
from .transform import Log1p, TransformLoss

__all__ = [
    "BalancedLoss",
    "CombinedLoss",
    "FeatureLayers",
    "GroupedLoss",
    "Log1p",
    "PathDecomposedLoss",
    "SlicedWasserstein",
    "SpectralLoss",
    "StatisticsLoss",
    "SubsetLoss",
    "TargetCache",
    "TermLoss",
    "TransformLoss",
]
