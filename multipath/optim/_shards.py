"""Distributed tensors: the part that a rank holds, and which part that is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PLAIN = (Tensor, torch.nn.Parameter)  # asking them for an attribute that they lack is slow


def local(tensor: Tensor) -> Tensor:
    """The part of a distributed tensor that this rank holds; any other tensor as it is.

    All that path-wise optimizers do is elementwise, so the parts need not know of each other.
    """
    if type(tensor) in PLAIN:
        return tensor
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def shard(tensor: Any) -> dict[str, Any] | None:
    """Which part of a distributed tensor this rank holds, in plain values; None for a whole one."""
    if not hasattr(tensor, "placements"):
        return None
    mesh, placements = tensor.device_mesh, tensor.placements
    coordinate = mesh.get_coordinate() or [0] * mesh.ndim
    return {
        "placements": [str(placement) for placement in placements],
        "mesh": list(mesh.shape),
        "coordinate": [
            0 if placement.is_replicate() else place
            for placement, place in zip(placements, coordinate, strict=True)
        ],
        "shape": list(tensor.to_local().shape),
    }
