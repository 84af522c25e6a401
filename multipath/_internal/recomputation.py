"""Activation checkpointing runs a part of the forward again: which part is this one?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from types import FrameType
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import torch

Made = TypeVar("Made")


def backward_number() -> int:
    """The ID of the running backward pass, or -1: a forward inside one repeats an earlier one."""
    return torch._C._current_graph_task_id()


class Region(NamedTuple):
    """A checkpoint around a call."""

    key: Any
    """The same object in all runs of this checkpoint."""
    repeating: bool
    """Whether this is not its first run."""


def checkpointed_regions() -> list[Region]:
    """The checkpoints around this call that can run again, innermost first.

    Reentrant checkpoints have a context of their autograd function, others a frame of their own;
    torch tells neither to the function that it runs, so they are looked up in the calls above. A
    checkpoint that is made without gradients never runs again, unless one around it does.
    """
    module = sys.modules.get("torch.utils.checkpoint")  # if it is not imported, there is none
    frame: FrameType | None = sys._getframe(1)
    regions, with_gradients = [], torch.is_grad_enabled()
    while module is not None and frame is not None:
        if frame.f_code.co_filename == module.__file__:
            name, local = frame.f_code.co_name, frame.f_locals
            if name in ("forward", "backward") and "ctx" in local:
                if local["ctx"].next_functions:
                    regions.append(Region(local["ctx"], name == "backward"))
                    with_gradients = True  # around it: within its first run there are none
            elif name == "unpack_hook" and "frame" in local:
                regions.append(Region(local["frame"], True))
            elif with_gradients and local.get("gen") is not None:  # releases name it differently
                regions.append(Region(local["gen"].gi_frame.f_locals["new_frame"], False))
        frame = frame.f_back
    return regions


class Repetitions(Generic[Made]):
    """What was made within checkpoints, for when they run again.

    Checkpoints may lie within one another. One that runs again makes those within it anew, which
    may then run again themselves.
    """

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[Any, _Run[Made]] = WeakKeyDictionary()

    def record(self, made: Made, regions: Sequence[Region]) -> None:
        """Remember what was made in the first run of some regions."""
        for region in regions:
            self._made.setdefault(region.key, _Run()).made.append(made)

    def again(self, regions: Sequence[Region]) -> Made | None:
        """What this call made when it was run before, if that was within a checkpoint."""
        inner = list(takewhile(lambda region: not region.repeating, regions))
        run = self._made.get(regions[len(inner)].key) if len(inner) < len(regions) else None
        if run is None:
            return None
        made = run.again(backward_number())
        self.record(made, inner)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has made nothing yet."""
        return type(self), ()


@dataclass
class _Run(Generic[Made]):
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
