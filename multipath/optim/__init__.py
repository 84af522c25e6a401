"""Path-wise optimizers: ``torch.optim.Optimizer`` subclasses with state per path."""

from .base import PathwiseOptimizer
from .checkpoint import prepare_for_checkpoint
from .padam import PAdam
from .psaga import PSAGA
from .visit import Visit

__all__ = ["PSAGA", "PAdam", "PathwiseOptimizer", "Visit", "prepare_for_checkpoint"]
