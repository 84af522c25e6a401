"""Train with a loss that is a mean over many paths at the price of a few of them."""

from . import errors
from .balanced import BalancedLoss
from .draws import Draw
from .losses import GroupedLoss, PathDecomposedLoss
from .paths import Path, PathTable
from .stochastic import StochasticLoss
from .target_cache import TargetCache
from .transform_loss import Log1p, TransformLoss

__version__ = "0.1.0"

__all__ = [
    "BalancedLoss",
    "Draw",
    "GroupedLoss",
    "Log1p",
    "Path",
    "PathDecomposedLoss",
    "PathTable",
    "StochasticLoss",
    "TargetCache",
    "TransformLoss",
    "errors",
]
