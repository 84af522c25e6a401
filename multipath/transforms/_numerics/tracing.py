"""Whether torch sees through an operation as it runs: ``torch.func``, and dual numbers.

The hand-written kernels write into buffers and have a backward of their own, which is all that
training needs. ``torch.func`` (``jvp``, ``grad``, ``vmap``, any nesting of them) and forward-mode
differentiation (``torch.autograd.forward_ad``) need operations that they can see through: there,
the transforms go through the same steps in plain operations.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.autograd import forward_ad


def is_traced(x: Tensor) -> bool:
    """Whether a tensor is a dual number, or any ``torch.func`` transform is under way.

    Such a transform refuses hand-written kernels even for tensors that it does not differentiate.
    """
    if torch._C._are_functorch_transforms_active():
        return True
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None


def numbers(x: Tensor) -> Tensor:
    """What ``torch.func`` wraps, to be looked at: under ``vmap``, the numbers of all signals."""
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x


def untraced() -> AbstractContextManager[object]:
    """Step out of all ``torch.func`` transforms, to make tensors that outlast them."""
    return temporarily_clear_interpreter_stack()
