"""Some rows of a tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def take(x: Tensor, positions: Sequence[int], dim: int) -> Tensor:
    """Rows at increasing positions along a dimension, a view if they are consecutive.

    Indexing by a list would copy the list from host to device and wait for it.
    """
    first, last = positions[0], positions[-1]
    if last - first + 1 == len(positions):
        return x.narrow(dim, first, len(positions))
    return torch.stack([x.select(dim, position) for position in positions], dim)
