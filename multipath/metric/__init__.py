"""The metric of a synthesizer's parameters, and the PNP loss that it makes."""

from .damping import AdaptiveDamping
from .parameter import parameter_metric
from .pnp import PNPLoss
from .result import ParameterMetric

__all__ = ["AdaptiveDamping", "PNPLoss", "ParameterMetric", "parameter_metric"]
