"""P-Adam: Adam's moments kept apart for every path."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from multipath.stochastic import StochasticLoss

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

    **Clock.** With ``clock="visits"`` every :math:`1/P` in the exponents becomes :math:`\pi_p`, so
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
        criterion: The :class:`~multipath.StochasticLoss` that draws, ``n_draws=1``; it is linked,
            so that one draw lasts until :meth:`step`.
        lr: Learning rate :math:`\eta`.
        betas: :math:`(\beta_1, \beta_2)`, decay per pass over the paths.
        eps: :math:`\varepsilon`, *inside* the root as in Algorithm 1 (equation 8 of the paper can
            be read otherwise). The default, 1e-60, only guards against 0/0: the second moment is
            kept as its square root (updated by ``hypot``), which cannot underflow, so updates do
            not depend on the scale of the loss and no gradient multiplier is needed. Up to that
            value it is applied as a floor of the root.
        weight_decay: :math:`\lambda`, decoupled as in AdamW.
        clock: ``"paths"``, the paper's, or ``"visits"``.
        state_dtype: Of the moments: ``torch.bfloat16`` halves their memory, with stochastic
            rounding, so that small changes are kept in expectation. Default: the dtype of the
            parameter, float32 at least.
        maximize: Ascend instead of descend.

    Raises:
        ConfigurationError: If a hyperparameter is out of range, ``criterion`` is not a
            StochasticLoss, or it makes several draws per step.

    Example:
        >>> from multipath import StochasticLoss
        >>> from multipath.testing import QuadraticLoss
        >>> criterion = StochasticLoss(QuadraticLoss(4), generator=0)
        >>> x = torch.nn.Parameter(torch.ones(1, 2))
        >>> optimizer = PAdam([x], criterion, lr=0.1)
        >>> criterion(x, torch.zeros(1, 2)).backward()
        >>> optimizer.step()
        >>> x.data
        tensor([[0.9000, 0.9000]])

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), Algorithm 1 and equations 6 to 8.
    """

    never_negative: ClassVar[frozenset[str]] = frozenset({"root", "scale", "unit", "floor"})

    def __init__(
        self,
        params: Iterable[Any],
        criterion: StochasticLoss,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = TINY,
        weight_decay: float = 0.0,
        *,
        clock: Literal["paths", "visits"] = "paths",
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
        super().__init__(params, criterion, defaults)

    def path_state(self, group: dict[str, Any]) -> dict[str, float | None]:
        """The moments of each parameter and path."""
        return dict(MOMENTS)

    def update(self, visit: Visit) -> list[Tensor]:
        """The normalised direction of the path times its weight."""
        update = visit.copy("update", advance(visit))
        torch._foreach_mul_(update, visit.entries[0]["scale"])
        if visit.weight != 1.0:
            torch._foreach_mul_(update, visit.weight)
        return update


# What is kept of each parameter and path: not m and v but the direction made of them, which is the
# memory of P-SAGA, and the root of v, which cannot underflow. They give m back. The numbers belong
# to the last visit, whatever a scheduler does to the hyperparameters before the next.
MOMENTS: dict[str, float | None] = {
    "direction": None,  # scale * direction = m_hat / sqrt(eps + v_hat)
    "root": None,  # unit * root = sqrt(v)
    "scale": 1.0,
    "unit": 1.0,
    "floor": 0.0,  # m = direction * hypot(root, floor)
}


def advance(visit: Visit) -> list[Tensor]:
    """Update the moments of a path with its gradient; return the direction, up to its scale."""
    entry, (beta1, beta2), eps = visit.entries[0], visit.group["betas"], visit.group["eps"]
    fresh1, fresh2 = _faded(beta1, visit.elapsed), _faded(beta2, visit.elapsed)
    correction1, correction2 = _faded(beta1, visit.age), math.sqrt(_faded(beta2, visit.age))
    means, roots = visit.read("direction"), visit.read("root")

    torch._foreach_mul_(means, _denominators(visit, roots, entry["floor"]))
    torch._foreach_lerp_(means, visit.gradients, fresh1)

    # sqrt(beta2^e v + (1 - beta2^e) g^2) without ever squaring g, which underflows below 1e-19,
    # and in units of sqrt(1 - beta2^e), in which g needs no scaling
    unit = math.sqrt(fresh2)
    torch._foreach_mul_(roots, math.sqrt(1 - fresh2) * entry["unit"] / unit)
    for root, gradient in zip(roots, visit.gradients, strict=True):
        torch.hypot(root, gradient, out=root)
    floor = math.sqrt(eps) * correction2 / unit
    if eps <= TINY:  # a guard against 0/0 only: applied to the root, at no cost
        torch._foreach_clamp_min_(roots, floor)
        floor = 0.0
    visit.write("root", roots)

    torch._foreach_div_(means, _denominators(visit, roots, floor))
    visit.write("direction", means)
    visit.note(scale=correction2 / (correction1 * unit), unit=unit, floor=floor)
    return means


def _denominators(visit: Visit, roots: list[Tensor], floor: float) -> list[Tensor]:
    if not floor:
        return roots
    floored = visit.copy("denominator", roots)
    for root in floored:
        torch.hypot(root, torch.tensor(floor, dtype=root.dtype, device="cpu"), out=root)
    return floored


def _faded(beta: float, elapsed: float) -> float:
    """1 - beta^elapsed, exact also when the exponent is tiny (many paths)."""
    return -math.expm1(elapsed * math.log(beta)) if beta else 1.0
