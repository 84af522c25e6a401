"""Probabilities from how loud each path is in the targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from multipath._internal.settings import vector
from multipath.errors import ConfigurationError
from multipath.losses import PathDecomposedLoss
from multipath.losses._targets import average_over_targets
from multipath.paths import PathTable

from ._learned import LARGEST, LearnedSampler


class Energy(LearnedSampler):
    r"""Draws loud paths more often.

    .. math:: \pi_p = (1 - f)\, e_p^\gamma / \sum_q e_q^\gamma + f / P

    :math:`e_p` is the norm of the target's coefficients on path p, averaged over some batches,
    times the weight :math:`w_p` of the path in the loss: no gradient and no label is needed. Paths
    that are silent in the targets cost a full step each and teach little; the uniform floor f
    keeps them possible, so reweighted estimates stay unbiased, with weights of at most
    :math:`1 / f` times those of uniform draws.

    **Silent targets, loud inputs.** What the input has where the target is silent must not be
    drawn by that floor alone: rarely, and with its largest weight.
    :class:`~multipath.TransformLoss` therefore counts a silent path as if it held white noise,
    10 dB below the target, and a relative one as what an unrelated sound would lose there
    (:meth:`~multipath.TransformLoss.target_norms`). Other losses know of the target only; where
    their inputs are loud on silent paths, take a larger floor, or
    :class:`~multipath.samplers.AdaptiveImportance`, which learns from what the input does.

    The energies are given, measured beforehand (:meth:`from_targets`), or, without any, learned
    from the targets that training shows: a moving average for each path, where paths not yet seen
    count as the mean of those seen, so that it starts uniform. Where targets are not of the kind of
    the input (no tensor, or of another shape), it learns from the losses, and the log says so.

    Args:
        energies: :math:`e_p \ge 0`, shape (P,), not all zero. None: a running estimate.
        floor: f in [0, 1], the share of the probability spread evenly.
        threshold: In [0, 1). Paths whose energy is below this fraction of the largest (with that
            noise, where there is any) are never drawn and get no share of the floor. That is a
            declared bias: ``unbiased`` is then False (of a running estimate from the start), and
            the estimate that of the loss without these paths.
        power: :math:`\gamma`, from 0 to 4: 0 draws uniformly, 1 in proportion.
        replacement: Independent draws, or k distinct paths, see :class:`Categorical`.
        decay: Of the running estimate, in [0, 1).
        every: The running estimate looks at every m-th draw only.

    Raises:
        ConfigurationError: If an argument or the energies are out of range.

    Example:
        >>> Energy([3.0, 1.0], floor=0.2).probabilities
        tensor([0.7000, 0.3000], dtype=torch.float64)
        >>> Energy([3.0, 1.0, 0.01], threshold=0.02).unbiased
        False
    """

    def __init__(
        self,
        energies: Sequence[float] | Tensor | None = None,
        floor: float = 0.1,
        threshold: float = 0.0,
        power: float = 1.0,
        replacement: bool = True,
        *,
        decay: float = 0.99,
        every: int = 1,
    ) -> None:
        super().__init__(
            floor=floor,
            power=power,
            threshold=threshold,
            decay=decay,
            every=every,
            replacement=replacement,
        )
        if energies is None:
            self.observes = "target_norms"
            return
        values = vector("energies", energies)
        if values.ndim != 1 or not bool(((values >= 0) & (values <= LARGEST)).all()):
            raise ConfigurationError(f"energies must be a vector of numbers in [0, {LARGEST:g}]")
        if not float(values.sum()) > 0:
            raise ConfigurationError(
                "every path is silent: the targets hold no energy on any path; check that they "
                "are not all zero"
            )
        self._estimates, self._factors = values, torch.ones_like(values)
        self._build()

    @classmethod
    def running(cls, decay: float = 0.99, **options: Any) -> Energy:
        """Start uniform and learn from the targets that training shows.

        Args:
            decay: Of each path's moving average, in [0, 1).
            **options: ``floor``, ``threshold``, ``power``, ``replacement`` and ``every``.

        Example:
            >>> from multipath import StochasticLoss
            >>> from multipath.testing import QuadraticLoss
            >>> criterion = StochasticLoss(QuadraticLoss(2), Energy.running(floor=0.0), generator=0)
            >>> x, y = torch.ones(1, 1, requires_grad=True), torch.tensor([[1.0]])
            >>> for step in range(20):
            ...     criterion(x, y).backward()
            >>> criterion.sampler.probabilities  # as 1 to sqrt(2) * 1.5
            tensor([0.3204, 0.6796], dtype=torch.float64)
        """
        return cls(decay=decay, **options)

    @classmethod
    def from_targets(
        cls,
        loss: PathDecomposedLoss,
        batches: Iterable[Tensor] | Tensor,
        floor: float = 0.1,
        threshold: float = 0.0,
        power: float = 1.0,
        replacement: bool = True,
    ) -> Energy:
        r"""Measure the energies on batches of targets.

        Args:
            loss: The loss that will be sampled; its ``target_norms`` is what is averaged.
            batches: Target tensors, batch first; one tensor is one batch. A few dozen examples are
                enough.
            floor: f in [0, 1], the share of the probability spread evenly.
            threshold: Paths below this fraction of the largest energy are never drawn.
            power: :math:`\gamma`, as in the class.
            replacement: Independent draws, or k distinct paths.

        Raises:
            InputError: If there is no batch, or one that is not a tensor of finite numbers.

        Example:
            >>> from multipath.testing import QuadraticLoss
            >>> loss = QuadraticLoss(2)
            >>> Energy.from_targets(loss, [torch.tensor([[0.0, 2.0]])]).probabilities.shape
            torch.Size([2])
        """
        norms = average_over_targets(
            batches, lambda batch: loss.target_norms(batch, range(len(loss.paths)))
        )
        return cls(loss.path_weights * norms, floor, threshold, power, replacement)

    def factors(self, paths: PathTable, weights: Tensor) -> Tensor:
        """The weights in the loss; given energies contain them already."""
        return weights if self.observes else torch.ones_like(weights)

    def bind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """Fit the sampler to a loss that has as many paths as there are energies."""
        if not self.observes and len(self._estimates) != len(paths):
            raise ConfigurationError(
                f"got {len(self._estimates)} energies for a loss with {len(paths)} paths"
            )
        super().bind(paths, weights)
