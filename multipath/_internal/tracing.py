"""Whether torch sees through an operation as it runs: ``torch.func``, dual numbers, compilers.

The hand-written kernels write into buffers and have a backward of their own, which is all that
training needs. ``torch.func`` (``jvp``, ``grad``, ``vmap``, any nesting of them) and forward-mode
differentiation (``torch.autograd.forward_ad``) need operations that they can see through: there,
the transforms go through the same steps in plain operations.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.autograd import forward_ad


def is_traced(x: Tensor) -> bool:
    """Whether a tensor is a dual number, or a ``torch.func`` transform or compiler is at work.

    Such a transform refuses hand-written kernels even for tensors that it does not differentiate.
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return True
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None


def untraced() -> AbstractContextManager[object]:
    """Step out of all ``torch.func`` transforms, to make tensors that outlast them."""
    return temporarily_clear_interpreter_stack()


def listed(x: Tensor) -> Any:
    """What ``x.tolist()`` gives; torch 2.6 refuses that inside of ``torch.func``."""
    if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
        return x.tolist()
    if torch._C._functorch.is_functorch_wrapped_tensor(x):
        return x.tolist()
    with untraced():
        return x.tolist()


def plain_batches(*tensors: Tensor) -> list[Tensor]:
    """The plain tensors behind those of ``torch.func``, detached from all that it does.

    Args:
        *tensors: Batch first.

    Returns:
        The same, the samples of all enclosing ``vmap`` side by side in the batch.
    """
    found = [_unwrapped(tensor) for tensor in tensors]
    levels = sorted({level for _, places in found for level in places})
    with untraced():
        rows = []
        for value, places in found:
            own = [places[level] for level in levels if level in places]
            row = value.detach().movedim(own, list(range(len(own))))
            for place, level in enumerate(levels):
                row = row if level in places else row.unsqueeze(place)
            rows.append(row)
        outer = len(levels)
        samples = torch.broadcast_shapes(*(row.shape[:outer] for row in rows))
        return [row.expand(*samples, *row.shape[outer:]).flatten(0, outer) for row in rows]


def _unwrapped(tensor: Tensor) -> tuple[Tensor, dict[int, int]]:
    """The plain tensor within, and which of its dimensions is which level of ``vmap``."""
    places: dict[int, int] = {}
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        level = torch._C._functorch.maybe_get_level(tensor)
        place = torch._C._functorch.maybe_get_bdim(tensor)
        tensor = torch._C._functorch.get_unwrapped(tensor)
        if place >= 0:
            places = {outer: at + (at >= place) for outer, at in places.items()}
            places[level] = place
    return tensor, places
