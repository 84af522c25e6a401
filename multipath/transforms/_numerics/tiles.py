"""How much to compute at once, and where the memory for it comes from."""

from __future__ import annotations

from typing import TypeAlias

import torch

# Numbers in a tile. On a CPU they must be few enough to stay in its larger caches and enough to
# keep every core busy; an accelerator wants few launches instead.
CPU_TILE = 2**21
ACCELERATOR_TILE = 2**27
# The largest block, in bytes, whose release makes glibc's allocator keep memory.
KEPT_BLOCK = 2**25 - 2**12
# Tiles of signals, and of how many signals in each a gradient is wanted.
SignalTiles: TypeAlias = list[tuple[slice, int]]


def tile_size(numbers: int, device: torch.device) -> int:
    """How many items of so many numbers to treat at once: a power of two, at least one."""
    tile = CPU_TILE if device.type == "cpu" else ACCELERATOR_TILE
    return 1 << max(1, tile // numbers).bit_length() - 1


def signal_tiles(n_signals: int, size: int, wanted: int) -> SignalTiles:
    """Signals in tiles, and of how many signals in each a gradient is wanted.

    Unless one tile holds all signals, a gradient is wanted of all in a tile or of none: directions
    take the place of planes in memory, and to keep a part of that memory is to keep it all.

    Args:
        n_signals: Number of signals.
        size: Most signals in a tile.
        wanted: A gradient is wanted of so many signals, the first ones.
    """
    if n_signals <= size:
        return [(slice(0, n_signals), wanted)]
    tiles = [
        slice(start, min(start + size, last))
        for first, last in ((0, wanted), (wanted, n_signals))
        for start in range(first, last, size)
    ]
    return [(tile, tile.stop - tile.start if tile.start < wanted else 0) for tile in tiles]


def largest_tile(tiles: SignalTiles) -> int:
    """The most signals in one of the tiles."""
    largest: int = max(tile.stop - tile.start for tile, _ in tiles)
    return largest


def keep_freed_memory() -> None:
    """Make the tiles of one step reuse the memory of the step before.

    Above a threshold, glibc returns freed memory to the system, from where it must be faulted in
    again page by page: that took a quarter of the time of a step. glibc raises the threshold to
    twice the largest block that it has seen freed, counting blocks of up to 32 MiB. So one such
    block is made and freed here. It is never touched and hence costs nothing; with other allocators
    it has no effect.
    """
    torch.empty(KEPT_BLOCK, dtype=torch.uint8, device="cpu")
