"""Extension of signals beyond their ends."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Mode: TypeAlias = Literal[
    "periodization", "periodic", "symmetric", "antisymmetric", "reflect", "constant", "zero"
]


def extend(x: Tensor, n_taps: int, mode: Mode) -> Tensor:
    """Signals (..., T) extended to the left and to the right for a filter of so many taps.

    Frames of ``n_taps`` samples that start at every second sample then give as many coefficients as
    PyWavelets does: T / 2, rounded up, with periodization, and otherwise (T + n_taps - 1) / 2,
    rounded down.
    """
    length = x.shape[-1]
    if mode == "periodization":
        left, count = n_taps // 2 - 1, (length + 1) // 2
    else:
        left, count = n_taps - 2, (length + n_taps - 1) // 2
    right = 2 * (count - 1) + n_taps - left - length
    if mode == "zero":
        return torch.nn.functional.pad(x, (left, right))
    before = _outside(x, np.arange(-left, 0), mode)
    after = _outside(x, np.arange(length, length + right), mode)
    return torch.cat([before, x, after], dim=-1)


def _outside(x: Tensor, positions: NDArray[Any], mode: Mode) -> Tensor:
    """The samples at positions outside of the signal."""
    sources, signs = _sources(positions, x.shape[-1], mode)
    values = x.index_select(-1, torch.from_numpy(sources).to(x.device))
    return values if signs is None else values * torch.from_numpy(signs).to(values)


def _sources(
    positions: NDArray[Any], length: int, mode: Mode
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Which sample stands at each position, and its sign if that varies."""
    last = length - 1
    match mode:
        case "periodization":  # the period is even: an odd length repeats its last sample
            return np.minimum(positions % (length + length % 2), last), None
        case "periodic":
            return positions % length, None
        case "constant":
            return positions.clip(0, last), None
        case "reflect":  # mirrored at the end samples, which appear once
            around = positions % max(2 * last, 1)
            return np.minimum(around, 2 * last - around), None
        case _:  # mirrored beside the end samples, which appear twice
            around = positions % (2 * length)
            mirrored = around > last
            sources = np.where(mirrored, 2 * length - 1 - around, around)
            return sources, np.where(mirrored, -1.0, 1.0) if mode == "antisymmetric" else None
