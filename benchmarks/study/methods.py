"""Methods that the study tries and the library does not ship: they lost, or served to learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from multipath import StochasticLoss


class PerItem(nn.Module):
    """A draw of its own for every item of the batch; nothing is shared between them."""

    def __init__(self, criterion: StochasticLoss) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        pairs = zip(input.split(1), target.split(1), strict=True)
        return torch.stack([self.criterion(x, y) for x, y in pairs]).mean()


class LinkedAdamW(AdamW):
    """AdamW whose steps end a draw: all evaluations within a step have the same one."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        criterion: StochasticLoss,
        lr: float,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        criterion.redraw_after(self)
        self.criterion = criterion
        self.parameters = [p for group in self.param_groups for p in group["params"]]


class SagaAdamW(LinkedAdamW):
    r"""AdamW on SAGA's estimate of the gradient, for one weighted draw a step.

    .. math:: g \leftarrow c_p (\nabla L_p - \hat g_p) + \sum_q w_q \hat g_q, \qquad
        \hat g_p \leftarrow \nabla L_p

    with :math:`c_p = w_p / \pi_p`: unbiased whatever the memory holds. (Defazio, Bach and
    Lacoste-Julien, NeurIPS 2014; with importance sampling, Schmidt et al., AISTATS 2015.)
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.memory: dict[int, list[Tensor]] = {}

    def step(self, closure: Callable[[], Any]) -> Any:
        with torch.enable_grad():
            result = closure()
        draw = self.criterion.last_draw
        path, weight = int(draw.indices[0]), float(draw.weights[0])
        share = float(self.criterion.loss.path_weights[path])
        old = self.memory.get(path) or [torch.zeros_like(p) for p in self.parameters]
        new = [p.grad / weight for p in self.parameters]
        for p, fresh, stale, mean in zip(self.parameters, new, old, self.mean, strict=True):
            difference = fresh - stale
            p.grad = mean.add(difference, alpha=weight)
            mean.add_(difference, alpha=share)
        self.memory[path] = new
        super().step()
        return result


class StormAdamW(LinkedAdamW):
    r"""AdamW on recursive momentum: memory of one gradient, two evaluations a step.

    .. math:: d \leftarrow g(w_t; \xi_t) + (1 - a)\,(d - g(w_{t-1}; \xi_t))

    with the same batch and draw :math:`\xi_t` at the weights before and after the last step.
    (STORM: Cutkosky and Orabona, NeurIPS 2019; preconditioned, as in MARS: Yuan et al., 2024.)
    """

    a = 0.1
    before: list[Tensor] | None = None
    direction: list[Tensor]

    def step(self, closure: Callable[[], Any]) -> Any:
        now = [p.detach().clone() for p in self.parameters]
        with torch.enable_grad():
            result = closure()
        gradients = [p.grad.clone() for p in self.parameters]
        if self.before is not None:
            self._put(self.before)
            with torch.enable_grad():
                closure()
            self._put(now)
            for g, d, p in zip(gradients, self.direction, self.parameters, strict=True):
                g.add_(d - p.grad, alpha=1 - self.a)
        for p, g in zip(self.parameters, gradients, strict=True):
            p.grad = g.clone()
        self.before, self.direction = now, gradients
        super().step()
        return result

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for p, value in zip(self.parameters, values, strict=True):
            p.copy_(value)
