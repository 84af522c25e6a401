"""How much to compute at once, and where the memory for it comes from."""

from __future__ import annotations

import torch

# Numbers in a tile. On a processor, few enough to stay in its cache, enough to keep every core
# busy; an accelerator wants few launches instead.
CPU_TILE = 2**20
ACCELERATOR_TILE = 2**27
# The largest block that teaches glibc's allocator to keep memory, in bytes.
KEPT_BLOCK = 2**25 - 2**12


def tile_numbers(device: torch.device) -> int:
    """How many numbers to hold at once on a device."""
    return CPU_TILE if device.type == "cpu" else ACCELERATOR_TILE


def tile_size(numbers: int, device: torch.device) -> int:
    """How many items of so many numbers to treat at once, at least one."""
    return max(1, tile_numbers(device) // numbers)


def keep_freed_memory() -> None:
    """Have the tiles of one step reuse the memory of the step before.

    glibc hands freed memory back to the system, page by page to be faulted in again, beyond a
    threshold that it raises to twice the largest block it has seen freed, blocks of 32 MiB at most.
    So one such block is made and freed. It is never touched, hence costs nothing; elsewhere it has
    no effect. Page faults were a quarter of a step's time.
    """
    torch.empty(KEPT_BLOCK, dtype=torch.uint8)
