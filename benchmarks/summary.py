"""Medians, quartiles and ratios of samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some samples."""

    median: float
    low: float
    high: float
    count: int


def spread(samples: Sequence[float]) -> Spread:
    """Summary of at least one sample; a single one is its own quartiles."""
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0], 1)
    low, middle, high = quantiles(samples, n=4, method="inclusive")
    return Spread(middle, low, high, len(samples))


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Ratio of the medians of samples that were taken in turn."""
    return median(numerator) / median(denominator)


def paired_ratio(pairs: Iterable[tuple[Sequence[float], Sequence[float]]]) -> Spread:
    """Summary over paths of the ratio of medians on each path."""
    return spread([ratio(numerator, denominator) for numerator, denominator in pairs])
