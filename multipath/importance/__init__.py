"""theta-importance: draw the paths that say most about a synthesizer's parameters."""

from multipath._internal.journal import discard_journal

from .result import ThetaImportance, load_probabilities
from .theta import theta_importance

__all__ = ["ThetaImportance", "discard_journal", "load_probabilities", "theta_importance"]
