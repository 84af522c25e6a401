"""One visit of a path: the parameters that are updated together, and their state."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._foreach import mix, round_into
from ._shards import local


@dataclass(frozen=True, eq=False)
class Visit:
    r"""One visit of a path by parameters of one group, device, dtype and history.

    Tensors are read and written by name, as lists over the parameters; numbers are the same for
    all these parameters.

    Attributes:
        path: Index of the path (or group of paths) drawn.
        weight: What the draw multiplies the path's update by.
        gradients: Gradient of the unweighted loss of the path, of each parameter, in the dtype of
            the arithmetic: that of the parameter, at least float32. Not to be changed in place.
        group: Hyperparameters.
        states: State of each parameter.
        entries: State of each parameter for this path.
        first: Whether the path was never visited before.
        elapsed: Time since the last visit, in passes over the paths.
        age: Time since the first step, in passes: the sum of ``elapsed`` over all visits.
        scratch: From a name and a dtype to memory for intermediate results.
        seed: Decides the rounding of this visit.
    """

    path: int
    weight: float
    gradients: list[Tensor]
    group: dict[str, Any]
    states: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    first: bool
    elapsed: float
    age: float
    scratch: Callable[[str, torch.dtype], list[Tensor]]
    seed: int

    def read(self, name: str) -> list[Tensor]:
        """Tensors of the path: themselves if of the dtype of the arithmetic, else copies."""
        stored = self._stored(name)
        if stored[0].dtype == self.gradients[0].dtype:
            return stored
        return self.copy("stored " + name, stored)

    def write(self, name: str, values: list[Tensor]) -> None:
        """Keep what :meth:`read` gave, changed in place since; it becomes what was stored."""
        stored = self._stored(name)
        if stored[0].dtype != values[0].dtype:
            noise = self.scratch("noise", torch.int32)
            round_into(stored, values, noise, mix(self.seed, zlib.crc32(name.encode())))

    def copy(self, name: str, values: list[Tensor]) -> list[Tensor]:
        """Values in the dtype of the arithmetic, in scratch memory of that name."""
        copies = self.scratch(name, self.gradients[0].dtype)
        torch._foreach_copy_(copies, values)
        return copies

    def own(self, name: str) -> list[Tensor]:
        """Tensors of the parameters that belong to no path."""
        return [local(state[name]) for state in self.states]

    def note(self, **numbers: float) -> None:
        """Keep numbers with the path."""
        for entry in self.entries:
            entry.update(numbers)

    def _stored(self, name: str) -> list[Tensor]:
        return [local(entry[name]) for entry in self.entries]
