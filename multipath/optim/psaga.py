"""P-SAGA: variance reduction by a memory of every path's last update."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from ..stochastic import StochasticLoss
from .base import PathwiseOptimizer
from .lists import local
from .padam import MOMENTS, TINY, advance, direction, read_moments
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
    expected update is :math:`\sum_q w_q g_q` for any :math:`\alpha`; its variance is another
    matter. :math:`\alpha = 1` is the paper's rule and best where memories are fresh; old ones
    mislead, and a smaller value trusts them less. :math:`\alpha = 0` is P-Adam.

    The sum is kept running, in float64, so a step costs :math:`O(|w|)` whatever P is, and adding
    to it for ever does not drift. The memory :math:`\hat g_p` is recomputed from the path's
    moments, so it takes no room: two numbers per weight and visited path with ``adaptive=True``,
    one without.

    Args:
        params: Parameters or parameter groups.
        paths: The :class:`~multipath.StochasticLoss` that draws, ``n_draws=1``.
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
        ConfigurationError: If a hyperparameter is out of range, ``paths`` is not a StochasticLoss,
            or it makes several draws per step.

    Example:
        >>> from multipath import StochasticLoss
        >>> from multipath.testing import QuadraticLoss
        >>> loss = QuadraticLoss(3)
        >>> criterion = StochasticLoss(loss, generator=0)
        >>> x = torch.nn.Parameter(torch.ones(1, 1))
        >>> optimizer = PSAGA([x], paths=criterion, lr=0.05, adaptive=False)
        >>> for _ in range(200):
        ...     optimizer.zero_grad()
        ...     criterion(x, torch.zeros(1, 1)).backward()
        ...     optimizer.step()
        >>> round(x.item(), 4)  # the minimum of the mean, reached with a constant step size
        0.4444

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), Algorithm 1. The reference implementation
    divides the sum by :math:`|\Gamma| - 1` on revisits; this follows the paper.
    """

    def __init__(
        self,
        params: Iterable[Any],
        paths: StochasticLoss,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = TINY,
        weight_decay: float = 0.0,
        *,
        alpha: float = 1.0,
        adaptive: bool = True,
        clock: Literal["paths", "returns"] = "paths",
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
        super().__init__(params, paths, defaults)
        # Relative weights P w_q: all 1 unless the loss weighs its paths
        self._shares = (paths.loss.path_weights * self.n_paths).tolist()
        self._total = float(paths.loss.path_weights.sum())  # 1 unless the loss says otherwise

    def path_state(self, group: dict[str, Any]) -> dict[str, float | None]:
        """Moments or the last gradient; see :meth:`PathwiseOptimizer.path_state`."""
        return dict(MOMENTS) if group["adaptive"] else {"gradient": None}

    def parameter_state(self) -> dict[str, float | None]:
        """The sum of the memory; see :meth:`PathwiseOptimizer.parameter_state`."""
        return {"sum": None, "visited": 0.0}

    def update(self, visit: Visit) -> list[Tensor]:
        """Difference to the memory and mean of it; see :meth:`PathwiseOptimizer.update`."""
        memory, current = self._visit(visit)
        alpha, share = visit.group["alpha"], self._shares[visit.path]
        visited = visit.states[0]["visited"]
        sums = [local(state["sum"]) for state in visit.states]

        # c_p (g_cur - alpha ghat_p) + alpha g_avg
        update = visit.copy("update", current)
        if memory is not None:
            torch._foreach_add_(update, memory, alpha=-alpha)
        if visit.weight != 1.0:
            torch._foreach_mul_(update, visit.weight)
        if visited:
            mean = visit.copy("mean", sums)
            torch._foreach_add_(update, mean, alpha=alpha * self._total / visited)

        # sum <- sum + P w_p (g_cur - ghat_p), ghat_p <- g_cur
        _accumulate(visit, sums, current, share)
        if memory is None:
            for state in visit.states:
                state["visited"] += share
        else:
            _accumulate(visit, sums, memory, -share)
        return update

    def _visit(self, visit: Visit) -> tuple[list[Tensor] | None, list[Tensor]]:
        """What the path did at its last visit, if any, and now; both in scratch memory."""
        memory = None
        if visit.group["adaptive"]:
            moments = read_moments(visit)
            if not visit.first:
                memory = direction(visit, moments, "memory")
            advance(visit, moments)
            return memory, direction(visit, moments, "current")
        kept = visit.read("gradient")
        if not visit.first:
            memory = visit.copy("memory", kept)
        torch._foreach_copy_(kept, visit.gradients)
        visit.write("gradient", kept)
        return memory, visit.copy("current", kept)


def _accumulate(visit: Visit, sums: list[Tensor], values: list[Tensor], factor: float) -> None:
    """Add in the dtype of the sums: the difference of two float32 would be rounded, and drift."""
    # cast before adding: torch would cast into fresh memory, slower than all the arithmetic
    torch._foreach_add_(sums, visit.copy("wide", values, sums[0].dtype), alpha=factor)
