"""Samplers: which paths the next step evaluates."""

from .adaptive import AdaptiveImportance
from .base import Sampler
from .categorical import Categorical
from .energy import Energy
from .importance import Importance
from .mixture import Mixture
from .reshuffle import Reshuffle
from .stratified import Stratified
from .uniform import Uniform

__all__ = [
    "AdaptiveImportance",
    "Categorical",
    "Energy",
    "Importance",
    "Mixture",
    "Reshuffle",
    "Sampler",
    "Stratified",
    "Uniform",
]
