"""How much to compute at once, and where the memory for it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch

# Numbers in a tile. On a processor, few enough to stay in its cache, enough to keep every core
# busy; an accelerator wants few launches instead.
CPU_TILE = 2**20
ACCELERATOR_TILE = 2**27
# Some signals, and of how many of them a gradient is wanted.
SignalTiles: TypeAlias = Iterator[tuple[slice, int]]
# The largest block that teaches glibc's allocator to keep memory, in bytes.
KEPT_BLOCK = 2**25 - 2**12


def tile_numbers(device: torch.device) -> int:
    """How many numbers to hold at once on a device."""
    return CPU_TILE if device.type == "cpu" else ACCELERATOR_TILE


def tile_size(numbers: int, device: torch.device) -> int:
    """How many items of so many numbers to treat at once, at least one: a power of two."""
    most = max(1, tile_numbers(device) // numbers)
    return 1 << most.bit_length() - 1


def signal_tiles(n_signals: int, size: int, wanted: int) -> SignalTiles:
    """Signals in tiles, and of how many in each a gradient is wanted: all, none, or all there are.

    Directions are kept in place of planes; a tile half kept would be kept as a whole.
    """
    if n_signals <= size:
        yield slice(0, n_signals), wanted
        return
    for first, last in ((0, wanted), (wanted, n_signals)):
        for start in range(first, last, size):
            stop = min(start + size, last)
            yield slice(start, stop), stop - start if first < wanted else 0


def keep_freed_memory() -> None:
    """Have the tiles of one step reuse the memory of the step before.

    glibc hands freed memory back to the system, page by page to be faulted in again, beyond a
    threshold that it raises to twice the largest block it has seen freed, blocks of 32 MiB at most.
    So one such block is made and freed. It is never touched, hence costs nothing; elsewhere it has
    no effect. Page faults were a quarter of a step's time.
    """
    torch.empty(KEPT_BLOCK, dtype=torch.uint8)
