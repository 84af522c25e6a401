r"""First and second derivatives of every path's loss with respect to theta.

All that theta-importance needs to know of the decoder and the loss is, for each item of a batch,

.. math:: s_{u,p} = \frac{\partial L_p}{\partial \theta_u}, \qquad
    H_{u,u',p} = \frac{\partial^2 L_p}{\partial \theta_u \partial \theta_{u'}} .

There are few parameters and many paths: forward differentiation (:mod:`multipath.jets`) gives all
paths at once and computes what they share only once. A loss or a decoder that ``torch.func`` cannot
see through is differentiated in reverse, path by path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from multipath.errors import InputError
from multipath.jets import JetOrder

from ._problem import Batch, Problem

Mode = Literal["forward", "reverse"]


class ThetaDerivatives(NamedTuple):
    """Derivatives of each item's losses, on the CPU.

    Attributes:
        first: s, shape (P, batch, U).
        second: H, shape (P, batch, U, U).
    """

    first: Tensor
    second: Tensor


def theta_derivatives(
    problem: Problem, batch: Batch, indices: Sequence[int], mode: Mode, order: Literal[1, 2] = 2
) -> ThetaDerivatives:
    """Derivatives at the theta that the encoder gives.

    Args:
        problem: Encoder, decoder and loss.
        batch: The items.
        indices: Which paths.
        mode: ``"forward"`` for all paths at once, ``"reverse"`` for path by path.
        order: With 1, the second derivatives are left out and returned as an empty tensor.

    Raises:
        InputError: If a derivative is not finite.
    """
    with torch.no_grad():
        theta = problem.encode(batch).detach()
    if mode == "forward":
        with torch.no_grad():  # the decoder's own weights would make torch record graphs
            found = _forward(problem, theta, batch, indices, JetOrder(theta.shape[1], order))
    else:
        found = _reverse(lambda t, p: problem.path_losses(t, batch, [p]), theta, indices, order)
    for name, values in zip(("first", "second"), found, strict=True):
        if not bool(torch.isfinite(values).all()):
            bad = indices[int((~torch.isfinite(values.flatten(1)).all(dim=1)).nonzero()[0])]
            raise InputError(
                f"the {name} derivative of path {problem.loss.paths[bad].key!r} with respect to "
                "theta is not finite: check the targets for NaN, and that the decoder and the loss "
                "can be differentiated twice where the encoder puts theta"
            )
    return ThetaDerivatives(*(values.detach().cpu() for values in found))


def supports_forward(problem: Problem, batch: Batch, order: Literal[1, 2]) -> bool:
    """Whether ``torch.func`` sees through the decoder and the loss."""
    part = batch.items(slice(0, 1))
    try:
        theta_derivatives(problem, part, [0], "forward", order)
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _forward(
    problem: Problem, theta: Tensor, batch: Batch, indices: Sequence[int], order: JetOrder
) -> tuple[Tensor, Tensor]:
    jets = problem.path_loss_jets(theta, batch, indices, order)
    n = order.n_parameters
    first = jets[1 : 1 + n].movedim(0, -1)
    place = {pair: 1 + n + k for k, pair in enumerate(order.pairs)}
    if not place:
        return first, first.new_zeros(*first.shape, 0)
    rows = [[jets[place[max(u, v), min(u, v)]] for v in range(n)] for u in range(n)]
    return first, torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _reverse(
    losses: Callable[[Tensor, int], Tensor], theta: Tensor, indices: Sequence[int], order: int
) -> tuple[Tensor, Tensor]:
    first, second = [], []
    for index in indices:  # one at a time: each backward would walk the graph of several in full
        leaf = theta.clone().requires_grad_()
        slope = _gradient(losses(leaf, index).sum(), leaf, again=order == 2)
        first.append(slope.detach())
        rows = slope.sum(dim=0) if order == 2 else ()
        second.append([_gradient(row, leaf, keep=True) for row in rows])
    slopes = torch.stack(first)
    if order == 1:
        return slopes, slopes.new_zeros(*slopes.shape, 0)
    return slopes, torch.stack([torch.stack(rows, dim=1) for rows in second])


def _gradient(value: Tensor, leaf: Tensor, *, again: bool = False, keep: bool = False) -> Tensor:
    """Gradient of a value, zero where the value does not depend on the leaf."""
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(
        value,
        leaf,
        retain_graph=again or keep,
        create_graph=again,
        allow_unused=True,
        materialize_grads=True,
    )
    return found


class EncoderDerivatives:
    r"""Gradients and Hessian-vector products of :math:`\theta_u = E_u(x; w)`, item by item.

    Args:
        problem: Encoder and weights, W numbers in all.
        batch: The items.
    """

    def __init__(self, problem: Problem, batch: Batch) -> None:
        self.problem, self.batch = problem, batch
        self.weights = list(problem.weights.values())

    def gradients(self) -> Tensor:
        r"""All :math:`\nabla_w E_{b,u}`, shape (batch, U, W).

        Raises:
            InputError: If one is not finite.
        """
        found = []
        for theta in self._thetas():
            rows = [self._gradient(value, again=True) for value in theta.unbind()]
            found.append(torch.stack([self._flat(row) for row in rows]))
        return self._finite(torch.stack(found), "gradient")

    def products(self, u: int, vectors: Sequence[Tensor] | Tensor) -> Iterator[Tensor]:
        r""":math:`\nabla^2_w E_{b,u}\, v` for all vectors, (len(vectors), W), item by item.

        Raises:
            InputError: If one is not finite.
        """
        directions = [self._unflat(vector) for vector in vectors]
        for theta in self._thetas():
            gradient = self._gradient(theta[u], differentiable=True)
            # weights that enter linearly have a constant gradient
            used = {i: g for i, g in enumerate(gradient) if g is not None and g.requires_grad}
            if not used:
                yield theta.new_zeros(len(directions), self.problem.n_weights)
                continue
            rows = [
                torch.autograd.grad(
                    list(used.values()),
                    self.weights,
                    [direction[i] for i in used],
                    retain_graph=True,
                    allow_unused=True,
                )
                for direction in directions
            ]
            yield self._finite(torch.stack([self._flat(row) for row in rows]), "curvature")

    def _thetas(self) -> Iterator[Tensor]:
        """Theta of each item, shape (U,)."""
        for b in range(len(self.batch)):
            yield self.problem.encode(self.batch.items(slice(b, b + 1)))[0]

    def _gradient(
        self, value: Tensor, *, again: bool = False, differentiable: bool = False
    ) -> Sequence[Tensor | None]:
        if not value.requires_grad:
            return [None] * len(self.weights)
        found: Sequence[Tensor | None] = torch.autograd.grad(
            value,
            self.weights,
            retain_graph=again or differentiable,
            create_graph=differentiable,
            allow_unused=True,
        )
        return found

    def _flat(self, gradients: Sequence[Tensor | None]) -> Tensor:
        parts = [
            torch.zeros_like(weight).flatten() if gradient is None else gradient.detach().flatten()
            for weight, gradient in zip(self.weights, gradients, strict=True)
        ]
        return torch.cat(parts)

    def _unflat(self, vector: Tensor) -> list[Tensor]:
        parts = vector.split([weight.numel() for weight in self.weights])
        return [part.view_as(w).to(w.dtype) for part, w in zip(parts, self.weights, strict=True)]

    def _finite(self, rows: Tensor, what: str) -> Tensor:
        if bool(torch.isfinite(rows).all()):
            return rows
        spoilt = (~torch.isfinite(rows)).reshape(-1, rows.shape[-1]).any(dim=0)
        parts = spoilt.split([weight.numel() for weight in self.weights])
        names = [n for n, part in zip(self.problem.weights, parts, strict=True) if part.any()]
        raise InputError(
            f"the {what} of the encoder is not finite at {', '.join(names[:5])}: check its inputs, "
            "and that it can be differentiated twice where its weights are"
        )
