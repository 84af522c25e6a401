"""Measure what a sampler learns from, during a training forward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from multipath._internal.bookkeeping import bookkept
from multipath._internal.ranks import average_over_ranks
from multipath._internal.tracing import is_traced, plain_batches, untraced
from multipath.losses import BalancedLoss, GroupedLoss, PathDecomposedLoss, SubsetLoss

from .base import Observation


def obtainable(
    kind: Observation, loss: PathDecomposedLoss, input: Any, target: Any, values: Tensor
) -> Observation:
    """What there is to learn from: the kind asked for, or else the losses.

    An input that is no tensor has no gradient, nor has one that nothing behind it is trained by.
    How loud a target is is the loss of silence, zeros like the target in place of the input, and
    makes sense where both are tensors of one shape, unless the loss defines it otherwise.

    Args:
        kind: What the sampler observes.
        loss: The loss.
        input: As the loss was called.
        target: As the loss was called.
        values: What it returned.
    """
    if kind == "gradient_norms":
        there = isinstance(input, Tensor) and (input.requires_grad or not values.requires_grad)
    elif kind == "target_norms":
        there = _defines_target_norms(loss) or (
            isinstance(input, Tensor) and isinstance(target, Tensor) and input.shape == target.shape
        )
    else:
        there = True
    return kind if there else "losses"


def measure(
    kind: Observation,
    loss: PathDecomposedLoss,
    input: Tensor,
    target: Tensor,
    indices: Tensor,
    values: Tensor,
) -> Tensor | None:
    r"""One number for each of some paths, averaged over the batch of this rank.

    - ``"gradient_norms"``: :math:`\frac 1 B \sum_b \lVert \partial L_{p,b} / \partial x_b
      \rVert^2`, without the weight :math:`w_p`;
    - ``"target_norms"``: :math:`\frac 1 B \sum_b` of ``loss.target_norms``;
    - ``"losses"``: :math:`\frac 1 B \sum_b L_{p,b}`, without the weight :math:`w_p`.

    What ``torch.func`` differentiates or maps is measured beside it, all samples of ``vmap`` as one
    batch: gradient norms then cost another forward through the loss.

    Args:
        kind: See above; :func:`obtainable` from these arguments.
        loss: Where the values come from.
        input: The reconstruction; its graph is kept for the backward of the caller.
        target: The target.
        indices: Distinct paths.
        values: Their losses, shape (len(indices), B), with their graph.

    Returns:
        Float64 of shape (len(indices),) on the CPU, or None if there is no gradient to measure.
    """
    if is_traced(values):
        if kind == "losses":
            (columns,) = plain_batches(values.T)
            with untraced():
                return _measure(kind, loss, input, target, indices, columns.T)
        x, *rest = plain_batches(*(part for part in (input, target) if isinstance(part, Tensor)))
        y = rest[0] if rest else target
        with untraced(), torch.enable_grad():
            values = loss.evaluate(x.requires_grad_(), y, indices) if "grad" in kind else x
            return _measure(kind, loss, x, y, indices, values)
    return _measure(kind, loss, input, target, indices, values)


def observed(kind: Observation, measured: Tensor, device: torch.device) -> Tensor:
    """What the sampler is told: the mean over ranks, and of squared norms its root.

    With ``torch.distributed`` initialised, ranks average what they saw (as one batch made of
    theirs, if these are equally large), so that they go on drawing the same paths.

    Args:
        kind: What was measured.
        measured: From :func:`measure`.
        device: Where the data are.
    """
    mean = average_over_ranks(measured, device)
    return mean.sqrt() if kind == "gradient_norms" else mean


def _measure(
    kind: Observation,
    loss: PathDecomposedLoss,
    input: Tensor,
    target: Tensor,
    indices: Tensor,
    values: Tensor,
) -> Tensor | None:
    if kind == "losses":
        return bookkept(values).mean(dim=1)
    if kind == "target_norms":
        return bookkept(loss.target_norms(target, indices)).mean(dim=1)
    if not (input.requires_grad and values.requires_grad):
        return None
    squares = []
    for path_values in values:
        (gradient,) = torch.autograd.grad(
            path_values.sum(), input, retain_graph=True, allow_unused=True
        )
        norm = bookkept([0.0])[0] if gradient is None else _norm(gradient)
        squares.append(norm.square() / len(path_values))
    return torch.stack(squares)


def _defines_target_norms(loss: PathDecomposedLoss) -> bool:
    while isinstance(loss, GroupedLoss | SubsetLoss | BalancedLoss):
        loss = loss.loss
    return type(loss).target_norms is not PathDecomposedLoss.target_norms


def _norm(gradient: Tensor) -> Tensor:
    """The norm in float64, relative to the largest entry: squares of small ones underflow."""
    wide = gradient.detach().to(torch.promote_types(gradient.dtype, torch.float32))
    largest = wide.abs().max()
    if not bool(torch.isfinite(largest)):
        return bookkept(largest)
    scaled = torch.linalg.vector_norm(wide / largest.clamp_min(torch.finfo(wide.dtype).tiny))
    return bookkept(largest) * bookkept(scaled)
