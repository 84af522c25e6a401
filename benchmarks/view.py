"""Medians, quartiles and ratios of samples, and the questions that reports ask the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median, quantiles
from typing import Any, NamedTuple

from .cases import CONTENDERS
from .stages import Stages

Results = dict[str, Any]
Record = dict[str, Any]

ORDER = tuple(dict.fromkeys(name for name, _ in CONTENDERS.values()))


class Spread(NamedTuple):
    """Quartiles of some samples."""

    low: float
    median: float
    high: float


def spread(samples: Sequence[float]) -> Spread:
    """Summary of at least one sample; a single one is its own quartiles."""
    if len(samples) == 1:
        return Spread(*samples, *samples, *samples)
    return Spread(*quantiles(samples, n=4, method="inclusive"))


def middle(samples: Iterable[float]) -> float | None:
    """The median, None where there is no sample."""
    found = [*samples]
    return median(found) if found else None


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


def faster_per_path(results: Results, contender: str, other: str) -> list[float]:
    """By which factors a contender is faster than another on the same path, over paths."""
    names = cases(results, "one-path")
    factors = [faster(results, name, contender, other) for name in names]
    return [factor for factor in factors if factor is not None]


def faster(results: Results, case: str, contender: str, other: str) -> float | None:
    """By which factor a contender is faster than another in one case, by their medians."""
    record = results["cases"].get(case)
    ours, theirs = seconds(record, contender), seconds(record, other)
    return median(theirs) / median(ours) if ours and theirs else None


def in_processes(
    results: Results, case: str, contender: str, what: Callable[[Stages], float]
) -> float | None:
    """Median of what fresh processes told of a contender."""
    return middle(map(what, stages(results["cases"].get(case), contender)))
