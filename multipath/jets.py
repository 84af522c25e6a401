r"""Expansions in a few parameters that pass through functions.

The *jet* of a tensor x that depends on U parameters is x with its derivatives,

.. math:: x,\quad \partial_u x \;(u < U),\quad \partial_u \partial_v x \;(v \le u < U),

stacked in this order along a first dimension; a jet of order 1 lacks the second derivatives. A
linear map acts on each component alike, so that pushing a jet once through a long pipeline costs
far less than differentiating the pipeline for every pair of parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jvp

__all__ = ["JetOrder"]


@dataclass(frozen=True)
class JetOrder:
    """Which derivatives a jet has, and how to make one.

    Args:
        n_parameters: Number U of parameters.
        order: Highest order of the derivatives, 1 or 2.

    Example:
        >>> order = JetOrder(n_parameters=2)
        >>> theta = torch.tensor([[2.0, 3.0]])
        >>> len(order), order.pairs
        (6, [(0, 0), (1, 0), (1, 1)])
        >>> order.of(lambda t: t[:, 0] ** 2 * t[:, 1], theta).flatten()  # x^2 y and derivatives
        tensor([12., 12.,  4.,  6.,  4.,  0.])
    """

    n_parameters: int
    order: int = 2

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The pairs (u, v) of the second derivatives, in the order of the components."""
        each = range(self.n_parameters) if self.order == 2 else range(0)
        return [(u, v) for u in each for v in range(u + 1)]

    def __len__(self) -> int:
        """Number of components."""
        return 1 + self.n_parameters + len(self.pairs)

    def of(self, function: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
        """The jet of a function's result with respect to theta, shape (components, batch, ...).

        Args:
            function: Maps theta (batch, U) to (batch, ...), item by item, in operations that
                ``torch.func`` can differentiate.
            theta: Where to differentiate, shape (batch, U).
        """
        # one direction moves the same parameter of all items: items do not mix
        towards = torch.eye(self.n_parameters, dtype=theta.dtype, device=theta.device)
        towards = towards[:, None].expand(-1, len(theta), -1)
        return self._collect(
            lambda u: jvp(function, (theta,), (towards[u],))[1],
            lambda u, v, k: jvp(
                lambda t: jvp(function, (t,), (towards[v],))[1], (theta,), (towards[u],)
            )[1],
            function(theta),
        )

    def through(self, function: Callable[[list[Tensor]], Tensor], jets: Sequence[Tensor]) -> Tensor:
        """The jet of a function of tensors whose jets are known.

        Args:
            function: Maps a list of tensors to one, in operations that ``torch.func`` can
                differentiate.
            jets: The jet of each tensor, components first.
        """
        values = [jet[0] for jet in jets]
        zero = values[0].new_zeros(())
        one = torch.ones_like(zero)

        def slope(u: int) -> Tensor:
            along: Tensor = jvp(function, (values,), ([jet[1 + u] for jet in jets],))[1]
            return along

        def bend(u: int, v: int, k: int) -> Tensor:
            parts = [(jet[0], jet[1 + u], jet[1 + v], jet[k]) for jet in jets]

            def along_v(a: Tensor) -> Tensor:
                # d/db at b = 0 of the function along x + a x_u + b x_v + a b x_uv, whose mixed
                # derivative in a and b is the second derivative of the whole
                points = [x + a * xu for x, xu, _, _ in parts]
                towards = [xv + a * xuv for _, _, xv, xuv in parts]
                found: Tensor = jvp(function, (points,), (towards,))[1]
                return found

            found: Tensor = jvp(along_v, (zero,), (one,))[1]
            return found

        return self._collect(slope, bend, function(values))

    def _collect(
        self,
        slope: Callable[[int], Tensor],
        bend: Callable[[int, int, int], Tensor],
        value: Tensor,
    ) -> Tensor:
        first = 1 + self.n_parameters
        with _quiet():
            slopes = [slope(u) for u in range(self.n_parameters)]
            bends = [bend(u, v, first + k) for k, (u, v) in enumerate(self.pairs)]
        return torch.stack([value, *slopes, *bends])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence a deprecation of torch's own, whose first forward mode compiles some formulas."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.*deprecated", DeprecationWarning)
        yield
