"""Train with a loss that is a mean over many paths for the price of a few of them."""

from importlib import import_module
from typing import TYPE_CHECKING

from . import errors

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
    from .draws import Draw
    from .losses import (
        BalancedLoss,
        CombinedLoss,
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

__version__ = "0.2.0"

__all__ = [
    "BalancedLoss",
    "CombinedLoss",
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

# Modules are imported when something of theirs is first asked for: torch is slow to import, and
# `multipath --help` needs none of it.
_WHERE = {
    "BalancedLoss": "losses",
    "CombinedLoss": "losses",
    "Draw": "draws",
    "FeatureLayers": "losses",
    "GroupedLoss": "losses",
    "Log1p": "losses",
    "Path": "paths",
    "PathDecomposedLoss": "losses",
    "PathTable": "paths",
    "SlicedWasserstein": "losses",
    "SpectralLoss": "losses",
    "StatisticsLoss": "losses",
    "StochasticLoss": "stochastic",
    "SubsetLoss": "losses",
    "TargetCache": "losses",
    "TermLoss": "losses",
    "TransformLoss": "losses",
}

if not TYPE_CHECKING:  # or every misspelt name would pass as a module
    _PUBLIC = {*__all__, "draws", "integrations", "jets", "paths", "stochastic"}

    def __getattr__(name):
        """Import what is public when it is first asked for."""
        if name not in _PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{_WHERE.get(name, name)}")
        found = getattr(module, name) if name in _WHERE else module
        globals()[name] = found
        return found

    def __dir__():
        """What there is, imported or not."""
        return sorted({*globals(), *_PUBLIC})
