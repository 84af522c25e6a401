"""Exactly k distinct paths, each with the probability it should have: systematic sampling.

Lay the expected counts (each at most 1, together k) end to end and take the k points
u, u + 1, ..., u + k - 1 with one uniform u: a segment is hit with a probability that is its length.

Source: W. G. Madow, "On the theory of systematic sampling, II", Annals of Mathematical Statistics
20 (1949); estimates weighted by these probabilities: Horvitz and Thompson, JASA 47 (1952).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

import torch
from torch import Tensor

CERTAIN = 1 - 1e-12
"""A path expected this often is taken always, so that no rounding hits a segment twice.

Not so once a single draw is left, which cannot hit twice: every path then keeps its share."""

SLIVER = 2**50
"""A draw rarer than the rarest path by this factor is rounding error and is not counted."""


def expected_counts(probabilities: Tensor, n_draws: int) -> Tensor:
    r"""How often each path is among k distinct ones: :math:`\min(1, c \pi_p)`, summing to k.

    Args:
        probabilities: :math:`\pi`, shape (P,), of which at least k are positive.
        n_draws: k.

    Example:
        >>> expected_counts(torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64), 2)
        tensor([1.0000, 0.6667, 0.3333], dtype=torch.float64)
    """
    if n_draws == 1:
        return probabilities
    falling, order = probabilities.sort(descending=True, stable=True)
    rest = falling.flip(0).cumsum(0).flip(0)  # mass of this path and all lighter ones
    left = n_draws - torch.arange(len(falling), dtype=torch.float64, device="cpu")
    fits = left * falling < CERTAIN * rest
    n_certain = int(fits.int().argmax()) if bool(fits.any()) else n_draws
    n_certain = min(n_certain, n_draws - 1)
    counts = torch.zeros_like(probabilities)
    counts[order[:n_certain]] = 1.0
    counts[order[n_certain:]] = left[n_certain] * falling[n_certain:] / rest[n_certain]
    return counts


def systematic_points(n_points: int, generator: torch.Generator) -> Tensor:
    """Equally spaced points in [0, 1) behind one uniform number."""
    uniform = torch.rand(1, generator=generator, dtype=torch.float64, device="cpu")
    return (uniform + torch.arange(n_points, device="cpu")) / max(n_points, 1)


def look_up(cumulative: Tensor, points: Tensor) -> Tensor:
    """The positions at which points in [0, 1) fall among cumulative masses, never an empty one."""
    total = cumulative[-1]
    positions = torch.minimum(points * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, positions, right=True)


def enumerate_systematic(counts: Tensor) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every systematic draw, in ascending order, with its probability: at most P of them.

    Computed in integers, so that a path keeps its share however rare it is.

    Args:
        counts: From :func:`expected_counts`.
    """
    certain = counts == 1
    sure = certain.nonzero().flatten().tolist()
    n_points = round(float(counts.sum())) - len(sure)
    if not n_points:
        yield tuple(sure), 1.0
        return
    lengths = as_integers(counts.masked_fill(certain, 0.0))
    total = sum(lengths)  # the distance of the points, where lengths are counted n_points times
    ends = [n_points * end for end in accumulate(lengths)]
    sliver = smallest(lengths) * n_points // SLIVER
    # the draw changes where u, u + 1, ... passes the end of a segment
    changes = [0]
    for end in sorted(end % total for end in ends):
        if changes[-1] + sliver < end < total - sliver:
            changes.append(end)
    for low, high in zip(changes, [*changes[1:], total], strict=True):
        middle = (low + high) // 2
        drawn = [bisect_right(ends, middle + point * total) for point in range(n_points)]
        yield tuple(sorted(sure + drawn)), (high - low) / total


def as_integers(values: Tensor) -> list[int]:
    """Numbers times one power of two that makes all of them integers: exact, as float64 is."""
    ratios = [value.as_integer_ratio() for value in values.tolist()]
    scale = max(denominator for _, denominator in ratios)
    return [numerator * (scale // denominator) for numerator, denominator in ratios]


def smallest(lengths: list[int]) -> int:
    """The smallest that is not zero."""
    return min(length for length in lengths if length)
