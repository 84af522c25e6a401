"""Exactly k distinct paths, each with the probability it should have: systematic sampling.

Lay the expected counts (each at most 1, together k) end to end and take the k points
u, u + 1, ..., u + k - 1 with one uniform u: a segment is hit with a probability that is its length.

Source: W. G. Madow, "On the theory of systematic sampling, II", Annals of Mathematical Statistics
20 (1949); estimates weighted by these probabilities: Horvitz and Thompson, JASA 47 (1952).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CERTAIN = 1 - 1e-12
"""A path expected this often is taken always, so that no rounding hits a segment twice."""


def expected_counts(probabilities: Tensor, n_draws: int) -> Tensor:
    r"""How often each path is among k distinct ones: :math:`\min(1, c \pi_p)`, summing to k.

    Args:
        probabilities: :math:`\pi`, shape (P,), of which at least k are positive.
        n_draws: k.

    Example:
        >>> expected_counts(torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64), 2)
        tensor([1.0000, 0.6667, 0.3333], dtype=torch.float64)
    """
    falling, order = probabilities.sort(descending=True)
    rest = falling.flip(0).cumsum(0).flip(0)  # mass of this path and all lighter ones
    left = n_draws - torch.arange(len(falling), dtype=torch.float64)
    fits = left * falling < CERTAIN * rest
    n_certain = int(fits.int().argmax()) if bool(fits.any()) else n_draws
    n_certain = min(n_certain, n_draws)
    counts = torch.zeros_like(probabilities)
    counts[order[:n_certain]] = 1.0
    if n_certain < n_draws:
        counts[order[n_certain:]] = left[n_certain] * falling[n_certain:] / rest[n_certain]
    return counts


def systematic_points(n_points: int, generator: torch.Generator) -> Tensor:
    """Equally spaced points in [0, 1) behind one uniform number."""
    uniform = torch.rand(1, generator=generator, dtype=torch.float64)
    return (uniform + torch.arange(n_points)) / max(n_points, 1)


def look_up(cumulative: Tensor, points: Tensor) -> Tensor:
    """Where points in [0, 1) fall among cumulative masses; never where there is no mass."""
    total = cumulative[-1]
    positions = torch.minimum(points * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, positions, right=True)


def enumerate_systematic(counts: Tensor) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every systematic draw, in ascending order, with its probability: at most P of them.

    Args:
        counts: From :func:`expected_counts`.
    """
    certain = counts == 1
    sure = certain.nonzero().flatten().tolist()
    n_points = round(float(counts.sum())) - len(sure)
    if not n_points:
        yield tuple(sure), 1.0
        return
    cumulative = counts.masked_fill(certain, 0.0).cumsum(0)
    cumulative = cumulative * (n_points / cumulative[-1])
    # the draw changes where u, u + 1, ... passes the end of a segment
    ends = (cumulative % 1.0).sort().values.tolist()
    changes = [0.0]
    for end in ends:
        if changes[-1] + 1e-13 < end < 1 - 1e-13:
            changes.append(end)
    for low, high in zip(changes, [*changes[1:], 1.0], strict=True):
        points = (low + high) / 2 + torch.arange(n_points)
        drawn = torch.searchsorted(cumulative, points, right=True).tolist()
        yield tuple(sorted(sure + drawn)), high - low
