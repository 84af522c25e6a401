"""P-SAGA: variance reduction by a memory of every path's last update."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from multipath.stochastic import StochasticLoss

from .base import PathwiseOptimizer
from .padam import MOMENTS, TINY, PAdam, advance
from .visit import Visit


class PSAGA(PathwiseOptimizer):
    r"""SAGA across paths, on top of P-Adam (Algorithm 1) or of plain gradients.

    At each step, with path p drawn, :math:`g_\text{cur}` its P-Adam direction (see
    :class:`PAdam`), :math:`\hat g_q` the direction at the last visit of path q, and
    :math:`\Gamma` the paths visited *before* this step,

    .. math::
        g_\text{avg} &= \frac{1}{\max(1, |\Gamma|)} \sum_{q \in \Gamma} \hat g_q \\
        w &\leftarrow (1 - \eta \lambda) w
            - \eta\, \big(c_p\,(g_\text{cur} - \alpha\, \hat g_p)
            + \alpha\, g_\text{avg}\big) \\
        \hat g_p &\leftarrow g_\text{cur}, \qquad \Gamma \leftarrow \Gamma \cup \{p\}

    with :math:`c_p` the weight of the draw: 1 as published (:math:`P w_p` in general),
    :math:`w_p / \pi_p` when the criterion reweights. For a loss with weights :math:`w_q` of its
    own, :math:`g_\text{avg}` is the weighted mean over :math:`\Gamma`, times :math:`\sum_q w_q`.

    **Damping.** The memory is a control variate: what is subtracted for the path drawn is added
    back on average. Once every path was visited, and with weights that make draws unbiased, the
    expected update is :math:`\sum_q w_q g_q` for any :math:`\alpha`; its variance changes.
    :math:`\alpha = 1` is the paper's rule and best where memories are fresh; old ones mislead, and
    a smaller value trusts them less. :math:`\alpha = 0` is P-Adam.

    The sum is kept running, in twice the precision of the weights, so a step costs :math:`O(|w|)`
    whatever P is, and the sum stays that of the memories however often it changes and however far
    they fall. With ``adaptive=True`` two
    numbers are kept per weight and visited path, the memory :math:`\hat g_p` and the root of
    :math:`v_p`, from which :math:`m_p` is recomputed; without, the memory alone.

    Args:
        params: Parameters or parameter groups.
        criterion: The :class:`~multipath.StochasticLoss` that draws, ``n_draws=1``.
        lr: Learning rate :math:`\eta`.
        betas: As in :class:`PAdam`.
        eps: As in :class:`PAdam`.
        weight_decay: :math:`\lambda`, decoupled.
        alpha: :math:`\alpha` in [0, 1], how much of the memory is subtracted.
        adaptive: True for P-SAGA on P-Adam as published, False for SAGA on plain gradients
            (Defazio et al., NeurIPS 2014), where betas and eps play no part.
        clock: As in :class:`PAdam`.
        state_dtype: As in :class:`PAdam`.
        maximize: Ascend instead of descend.

    Raises:
        ConfigurationError: If a hyperparameter is out of range, ``criterion`` is not a
            StochasticLoss, or it makes several draws per step.

    Example:
        >>> from multipath import StochasticLoss
        >>> from multipath.testing import QuadraticLoss
        >>> loss = QuadraticLoss(3)
        >>> criterion = StochasticLoss(loss, generator=0)
        >>> x = torch.nn.Parameter(torch.ones(1, 1))
        >>> optimizer = PSAGA([x], criterion, lr=0.05, adaptive=False)
        >>> for _ in range(200):
        ...     optimizer.zero_grad()
        ...     criterion(x, torch.zeros(1, 1)).backward()
        ...     optimizer.step()
        >>> round(x.item(), 4)  # the minimum of the mean, reached with a constant step size
        0.4444

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), Algorithm 1. The reference implementation
    divides the sum by :math:`|\Gamma| - 1` on revisits; this follows the paper.
    """

    never_negative: ClassVar[frozenset[str]] = PAdam.never_negative | {"visited"}

    def __init__(
        self,
        params: Iterable[Any],
        criterion: StochasticLoss,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = TINY,
        weight_decay: float = 0.0,
        *,
        alpha: float = 1.0,
        adaptive: bool = True,
        clock: Literal["paths", "visits"] = "paths",
        state_dtype: torch.dtype | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "alpha": alpha,
            "adaptive": adaptive,
            "clock": clock,
            "state_dtype": state_dtype,
            "maximize": maximize,
        }
        super().__init__(params, criterion, defaults)
        self._weights: Tensor | None = None
        self._total = 1.0

    def path_state(self, group: dict[str, Any]) -> dict[str, float | None]:
        """The moments of each parameter and path or, without adaptation, its last gradient."""
        return dict(MOMENTS) if group["adaptive"] else {"gradient": None}

    def parameter_state(self) -> dict[str, float | None]:
        """The running sum of the memories, what rounding took from it, and its total weight."""
        return {"sum": None, "compensation": None, "visited": 0.0}

    def update(self, visit: Visit) -> list[Tensor]:
        """The difference from the memory of the path, plus the mean of all memories."""
        memory, current = self._visit(visit)
        alpha, (share, total) = visit.group["alpha"], self._share(visit.path)
        sums, visited = visit.own("sum"), visit.states[0]["visited"]

        # c_p (g_cur - alpha ghat_p) + alpha g_avg; on a first visit the memory is zero
        update = visit.copy("update", current)
        if memory is not None:
            torch._foreach_add_(update, memory, alpha=-alpha)
        if visit.weight != 1.0:
            torch._foreach_mul_(update, visit.weight)
        if visited:
            torch._foreach_add_(update, sums, alpha=alpha * total / visited)

        # sum <- sum + P w_p g_cur - P w_p ghat_p: what was added once is subtracted to the last bit
        rests = visit.own("compensation")
        for terms, factor in ((current, share), (memory, -share)):
            if terms is not None:
                if factor != 1.0:
                    torch._foreach_mul_(terms, factor)
                add_exactly(sums, rests, terms, visit.scratch)
        settle(sums, rests, current)
        if memory is None:
            for state in visit.states:
                state["visited"] += share
        return update

    def _share(self, path: int) -> tuple[float, float]:
        """P w_p, which is 1 unless the loss weights its paths, and the sum of all w_q, usually 1.

        Asked of the loss anew, which may have restored its weights since; the sum costs O(P), once.
        """
        weights = self.criterion.loss.path_weights
        if weights is not self._weights:
            self._weights, self._total = weights, float(weights.sum())
        return float(weights[path]) * self.criterion.n_active, self._total

    def _visit(self, visit: Visit) -> tuple[list[Tensor] | None, list[Tensor]]:
        """The directions at the last visit of the path, if any, and now; both in scratch memory."""
        name = "direction" if visit.group["adaptive"] else "gradient"
        memory = None if visit.first else visit.copy("memory", visit.read(name))
        if visit.group["adaptive"]:
            if memory is not None:
                torch._foreach_mul_(memory, visit.entries[0]["scale"])
            current = visit.copy("current", advance(visit))
            torch._foreach_mul_(current, visit.entries[0]["scale"])
            return memory, current
        kept = visit.read(name)
        torch._foreach_copy_(kept, visit.gradients)
        visit.write(name, kept)
        return memory, visit.copy("current", kept)


def add_exactly(
    sums: list[Tensor],
    rests: list[Tensor],
    terms: list[Tensor],
    scratch: Callable[[str, torch.dtype], list[Tensor]],
) -> None:
    """Add terms to running sums, and what rounding takes from them to the rests (Knuth's TwoSum).

    Args:
        sums: What is added to.
        rests: What the sums still lack.
        terms: What is added; overwritten.
        scratch: From a name and a dtype to memory.
    """
    before, arrived = (scratch(name, sums[0].dtype) for name in ("before", "arrived"))
    torch._foreach_copy_(before, sums)
    torch._foreach_add_(sums, terms)
    torch._foreach_copy_(arrived, sums)
    torch._foreach_sub_(arrived, before)  # of the terms
    torch._foreach_sub_(terms, arrived)
    torch._foreach_add_(rests, terms)
    torch._foreach_sub_(arrived, sums)  # now of the sums before, negative
    torch._foreach_add_(before, arrived)
    torch._foreach_add_(rests, before)


def settle(sums: list[Tensor], rests: list[Tensor], scratch: list[Tensor]) -> None:
    """Move of the rests what the sums can take, so that rests stay small and exact."""
    torch._foreach_copy_(scratch, sums)
    torch._foreach_add_(sums, rests)
    torch._foreach_sub_(scratch, sums)
    torch._foreach_add_(rests, scratch)
