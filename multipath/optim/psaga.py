"""P-SAGA: variance reduction by a memory of every path's last update."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..stochastic import StochasticLoss
from .base import PathwiseOptimizer, check_hyperparameters
from .padam import TINY, advance, direction, visit


class PSAGA(PathwiseOptimizer):
    r"""SAGA across paths, on top of P-Adam (Algorithm 1) or of plain gradients.

    At each step, with path p drawn, :math:`g_\text{cur}` its P-Adam direction (see
    :class:`PAdam`), :math:`\hat g_q` the direction at the last visit of path q, and
    :math:`\Gamma` the paths visited *before* this step,

    .. math::
        g_\text{avg} &= \frac{1}{\max(1, |\Gamma|)} \sum_{q \in \Gamma} \hat g_q \\
        w &\leftarrow (1 - \eta \lambda) w
            - \eta\, \big(c_p\,(g_\text{cur} - \hat g_p) + g_\text{avg}\big) \\
        \hat g_p &\leftarrow g_\text{cur}, \qquad \Gamma \leftarrow \Gamma \cup \{p\}

    with :math:`c_p` the weight of the draw: 1 as published (:math:`P w_p` in general),
    :math:`w_p / \pi_p` when the criterion reweights. For a loss with weights :math:`w_q` of its
    own, :math:`g_\text{avg}` is the weighted mean over :math:`\Gamma`, times :math:`\sum_q w_q`.

    The sum is kept running, in float64, so a step costs :math:`O(|w|)` whatever P is. The memory
    :math:`\hat g_p` is recomputed from the path's moments, so it takes no room: two numbers per
    weight and visited path with ``adaptive=True``, one without.

    Args:
        params: Parameters or parameter groups.
        paths: The :class:`~multipath.StochasticLoss` that draws, ``n_draws=1``.
        lr: Learning rate :math:`\eta`.
        betas: As in :class:`PAdam`.
        eps: As in :class:`PAdam`.
        weight_decay: :math:`\lambda`, decoupled.
        adaptive: True for P-SAGA on P-Adam as published, False for SAGA on plain gradients
            (Defazio et al., NeurIPS 2014), where betas and eps play no part.
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

    state_names = PathwiseOptimizer.state_names | {"sum", "visited"}

    def __init__(
        self,
        params: Iterable[Any],
        paths: StochasticLoss,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = TINY,
        weight_decay: float = 0.0,
        *,
        adaptive: bool = True,
        maximize: bool = False,
    ) -> None:
        check_hyperparameters(lr, weight_decay, betas, eps)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "adaptive": adaptive,
            "maximize": maximize,
        }
        super().__init__(params, paths, defaults)
        # Relative weights P w_q: all 1 unless the loss weighs its paths
        self._shares = (paths.loss.path_weights * self.n_paths).tolist()
        self._total = float(paths.loss.path_weights.sum())  # 1 unless the loss says otherwise

    def update(
        self, gradient: Tensor, state: dict[str, Any], path: int, group: dict[str, Any]
    ) -> tuple[Tensor, Tensor | None]:
        """The difference to the memory and the mean of the memory."""
        if "sum" not in state:
            # float64 where the device has it: thousands of additions must not drift
            wide = torch.float32 if gradient.device.type == "mps" else torch.float64
            state["sum"] = torch.zeros_like(gradient, dtype=wide)
            state["visited"] = 0.0
            state["paths"] = {}
        paths = state["paths"]
        revisit = path in paths
        if group["adaptive"]:
            moments = visit(paths, path, gradient)
            memory = direction(moments) if revisit else None
            advance(moments, gradient, state["step"], self.n_paths, group)
            current = direction(moments)
        else:
            memory = paths[path]["gradient"] if revisit else None
            current = gradient.clone()
            paths[path] = {"gradient": current}

        share = self._shares[path]
        mean = (state["sum"] * (self._total / (state["visited"] or 1.0))).to(current.dtype)
        difference = current if memory is None else current - memory
        state["sum"].add_(difference, alpha=share)
        if not revisit:
            state["visited"] += share
        return difference, mean
