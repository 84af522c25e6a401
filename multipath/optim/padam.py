"""P-Adam: Adam's moments kept apart for every path."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..stochastic import StochasticLoss
from .base import PathwiseOptimizer, check_hyperparameters

# Below any gradient worth a step, and its root is a normal float32. See "eps" in PAdam.
TINY = 1e-60


class PAdam(PathwiseOptimizer):
    r"""Adam with first and second moments per path (P-Adam).

    At step k, with path p drawn, :math:`g = \nabla L_p`, and :math:`\tau_p` the step at which p
    was last visited (0 if never),

    .. math::
        m_p &\leftarrow \beta_1^{(k - \tau_p)/P} m_p + (1 - \beta_1^{(k - \tau_p)/P})\, g \\
        v_p &\leftarrow \beta_2^{(k - \tau_p)/P} v_p + (1 - \beta_2^{(k - \tau_p)/P})\, g^2 \\
        \hat m &= m_p / (1 - \beta_1^{k/P}), \qquad \hat v = v_p / (1 - \beta_2^{k/P}) \\
        w &\leftarrow w - \eta\, \hat m / \sqrt{\varepsilon + \hat v},
        \qquad \tau_p \leftarrow k

    so moments fade with the time since the last visit, measured in passes over the P paths.
    The update is multiplied by the weight of the draw (:math:`w_p / \pi_p` when the criterion
    reweights, else :math:`P w_p`, by default 1) and preceded by decoupled weight decay,
    :math:`w \leftarrow (1 - \eta \lambda) w`.

    Warning:
        Each path's moments are normalised apart, so every path has an equal vote whatever its
        magnitude: the expected update is a mean of normalised directions, not the direction of the
        mean loss. A path on which gradients are only noise then moves the weights as far as any
        other; see :class:`~multipath.samplers.Energy` for leaving such paths alone.

    Args:
        params: Parameters or parameter groups.
        paths: The :class:`~multipath.StochasticLoss` that draws, ``n_draws=1``; it is linked, so
            that one draw lasts until :meth:`step`.
        lr: Learning rate :math:`\eta`.
        betas: :math:`(\beta_1, \beta_2)`, decay per pass over the paths.
        eps: :math:`\varepsilon`, *inside* the root as in Algorithm 1 (equation 8 of the paper can
            be read otherwise). The default, 1e-60, only guards against 0/0: the second moment is
            kept as its square root (updated by ``hypot``), which cannot underflow, so updates do
            not depend on the scale of the loss and no gradient multiplier is needed.
        weight_decay: :math:`\lambda`, decoupled as in AdamW.
        maximize: Ascend instead of descend.

    Raises:
        ConfigurationError: If a hyperparameter is out of range, ``paths`` is not a StochasticLoss,
            or it makes several draws per step.

    Example:
        >>> from multipath import StochasticLoss
        >>> from multipath.testing import QuadraticLoss
        >>> criterion = StochasticLoss(QuadraticLoss(4), generator=0)
        >>> x = torch.nn.Parameter(torch.ones(1, 2))
        >>> optimizer = PAdam([x], paths=criterion, lr=0.1)
        >>> criterion(x, torch.zeros(1, 2)).backward()
        >>> optimizer.step()
        >>> x.data
        tensor([[0.9000, 0.9000]])

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), Algorithm 1 and equations 6 to 8.
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
        maximize: bool = False,
    ) -> None:
        check_hyperparameters(lr, weight_decay, betas, eps)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, paths, defaults)

    def update(
        self, gradient: Tensor, state: dict[str, Any], path: int, group: dict[str, Any]
    ) -> tuple[Tensor, Tensor | None]:
        """The normalised direction of the path; see :meth:`PathwiseOptimizer.update`."""
        moments = visit(state.setdefault("paths", {}), path, gradient)
        advance(moments, gradient, state["step"], self.n_paths, group)
        return direction(moments), None


def visit(paths: dict[int, dict[str, Any]], path: int, gradient: Tensor) -> dict[str, Any]:
    """State of a path, allocated if this is its first visit."""
    if path not in paths:
        paths[path] = {
            "last_step": 0,
            "mean": torch.zeros_like(gradient),
            "root_mean_square": torch.zeros_like(gradient),
        }
    return paths[path]


def advance(
    moments: dict[str, Any], gradient: Tensor, step: int, n_paths: int, group: dict[str, Any]
) -> None:
    """Update the moments of a path with a new gradient, in place."""
    elapsed = (step - moments["last_step"]) / n_paths
    beta1, beta2 = group["betas"]
    moments["mean"].lerp_(gradient, _faded(beta1, elapsed))
    # sqrt(beta2^e v + (1 - beta2^e) g^2) without ever squaring g, which underflows below 1e-19
    fresh = _faded(beta2, elapsed)
    root = moments["root_mean_square"].mul_(math.sqrt(1 - fresh))
    torch.hypot(root, gradient * math.sqrt(fresh), out=root)
    moments["last_step"] = step
    # Kept with the moments: P-SAGA asks for this direction again at the next visit, when the
    # hyperparameters may have been changed by a scheduler.
    moments["correction1"] = _faded(beta1, step / n_paths)
    moments["correction2"] = math.sqrt(_faded(beta2, step / n_paths))
    moments["root_eps"] = math.sqrt(group["eps"])


def direction(moments: dict[str, Any]) -> Tensor:
    """m_hat / sqrt(eps + v_hat) of a path, from its moments alone."""
    root = moments["root_mean_square"] / moments["correction2"]
    floor = torch.full((), moments["root_eps"], dtype=root.dtype, device=root.device)
    result: Tensor = moments["mean"] / moments["correction1"] / torch.hypot(root, floor)
    return result


def _faded(beta: float, elapsed: float) -> float:
    """1 - beta^elapsed, exact also when the exponent is tiny (many paths)."""
    return -math.expm1(elapsed * math.log(beta)) if beta else 1.0
