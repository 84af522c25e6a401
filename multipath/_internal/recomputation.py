"""Activation checkpointing runs a forward twice: is this one of the two runs?"""

from __future__ import annotations

import sys
from types import CodeType

import torch


def backward_number() -> int:
    """The number of the backward under way, or -1: a forward inside one repeats an earlier one."""
    return torch._C._current_graph_task_id()


def in_checkpoint() -> bool:
    """Whether a reentrant checkpoint runs its first pass, without gradients, to repeat it later."""
    code = _checkpoint_code()
    frame = sys._getframe(1) if code is not None else None
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False


def _checkpoint_code() -> CodeType | None:
    module = sys.modules.get("torch.utils.checkpoint")  # if not imported, nobody uses it
    function = getattr(module, "CheckpointFunction", None)
    return getattr(getattr(function, "forward", None), "__code__", None)
