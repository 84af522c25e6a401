"""theta-importance: draw the paths that say most about a synthesizer's parameters."""

from .result import ThetaImportance, load_probabilities
from .theta import theta_importance

__all__ = ["ThetaImportance", "load_probabilities", "theta_importance"]
