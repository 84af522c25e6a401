"""Train with a loss that is a mean over many paths at the price of a few of them."""

from importlib import import_module
from typing import TYPE_CHECKING

from . import errors
from .balanced import BalancedLoss
from .draws import Draw
from .feature_layers import FeatureLayers
from .losses import GroupedLoss, PathDecomposedLoss
from .paths import Path, PathTable
from .sliced_wasserstein import SlicedWasserstein
from .stochastic import StochasticLoss
from .target_cache import TargetCache
from .term_loss import TermLoss
from .transform_loss import Log1p, TransformLoss

if TYPE_CHECKING:
    from . import (
        compat,
        diagnostics,
        importance,
        optim,
        plugins,
        samplers,
        testing,
        transforms,
    )

__version__ = "0.1.0"

__all__ = [
    "BalancedLoss",
    "Draw",
    "FeatureLayers",
    "GroupedLoss",
    "Log1p",
    "Path",
    "PathDecomposedLoss",
    "PathTable",
    "SlicedWasserstein",
    "StochasticLoss",
    "TargetCache",
    "TermLoss",
    "TransformLoss",
    "compat",
    "diagnostics",
    "errors",
    "importance",
    "optim",
    "plugins",
    "samplers",
    "testing",
    "transforms",
]

if not TYPE_CHECKING:  # or every misspelt name would pass as a module

    def __getattr__(name):
        """Import a public submodule when it is first asked for."""
        if name in __all__:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
