"""What the project asks of itself, and whether the results meet it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .cases import AURALOSS, EXACT, KYMATIO, REDUCED, SCATTERING, SCRAPL
from .view import (
    Results,
    Spread,
    cases,
    construction,
    faster,
    faster_per_path,
    peak,
    step_above_filters,
)

Verdict = Literal["no", "yes", "aim reached", "not measured"]


@dataclass(frozen=True)
class Target:
    """One line of the table.

    Args:
        what: In words.
        at_least: The bound that has to be met.
        aim: The bound that is hoped for, None where there is none.
        measure: The value in some results, None where it was not measured.
        text: A value as the table shows it, a format string.
        higher: Whether more is better.
    """

    what: str
    at_least: float
    aim: float | None
    measure: Callable[[Results], float | None]
    text: str
    higher: bool = True

    def verdict(self, results: Results) -> Verdict:
        """Whether the results meet it."""
        value = self.measure(results)
        if value is None:
            return "not measured"
        if self.aim is not None and self._reaches(value, self.aim):
            return "aim reached"
        return "yes" if self._reaches(value, self.at_least) else "no"

    def _reaches(self, value: float, bound: float) -> bool:
        return value >= bound if self.higher else value <= bound

    def show(self, value: float | None) -> str:
        """A value, or a dash."""
        return "-" if value is None else self.text.format(value)


def _median(found: Spread | None) -> float | None:
    return None if found is None else found.median


def _per_path(contender: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: _median(faster_per_path(results, contender, other))


def _megabytes(value: float | None) -> float | None:
    return None if value is None else value / 1e6


FASTER, TIMES, MEGABYTES, SECONDS = "{:.1f}x faster", "{:.2f}x its time", "{:.0f} MB", "{:.2f} s"

TARGETS = (
    Target(
        "one path, exact, against scrapl-loss",
        6,
        10,
        _per_path(EXACT, SCRAPL),
        FASTER,
    ),
    Target(
        "one path, exact, against auraloss's multi-resolution STFT loss",
        1.5,
        1.0,
        _per_path(AURALOSS, EXACT),
        TIMES,
        higher=False,
    ),
    Target(
        "one path, reduced, against the same",
        0.75,
        0.5,
        _per_path(AURALOSS, REDUCED),
        TIMES,
        higher=False,
    ),
    Target(
        "16 random paths, exact, against one path of scrapl-loss",
        1,
        2,
        lambda results: faster(results, "k-paths/16", EXACT, SCRAPL),
        FASTER,
    ),
    Target(
        "all paths, exact, against kymatio's JTFS",
        30,
        60,
        lambda results: faster(results, "full/jtfs", EXACT, KYMATIO),
        FASTER,
    ),
    Target(
        "all paths, exact: memory of the whole process",
        1000,
        None,
        lambda results: _megabytes(peak(results, "memory/full", EXACT)),
        MEGABYTES,
        higher=False,
    ),
    Target(
        "Scattering1D against kymatio",
        10,
        20,
        lambda results: faster(results, "scattering1d/all", SCATTERING, KYMATIO),
        FASTER,
    ),
    Target(
        "one path, exact: memory above import and filters",
        100,
        60,
        lambda results: _megabytes(step_above_filters(results, "memory/one path", EXACT)),
        MEGABYTES,
        higher=False,
    ),
    Target(
        "construction of JTFS",
        2,
        0.5,
        lambda results: _median(construction(results, "set-up/jtfs", EXACT)),
        SECONDS,
        higher=False,
    ),
)


def target_rows(results: Results) -> list[list[str]]:
    """What, at least, aim, measured, met."""
    rows = []
    for target in TARGETS:
        bounds = [target.show(target.at_least), target.show(target.aim)]
        if not target.higher:
            bounds = [bound if bound == "-" else f"at most {bound}" for bound in bounds]
        value = target.measure(results)
        rows.append([target.what, *bounds, target.show(value), target.verdict(results)])
    return rows


def apply_to(results: Results) -> bool:
    """Whether the targets speak of these results: they are set for the granular setting."""
    return bool(results["conditions"]["setting"] == "granular" and cases(results, "one-path"))
