r"""First and second derivatives of every path's loss with respect to theta.

theta-importance needs of the decoder and of the loss only, for each item of a batch,

.. math:: s_{u,p} = \frac{\partial L_p}{\partial \theta_u}, \qquad
    H_{u,u',p} = \frac{\partial^2 L_p}{\partial \theta_u \partial \theta_{u'}} .

There are few parameters and many paths: forward differentiation gives all paths at once, and what
they share is computed once (:mod:`multipath.jets`). A loss or a decoder that ``torch.func`` cannot
see through is differentiated backwards, path by path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        problem: Decoder and loss.
        batch: Some items.
        indices: Which paths.
        mode: See the module.
        order: 1 leaves out the second ones, which are then empty.

    Raises:
        InputError: If a derivative is not finite.
    """
    with torch.no_grad():
        theta = problem.encode(batch).detach()
    if mode == "forward":
        with torch.no_grad():  # a decoder's own weights would have graphs made
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


def supports_forward(problem: Problem, batch: Batch) -> bool:
    """Whether ``torch.func`` sees through the decoder and the loss."""
    part = batch.items(slice(0, 1))
    try:
        theta_derivatives(problem, part, [0], "forward")
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
    for index in indices:  # one at a time: a graph of several would be walked as a whole
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
    """Zero where the value does not depend on the leaf."""
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
