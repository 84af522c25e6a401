"""Gradients written by hand, for all the ways in which torch may ask for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor

from multipath._internal.tracing import is_traced

Gradients: TypeAlias = tuple[Tensor | None, ...]


def by_hand(adjoint: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Make the ``backward`` of a ``torch.autograd.Function`` from an adjoint of plain tensors.

    What was saved is read once: every reading unpacks it again, which activation checkpointing
    allows no second time. Batched gradients (``is_grads_batched=True``, ``vectorize=True``) are
    brought back one after the other, since torch batches few of the operations that an adjoint is
    made of.

    Args:
        adjoint: Called with the context, the tensors saved and the gradients of the outputs;
            returns a gradient or None for each input of ``forward``.
    """

    @wraps(adjoint)
    def backward(ctx: Any, *gradients: Tensor | None) -> Gradients:
        saved = ctx.saved_tensors
        if not any(map(_is_batched, gradients)):
            return adjoint(ctx, saved, *gradients)
        single = [_unbatched(gradient) for gradient in gradients]
        size = max(len(rows) for rows in single if rows is not None)
        rows = (
            [None if parts is None else parts.expand(size, *parts.shape[1:])[i] for parts in single]
            for i in range(size)
        )
        found = zip(*(adjoint(ctx, saved, *row) for row in rows), strict=True)
        return tuple(None if parts[0] is None else _batched(parts) for parts in found)

    return backward


def must_be_plain(*gradients: Tensor | None) -> bool:
    """Whether gradients have to come from plain operations, see :func:`through_plain`."""
    if torch.is_grad_enabled():  # to be differentiated again
        return True
    return any(is_traced(gradient) for gradient in gradients if gradient is not None)


def through_plain(
    function: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
) -> Gradients:
    """An adjoint that torch can see through: the same steps in plain operations, differentiated.

    Args:
        function: Maps the inputs to outputs in plain operations.
        inputs: Tensors that require gradients, as they were saved.
        gradients: Those of the outputs, or None.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        outputs = function(*inputs)
    used = [pair for pair in zip(outputs, gradients, strict=True) if pair[1] is not None]
    return torch.autograd.grad(
        [output for output, _ in used],
        inputs,
        [gradient for _, gradient in used],
        create_graph=create_graph,
        allow_unused=True,
    )


def _is_batched(gradient: Tensor | None) -> bool:
    return gradient is not None and torch._C._functorch.is_legacy_batchedtensor(gradient)


# torch batches gradients by its first vmap, at level 1: it never nests that around a backward.
def _unbatched(gradient: Tensor | None) -> Tensor | None:
    """The gradients of a batch, or a batch of one."""
    return None if gradient is None else torch._remove_batch_dim(gradient, 1, 1, 0)


def _batched(gradients: Sequence[Tensor]) -> Tensor:
    return torch._add_batch_dim(torch.stack(list(gradients)), 0, 1)
