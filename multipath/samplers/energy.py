"""Probabilities from how loud each path is in the targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..errors import ConfigurationError, InputError
from ..losses import PathDecomposedLoss
from .importance import Importance


class Energy(Importance):
    r"""Draws loud paths more often: :math:`\pi_p = (1 - f)\, e_p / \sum_q e_q + f / P`.

    :math:`e_p` is the norm of the target's coefficients on path p, averaged over some batches,
    times the weight :math:`w_p` of the path in the loss: no gradient and no label is needed. Paths
    that are silent in the targets cost a full step each and teach nothing; the uniform floor f
    keeps them possible, so reweighted estimates stay unbiased.

    Args:
        energies: :math:`e_p \ge 0`, shape (P,), not all zero.
        floor: f in [0, 1], the share of the probability spread evenly.

    Raises:
        ConfigurationError: If the floor or the energies are out of range.

    Example:
        >>> Energy([3.0, 1.0], floor=0.2).probabilities
        tensor([0.7000, 0.3000], dtype=torch.float64)
    """

    def __init__(self, energies: Sequence[float] | Tensor, floor: float = 0.1) -> None:
        if not 0.0 <= floor <= 1.0:
            raise ConfigurationError(f"floor must lie in [0, 1], got {floor}")
        values = torch.as_tensor(energies, dtype=torch.float64).detach().cpu()
        if values.ndim != 1 or not bool(torch.isfinite(values).all() and (values >= 0).all()):
            raise ConfigurationError("energies must be a vector of finite, non-negative numbers")
        if not float(values.sum()) > 0:
            raise ConfigurationError(
                "every path is silent: the targets hold no energy on any path; check that they "
                "are not all zero"
            )
        super().__init__((1 - floor) * values / values.sum() + floor / len(values))

    @classmethod
    def from_targets(
        cls, loss: PathDecomposedLoss, batches: Iterable[Tensor], floor: float = 0.1
    ) -> Energy:
        """Measure the energies on batches of targets.

        Args:
            loss: The loss that will be sampled; its ``target_norms`` is what is averaged.
            batches: Target tensors, batch first. A few dozen examples are enough.
            floor: See the class.

        Raises:
            InputError: If there is no batch, or one that is not a tensor of finite numbers.

        Example:
            >>> from multipath.testing import QuadraticLoss
            >>> loss = QuadraticLoss(2)
            >>> Energy.from_targets(loss, [torch.tensor([[0.0, 2.0]])]).probabilities.shape
            torch.Size([2])
        """
        total = torch.zeros(len(loss.paths), dtype=torch.float64)
        count = 0
        for batch in batches:
            if not isinstance(batch, Tensor):
                raise InputError(
                    f"batches must be tensors of targets, got {type(batch).__name__}; for pairs "
                    "pass (target for _, target in loader)"
                )
            norms = loss.target_norms(batch, range(len(loss.paths)))
            total += norms.double().sum(dim=1).cpu()
            count += norms.shape[1]
        if not count:
            raise InputError("no batch of targets came; pass at least one")
        if not bool(torch.isfinite(total).all()):
            raise InputError("the targets hold NaN or infinite values; check the data")
        return cls(loss.path_weights * total / count, floor)
