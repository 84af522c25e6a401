"""What a sampler hands to an estimator: which paths, and how much each counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Draw:
    r"""The paths of one step: :math:`\hat L = \sum_i \text{weights}_i L_{\text{indices}_i}`.

    Attributes:
        indices: Paths drawn, int64 of shape (k,); a path drawn twice appears twice.
        weights: Weight of each in the estimate, float64 of shape (k,): :math:`w_p / (k \pi_p)`
            when reweighted, else :math:`P w_p / k`.
        probabilities: :math:`\pi_p` of each: its expected number of appearances divided by k,
            float64 of shape (k,).

    Example:
        >>> from multipath import StochasticLoss
        >>> from multipath.testing import QuadraticLoss
        >>> criterion = StochasticLoss(QuadraticLoss(4), n_draws=2, generator=0)
        >>> value = criterion(torch.zeros(1, 4), torch.ones(1, 4))
        >>> criterion.last_draw.weights
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    indices: Tensor
    weights: Tensor
    probabilities: Tensor

    def merged(self) -> tuple[Tensor, Tensor]:
        """Distinct indices and the summed weight of each, so that none is evaluated twice."""
        distinct, inverse = self.indices.unique(return_inverse=True)
        total = torch.zeros(len(distinct), dtype=self.weights.dtype)
        return distinct, total.index_add(0, inverse, self.weights)

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Draw:
        """The inverse of :meth:`state_dict`; draws live on the CPU wherever they were loaded."""
        return cls(**{name: value.cpu() for name, value in state.items()})

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors to save."""
        return {
            "indices": self.indices.clone(),
            "weights": self.weights.clone(),
            "probabilities": self.probabilities.clone(),
        }
