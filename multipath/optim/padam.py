"""P-Adam: Adam's moments kept apart for every path."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from ..stochastic import StochasticLoss
from .base import PathwiseOptimizer
from .visit import Visit

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

    **Clock.** With ``clock="returns"`` every :math:`1/P` in the exponents becomes :math:`\pi_p`, so
    :math:`(k - \tau_p)\, \pi_p` is the time since the last visit in units of the mean return time
    :math:`1/\pi_p` of the path. Its mean is 1, so moments of rare paths average over as many visits
    as those of frequent ones; under the paper's rule a path drawn once in n passes forgets
    :math:`\beta^n` between visits. With uniform probabilities both are the same. Where
    probabilities change, :math:`k/P` in the bias corrections becomes the sum of the exponents so
    far, and the corrections stay exact.

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
            not depend on the scale of the loss and no gradient multiplier is needed. So small,
            it is applied as a floor of the root.
        weight_decay: :math:`\lambda`, decoupled as in AdamW.
        clock: ``"paths"``, the paper's, or ``"returns"``.
        state_dtype: Of the moments: ``torch.bfloat16`` halves their memory, with stochastic
            rounding, so that small changes are kept in expectation. Default: the dtype of the
            parameter, float32 at least.
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
        clock: Literal["paths", "returns"] = "paths",
        state_dtype: torch.dtype | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "clock": clock,
            "state_dtype": state_dtype,
            "maximize": maximize,
        }
        super().__init__(params, paths, defaults)

    def path_state(self, group: dict[str, Any]) -> dict[str, float | None]:
        """Moments; see :meth:`PathwiseOptimizer.path_state`."""
        return dict(MOMENTS)

    def update(self, visit: Visit) -> list[Tensor]:
        """The normalised direction of the path, weighted; see :meth:`PathwiseOptimizer.update`."""
        moments = read_moments(visit)
        advance(visit, moments)
        update = direction(visit, moments, "update")
        if visit.weight != 1.0:
            torch._foreach_mul_(update, visit.weight)
        return update


# Of each parameter and path. The numbers belong to the last visit: P-SAGA asks for its direction
# again at the next one, when a scheduler may have changed the hyperparameters.
MOMENTS: dict[str, float | None] = {
    "mean": None,  # m
    "root_mean_square": None,  # sqrt(v)
    "scale": 1.0,  # sqrt(1 - beta2^age) / (1 - beta1^age)
    "floor": 0.0,  # sqrt(eps (1 - beta2^age))
}


Moments = tuple[list[Tensor], list[Tensor]]


def read_moments(visit: Visit) -> Moments:
    """Means and root mean squares of the path."""
    return visit.read("mean"), visit.read("root_mean_square")


def advance(visit: Visit, moments: Moments) -> None:
    """Update the moments of a path with its gradient, which is overwritten."""
    beta1, beta2 = visit.group["betas"]
    fresh1, fresh2 = _faded(beta1, visit.elapsed), _faded(beta2, visit.elapsed)
    (means, roots), gradients = moments, visit.gradients

    torch._foreach_lerp_(means, gradients, fresh1)
    visit.write("mean", means)

    # sqrt(beta2^e v + (1 - beta2^e) g^2) without ever squaring g, which underflows below 1e-19
    torch._foreach_mul_(roots, math.sqrt(1 - fresh2))
    torch._foreach_mul_(gradients, math.sqrt(fresh2))
    for root, gradient in zip(roots, gradients, strict=True):
        torch.hypot(root, gradient, out=root)
    visit.write("root_mean_square", roots)

    correction1, correction2 = _faded(beta1, visit.age), math.sqrt(_faded(beta2, visit.age))
    visit.note(scale=correction2 / correction1, floor=math.sqrt(visit.group["eps"]) * correction2)


def direction(visit: Visit, moments: Moments, name: str) -> list[Tensor]:
    """m_hat / sqrt(eps + v_hat) at the latest visit, from the state alone, in scratch memory."""
    means, roots = moments
    scale, floor = visit.entries[0]["scale"], visit.entries[0]["floor"]
    roots = visit.copy("denominator", roots)
    if floor <= math.sqrt(TINY):  # a guard against 0/0, at a fraction of the price of hypot
        torch._foreach_clamp_min_(roots, floor)
    else:
        for root in roots:
            torch.hypot(root, torch.tensor(floor, dtype=root.dtype), out=root)
    result = visit.copy(name, means)
    torch._foreach_div_(result, roots)
    torch._foreach_mul_(result, scale)
    return result


def _faded(beta: float, elapsed: float) -> float:
    """1 - beta^elapsed, exact also when the exponent is tiny (many paths)."""
    return -math.expm1(elapsed * math.log(beta)) if beta else 1.0
