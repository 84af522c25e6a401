"""Whether a tensor is being differentiated by ``torch.func``.

The hand-written kernels write into buffers and have a backward of their own, which is all that
training needs. ``torch.func`` (``jvp``, ``grad``, any nesting of them) needs operations that it can
see through: for its tensors, the transforms go through the same steps in plain operations.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack


def is_traced(x: Tensor) -> bool:
    """Whether a tensor belongs to a ``torch.func`` transform or a program being compiled."""
    return torch.compiler.is_compiling() or bool(torch._C._functorch.is_functorch_wrapped_tensor(x))


def untraced() -> AbstractContextManager[object]:
    """Step out of all ``torch.func`` transforms, to make tensors that outlast them."""
    return temporarily_clear_interpreter_stack()
