"""Activation checkpointing runs a part of the forward twice: which part is this one?"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Generic, TypeVar

import torch

Made = TypeVar("Made")


def backward_number() -> int:
    """The ID of the running backward pass, or -1: a forward inside one repeats an earlier one."""
    return torch._C._current_graph_task_id()


def checkpointed_region() -> Any:
    """What stands for the innermost checkpoint around this call, the same object in both runs.

    Reentrant checkpoints have a context of their autograd function, others a frame of their own;
    torch tells neither to the function that it runs, so they are looked up in the calls above.

    Returns:
        None outside of a checkpoint, and inside of one that will never be repeated.
    """
    module = sys.modules.get("torch.utils.checkpoint")  # if it is not imported, there is none
    frame: FrameType | None = sys._getframe(1)
    while module is not None and frame is not None:
        if frame.f_code.co_filename == module.__file__:
            name, local = frame.f_code.co_name, frame.f_locals
            if name in ("forward", "backward") and "ctx" in local:
                return local["ctx"] if local["ctx"].next_functions else None
            if name == "unpack_hook":
                return local.get("frame")
            if name == "checkpoint" and local.get("gen") is not None:
                frames = local["gen"].gi_frame.f_locals
                return frames.get("new_frame") if torch.is_grad_enabled() else None
        frame = frame.f_back
    return None


@dataclass
class Repeatable(Generic[Made]):
    """What one region has made, in the order in which a repetition needs it again."""

    made: list[Made] = field(default_factory=list)
    _backward: int = -1
    _repeated: int = 0

    def again(self, backward: int) -> Made:
        """What the next call in the repetition that belongs to a backward pass made before."""
        if backward != self._backward:
            self._backward, self._repeated = backward, 0
        self._repeated += 1
        return self.made[min(self._repeated, len(self.made)) - 1]
