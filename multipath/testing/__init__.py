"""Tests that a loss, a sampler or an optimizer of your own inherits, and a small loss to try on.

The classes are plain: no pytest, no fixtures. pytest runs any subclass whose name begins with
``Test``; so does ``unittest``, if the subclass inherits :class:`unittest.TestCase` too.
"""

from .losses import LossTests
from .optimizers import OptimizerTests
from .quadratic import QuadraticLoss
from .samplers import SamplerTests

__all__ = ["LossTests", "OptimizerTests", "QuadraticLoss", "SamplerTests"]
