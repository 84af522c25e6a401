"""What the project asks of itself, and whether the results meet it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .cases import (
    AURALOSS,
    DRAWS,
    EXACT,
    IMAGES,
    KYMATIO,
    MSS,
    OLDER,
    REDUCED,
    SCATTERING,
    SCRAPL,
)
from .stages import Stages, above_filters, constructed_bytes, construction, process_peak
from .tables import table
from .view import Results, cases, faster, faster_per_path, in_processes, middle

FASTER, TIMES, MEGABYTES, SECONDS = "{:.2f}x faster", "{:.2f}x its time", "{:.0f} MB", "{:.2f} s"


@dataclass(frozen=True)
class Target:
    """One line of the table.

    Args:
        what: In words.
        at_least: The bound that has to be met.
        aim: The bound that is hoped for, None where there is none.
        text: A value as the table shows it, a format string; more of it is better if it is FASTER.
        measure: The value in some results, None where it was not measured.
    """

    what: str
    at_least: float
    aim: float | None
    text: str
    measure: Callable[[Results], float | None]

    def row(self, results: Results) -> list[str]:
        """What, at least, aim, measured, met."""
        value = self.measure(results)
        bounds = [self._show(self.at_least), self._show(self.aim)]
        if self.text != FASTER:
            bounds = [bound if bound == "-" else f"at most {bound}" for bound in bounds]
        return [self.what, *bounds, self._show(value), self._verdict(value)]

    def _verdict(self, value: float | None) -> str:
        if value is None:
            return "not measured"
        if self.aim is not None and self._reaches(value, self.aim):
            return "aim reached"
        return "yes" if self._reaches(value, self.at_least) else "no"

    def _reaches(self, value: float, bound: float) -> bool:
        return value >= bound if self.text == FASTER else value <= bound

    def _show(self, value: float | None) -> str:
        return "-" if value is None else self.text.format(value)


def _on_paths(contender: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: middle(faster_per_path(results, contender, other))


def _in(case: str, contender: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: faster(results, case, contender, other)


def _older(case: str, contender: str) -> Callable[[Results], float | None]:
    return _in(case, contender, OLDER)


def _told(
    case: str, contender: str, what: Callable[[Stages], float], unit: float = 1.0
) -> Callable[[Results], float | None]:
    return lambda results: in_processes(results, case, contender, lambda s: what(s) / unit)


TARGETS = (
    Target("one path, exact, against scrapl-loss", 5.5, 8, FASTER, _on_paths(EXACT, SCRAPL)),
    Target(
        "one path, exact, against auraloss's multi-resolution STFT loss",
        1.0, 0.75, TIMES, _on_paths(AURALOSS, EXACT),
    ),
    Target("one path, reduced, against the same", 0.75, 0.5, TIMES, _on_paths(AURALOSS, REDUCED)),
    Target(
        "16 random paths, exact, against one path of scrapl-loss",
        1.2, 2, FASTER, _in("k-paths/16", EXACT, SCRAPL),
    ),
    Target(
        "8 energy draws, reduced, targets cached, against mss-log",
        2, 1.2, TIMES, _in("draws/energy", MSS, DRAWS),
    ),
    Target(
        "all paths, exact, against kymatio's JTFS",
        30, 60, FASTER, _in("full/jtfs", EXACT, KYMATIO),
    ),
    Target(
        "all paths, exact, against an older state", 1.2, 1.5, FASTER, _older("full/jtfs", EXACT)
    ),
    Target(
        "all paths, exact: memory of the whole process",
        1000, None, MEGABYTES, _told("memory/full", EXACT, process_peak, 1e6),
    ),
    Target(
        "Scattering1D against kymatio",
        10, 20, FASTER, _in("scattering1d/all", SCATTERING, KYMATIO),
    ),
    Target(
        "Scattering1D against an older state",
        1.2, 1.5, FASTER, _older("scattering1d/all", SCATTERING),
    ),
    Target(
        "Scattering2D against an older state", 1.5, 3, FASTER, _older("scattering2d/all", IMAGES)
    ),
    Target(
        "one path, exact: memory above import and filters",
        100, 60, MEGABYTES, _told("memory/one path", EXACT, above_filters, 1e6),
    ),
    Target(
        "construction of JTFS", 2, 0.5, SECONDS, _told("set-up/jtfs", EXACT, construction)
    ),
    Target(
        "construction of Scattering1D for a long recording",
        4, 1, SECONDS, _told("set-up/recording", SCATTERING, construction),
    ),
    Target(
        "the same: memory",
        800, 200, MEGABYTES, _told("set-up/recording", SCATTERING, constructed_bytes, 1e6),
    ),
)  # fmt: skip


def apply_to(results: Results) -> bool:
    """Whether the targets speak of these results: they are set for the granular setting."""
    return bool(results["conditions"]["setting"] == "granular" and cases(results, "one-path"))


def target_table(results: Results) -> str:
    """All targets in Markdown."""
    header = ["target", "at least", "aim", "measured", "met"]
    return table(header, [target.row(results) for target in TARGETS])
