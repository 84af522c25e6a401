"""First and second derivatives of an encoder's outputs with respect to its weights, as products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from multipath.errors import InputError

from ._problem import Batch, Problem


class EncoderDerivatives:
    r"""Gradients and Hessian-vector products of :math:`\theta_u = E_u(x; w)`, item by item.

    Args:
        problem: Encoder and weights, of W numbers in all.
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
