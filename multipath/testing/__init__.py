"""Tests to inherit for a loss, a sampler or an optimizer of your own, and a small loss to try out.

The classes are plain, without pytest or fixtures. pytest runs any subclass whose name begins with
``Test``; so does ``unittest``, if the subclass also inherits :class:`unittest.TestCase`.
"""

from .losses import LossTests
from .optimizers import OptimizerTests
from .quadratic import QuadraticLoss
from .samplers import SamplerTests

__all__ = ["LossTests", "OptimizerTests", "QuadraticLoss", "SamplerTests"]
