"""Bookkeeping (draws, weights, probabilities, measurements) is float64 and lives on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def bookkept(values: Any) -> Tensor:
    """Copy numbers of any kind to float64 on the CPU, detached from the graph.

    A tensor is moved before it is converted, since not every device has float64.

    Raises:
        TypeError, ValueError, RuntimeError: As :func:`torch.tensor`, if they are not numbers.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu().to(torch.float64, copy=True)
    if isinstance(values, np.ndarray):  # of any layout and byte order
        return torch.from_numpy(values.astype(np.float64, order="C", casting="same_kind"))
    return torch.tensor(values, dtype=torch.float64, device="cpu")


def has_float64(like: Tensor) -> bool:
    """Whether the device of a tensor has float64, which not every accelerator does."""
    try:
        like.new_zeros(1, dtype=torch.float64)
    except Exception:  # which one it is depends on the backend
        return False
    return True


def widened(values: Tensor) -> Tensor:
    """A tensor in float64, with its graph: where it is, or on the CPU if its device has none."""
    return values.double() if has_float64(values) else values.cpu().double()
