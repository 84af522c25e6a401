"""Measure what a sampler learns from, during a training forward."""

from __future__ import annotations

import torch
from torch import Tensor

from multipath._internal.bookkeeping import bookkept
from multipath._internal.ranks import average_over_ranks
from multipath.losses import PathDecomposedLoss

from .base import Observation


def measure(
    kind: Observation,
    loss: PathDecomposedLoss,
    input: Tensor,
    target: Tensor,
    indices: Tensor,
    values: Tensor,
) -> Tensor | None:
    r"""Gradient norms or target norms of some paths, averaged over the batch and over all ranks.

    - ``"gradient_norms"``: :math:`\sqrt{\frac 1 B \sum_b \lVert \partial L_{p,b} / \partial x_b
      \rVert^2}`, without the weight :math:`w_p`;
    - ``"target_norms"``: :math:`\frac 1 B \sum_b` of ``loss.target_norms``.

    With ``torch.distributed`` initialised, ranks average what they saw (as one batch made of
    theirs, if these are equally large), so that they go on drawing the same paths.

    Args:
        kind: See above.
        loss: Where the values come from.
        input: The reconstruction; its graph is kept for the backward of the caller.
        target: The target.
        indices: Distinct paths.
        values: Their losses, shape (len(indices), B), with their graph.

    Returns:
        Float64 of shape (len(indices),) on the CPU, or None if there is no gradient to measure.
    """
    if kind == "target_norms":
        return average_over_ranks(
            bookkept(loss.target_norms(target, indices)).mean(dim=1), target.device
        )
    if not (input.requires_grad and values.requires_grad):
        return None
    squares = []
    for path_values in values:
        (gradient,) = torch.autograd.grad(
            path_values.sum(), input, retain_graph=True, allow_unused=True
        )
        norm = bookkept([0.0])[0] if gradient is None else _norm(gradient)
        squares.append(norm.square() / len(path_values))
    return average_over_ranks(torch.stack(squares), input.device).sqrt()


def _norm(gradient: Tensor) -> Tensor:
    """The norm in float64, relative to the largest entry: squares of small ones underflow."""
    wide = gradient.detach().to(torch.promote_types(gradient.dtype, torch.float32))
    largest = wide.abs().max()
    if not bool(torch.isfinite(largest)):
        return bookkept(largest)
    scaled = torch.linalg.vector_norm(wide / largest.clamp_min(torch.finfo(wide.dtype).tiny))
    return bookkept(largest) * bookkept(scaled)
