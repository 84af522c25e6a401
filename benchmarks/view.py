"""Medians, quartiles and ratios of samples, and the questions that reports ask the results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from .cases import AURALOSS, EXACT, KYMATIO, REDUCED, SCATTERING, SCRAPL, STFT
from .stages import above_filters, process_peak

Results = dict[str, Any]
Record = dict[str, Any]

ORDER = (EXACT, REDUCED, SCATTERING, STFT, SCRAPL, AURALOSS, KYMATIO)


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


def cases(results: Results, group: str) -> dict[str, Record]:
    """The measured cases of a group, by name."""
    return {n: r for n, r in results["cases"].items() if r["group"] == group}


def contenders(records: Sequence[Record]) -> list[str]:
    """Everybody who takes part in some of the cases, in the order of the tables."""
    present = {name for record in records for name in record["contenders"]}
    return [name for name in ORDER if name in present]


def seconds(record: Record | None, contender: str) -> list[float]:
    """Samples of a contender's step; none where it was not measured."""
    found = (record or {}).get("contenders", {}).get(contender, {})
    return list(found.get("seconds", []))


def stages(record: Record | None, contender: str) -> list[dict[str, Any]]:
    """What fresh processes told of a contender."""
    found = (record or {}).get("contenders", {}).get(contender, {})
    return list(found.get("stages", []))


def path_medians(results: Results, contender: str) -> list[float]:
    """Median seconds on each path of the one-path group."""
    samples = [seconds(r, contender) for r in cases(results, "one-path").values()]
    return [median(s) for s in samples if s]


def faster_per_path(results: Results, contender: str, other: str) -> Spread | None:
    """By which factor a contender is faster than another on the same path, over paths."""
    pairs = [
        (seconds(record, other), seconds(record, contender))
        for record in cases(results, "one-path").values()
    ]
    complete = [(a, b) for a, b in pairs if a and b]
    return paired_ratio(complete) if complete else None


def faster(results: Results, case: str, contender: str, other: str) -> float | None:
    """By which factor a contender is faster than another in one case."""
    record = results["cases"].get(case)
    ours, theirs = seconds(record, contender), seconds(record, other)
    return ratio(theirs, ours) if ours and theirs else None


def step_above_filters(results: Results, case: str, contender: str) -> float | None:
    """Median bytes of steps on top of import and filters."""
    found = [above_filters(s) for s in stages(results["cases"].get(case), contender)]
    values = [value for value in found if value is not None]
    return median(values) if values else None


def peak(results: Results, case: str, contender: str) -> float | None:
    """Median of the most bytes a process held."""
    values = [process_peak(s) for s in stages(results["cases"].get(case), contender)]
    return median(values) if values else None


def construction(results: Results, case: str, contender: str) -> Spread | None:
    """Seconds to construct in a fresh process."""
    values = [s["construct"]["seconds"] for s in stages(results["cases"].get(case), contender)]
    return spread(values) if values else None
