"""Train with a loss that is a mean over many paths for the price of a few of them."""

from importlib import import_module
from typing import TYPE_CHECKING

from . import errors
from .draws import Draw
from .losses import (
    BalancedLoss,
    FeatureLayers,
    GroupedLoss,
    Log1p,
    PathDecomposedLoss,
    SlicedWasserstein,
    SpectralLoss,
    StatisticsLoss,
    SubsetLoss,
    TargetCache,
    TermLoss,
    TransformLoss,
)
from .paths import Path, PathTable
from .stochastic import StochasticLoss

if TYPE_CHECKING:
    from . import (
        compat,
        diagnostics,
        importance,
        losses,
        metric,
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
    "SpectralLoss",
    "StatisticsLoss",
    "StochasticLoss",
    "SubsetLoss",
    "TargetCache",
    "TermLoss",
    "TransformLoss",
    "compat",
    "diagnostics",
    "errors",
    "importance",
    "losses",
    "metric",
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
