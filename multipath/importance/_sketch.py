"""Norms of long vectors from a few hundred numbers, and which vectors span the others best."""

from __future__ import annotations

import torch
from torch import Tensor

WIDTH = 512
"""Numbers that a vector is reduced to."""


class Sketch:
    """Random signs and sums of random groups of numbers: keeps norms within a few per cent.

    Args:
        size: Of the vectors; up to ``WIDTH`` they are kept as they are.
        generator: Draws signs and groups.
        like: Says on which device and in which precision.
    """

    def __init__(self, size: int, generator: torch.Generator, like: Tensor) -> None:
        self.width = min(WIDTH, size)
        self.signs: Tensor | None = None
        if size > self.width:
            self.groups = torch.randint(self.width, (size,), generator=generator).to(like.device)
            self.signs = (2 * torch.randint(2, (size,), generator=generator) - 1).to(like)

    def __call__(self, rows: Tensor) -> Tensor:
        """Shape (n, size) to (n, width), in double precision on the CPU."""
        if self.signs is not None:
            rows = rows.new_zeros(len(rows), self.width).index_add_(
                1, self.groups, rows * self.signs
            )
        return rows.double().cpu()


def pivots(rows: Tensor, least: float, most: int) -> Tensor:
    """Rows that span the others best: the longest, then what is longest of the rest of each."""
    chosen: list[int] = []
    rest = rows.clone()
    while len(chosen) < most:
        sizes = torch.linalg.vector_norm(rest, dim=1)
        longest = int(sizes.argmax())
        if sizes[longest] <= least:
            break
        chosen.append(longest)
        direction = rest[longest] / sizes[longest]
        rest = rest - (rest @ direction.conj())[:, None] * direction
    return torch.tensor(chosen, dtype=torch.long)
