"""Samplers: which paths the next step evaluates."""

from .base import Sampler
from .categorical import Categorical
from .energy import Energy
from .importance import Importance
from .uniform import Uniform

__all__ = ["Categorical", "Energy", "Importance", "Sampler", "Uniform"]
