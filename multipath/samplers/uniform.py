"""Every path equally likely."""

import torch
from torch import Tensor

from ..errors import ConfigurationError
from ..paths import PathTable
from .categorical import Categorical


class Uniform(Categorical):
    r"""Draws every path with probability :math:`\pi_p = 1/P`, independently at each step.

    Unbiased (proposition 3.1 of SCRAPL, Mitcheltree et al., ICLR 2026).

    Example:
        >>> from multipath import StochasticLoss
        >>> from multipath.testing import QuadraticLoss
        >>> criterion = StochasticLoss(QuadraticLoss(4), sampler=Uniform(), generator=0)
        >>> criterion.sampler.probabilities
        tensor([0.2500, 0.2500, 0.2500, 0.2500], dtype=torch.float64)
    """

    _probabilities: Tensor | None = None

    @property
    def probabilities(self) -> Tensor:
        """1/P each."""
        if self._probabilities is None:
            raise ConfigurationError(
                "Uniform knows its paths only once it is part of a StochasticLoss"
            )
        return self._probabilities

    def bind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """See :meth:`Sampler.bind`."""
        super().bind(paths, weights)
        self._probabilities = torch.full((len(paths),), 1 / len(paths), dtype=torch.float64)
