"""Extension of signals beyond their ends."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
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
    before = _outside(x, torch.arange(-left, 0, device="cpu"), mode)
    after = _outside(x, torch.arange(length, length + right, device="cpu"), mode)
    return torch.cat([before, x, after], dim=-1)


def _outside(x: Tensor, positions: Tensor, mode: Mode) -> Tensor:
    """The samples at positions outside of the signal."""
    sources, signs = _sources(positions, x.shape[-1], mode)
    values = x.index_select(-1, sources.to(x.device, non_blocking=True))
    return values if signs is None else values * signs.to(values, non_blocking=True)


def _sources(positions: Tensor, length: int, mode: Mode) -> tuple[Tensor, Tensor | None]:
    """Which sample stands at each position, and its sign if that varies."""
    last = length - 1
    match mode:
        case "periodization":  # the period is even: an odd length repeats its last sample
            return (positions % (length + length % 2)).clamp(max=last), None
        case "periodic":
            return positions % length, None
        case "constant":
            return positions.clamp(0, last), None
        case "reflect":  # mirrored at the end samples, which appear once
            around = positions % max(2 * last, 1)
            return torch.minimum(around, 2 * last - around), None
        case _:  # mirrored beside the end samples, which appear twice
            around = positions % (2 * length)
            mirrored = around > last
            sources = torch.where(mirrored, 2 * length - 1 - around, around)
            return sources, torch.where(mirrored, -1.0, 1.0) if mode == "antisymmetric" else None
