"""The tables of a results file, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from .cases import AURALOSS, SCRAPL
from .stages import above_filters, process_peak
from .view import (
    Record,
    Results,
    cases,
    contenders,
    faster_per_path,
    path_medians,
    spread,
    stages,
)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[int] = (0,)) -> str:
    """A Markdown table: columns of words to the left, of numbers to the right."""
    rule = ["---" if column in words else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows)) + "\n"


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def quartiles(samples: Sequence[float]) -> str:
    """Median and, from three samples on, quartiles."""
    if not samples:
        return "-"
    found = spread(samples)
    if len(samples) < 3:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)}–{number(found.high)})"


def milliseconds(samples: Sequence[float]) -> str:
    """Seconds as milliseconds, with their quartiles."""
    return quartiles([1e3 * sample for sample in samples])


def cell(record: Record, contender: str) -> str:
    """Time of a contender in a case, marked where it is not this run's or not repeated."""
    found = record["contenders"].get(contender, {})
    text = milliseconds(found.get("seconds", []))
    if found.get("reused"):
        return f"{text} [reused, {found['reused'][:10]}]"
    return text


def _one_path(results: Results, group: str) -> str:
    """Summary over the sampled paths, then path by path."""
    records = list(cases(results, group).values())
    names = contenders(records)
    rows = []
    for name in names:
        ratios = []
        for other in (SCRAPL, AURALOSS):
            found = faster_per_path(results, name, other)
            ratios.append("1" if name == other and found else quartiles(found))
        rows.append([name, milliseconds(path_medians(results, name)), *ratios])
    header = ["one step", "ms", "times faster than scrapl-loss", "than auraloss"]
    by_path = [
        [f"{r['path']} (rate {r['n2']}, scale {r['n_fr']})", *(cell(r, name) for name in names)]
        for r in records
    ]
    return (
        f"Medians of the medians on {len(records)} paths that are spread over all rates, with "
        "quartiles over the paths. Ratios are taken path by path.\n\n"
        f"{table(header, rows)}\nPath by path, ms:\n\n{table(['path', *names], by_path)}"
    )


def _by_case(
    label: Callable[[str, Record], str], first: str, **titles: str
) -> Callable[[Results, str], str]:
    """A table with a row a case and a column a contender."""

    def render(results: Results, group: str) -> str:
        found = cases(results, group)
        names = contenders(list(found.values()))
        rows = [
            [label(name, record), *(cell(record, c) for c in names)]
            for name, record in found.items()
        ]
        return table([first, *(f"{titles.get(name, name)}, ms" for name in names)], rows)

    return render


def _words(name: str, record: Record) -> str:
    return str(record["what"])


def _growth(results: Results, group: str) -> str:
    parts = []
    for axis, title in (("N", "samples"), ("batch", "batch"), ("P", "paths")):
        found = [r for r in cases(results, group).values() if r["axis"] == axis]
        if not found:
            continue
        names = contenders(found)
        built = [name for name in names if any(_constructed(r, name) for r in found)]
        rows = [
            [
                str(r["value"]) if "value" in r else f"{n_paths(r) or '?'} ({r['changes']})",
                *(cell(r, name) for name in names),
                *(milliseconds(_constructed(r, name)) for name in built),
            ]
            for r in found
        ]
        header = [title, *(f"{n}, ms" for n in names), *(f"construct {n}, ms" for n in built)]
        parts.append(table(header, rows))
    return "\n".join(parts)


def _constructed(record: Record, contender: str) -> list[float]:
    """Seconds to construct, if that was measured: once for each new setting."""
    found = record["contenders"].get(contender, {})
    return [found["construct_seconds"]] if "construct_seconds" in found else []


def n_paths(record: Record) -> int | None:
    """P of a case, as the contenders counted it."""
    return next((c["paths"] for c in record["contenders"].values() if "paths" in c), None)


def _memory(results: Results, group: str) -> str:
    found = cases(results, group)
    whole = results["cases"].get("full/jtfs")
    rows = []
    for name, record in found.items():
        held = [(c, stages(record, c)) for c in contenders([record])]
        if name == "memory/full" and whole:
            held += [(c, stages(whole, c)) for c in contenders([whole]) if stages(whole, c)]
        for contender, told in held:
            if not told:
                rows.append([record["what"], contender, *"------"])
                continue
            above = median(above_filters(s) for s in told)
            peak = median(process_peak(s) for s in told)
            imported = median(s["import"]["rest_bytes"] for s in told)
            filters = median(s["construct"]["rest_bytes"] for s in told) - imported
            sizes = [f"{value / 1e6:.0f}" for value in (imported, filters, above, peak)]
            steps = [
                milliseconds([s[step]["seconds"] for s in told if step in s])
                for step in ("step 1", "step 2")
            ]
            rows.append([record["what"], contender, *sizes, *steps])
    header = [
        "", "", "import, MB", "filters, MB", "steps above both, MB", "process, MB",
        "first step, ms", "second, ms",
    ]  # fmt: skip
    return table(header, rows)


def _set_up(results: Results, group: str) -> str:
    rows = []
    for record in cases(results, group).values():
        for name in contenders([record]):
            told = stages(record, name)
            built = milliseconds([s["construct"]["seconds"] for s in told])
            imported = milliseconds([s["import"]["seconds"] for s in told])
            rows.append([record["what"], name, built, imported])
    return table(["", "", "construct, ms", "import, ms"], rows)


def _floor(results: Results, group: str) -> str:
    found = cases(results, group)
    parts = []
    machine = found.get("floor/machine", {}).get("contenders", {}).get("torch", {})
    if "rates" in machine:
        rates = [[name, f"{rate / 1e9:.3g} G/s"] for name, rate in machine["rates"].items()]
        parts.append(table(["the machine, float32", "a second"], rates))
    rows = []
    for record in found.values():
        for name in contenders([record]):
            counted = record["contenders"][name]
            if "fourier_seconds" in counted:
                rows.append([record["what"], name, *_floor_cells(counted, machine)])
    if rows:
        header = [
            "step", "", "Fourier, M points", "alone, ms", "products, GFLOP", "alone, ms",
            "the rest, MB", "at copy speed, ms", "floor, ms", "measured, ms", "share",
        ]  # fmt: skip
        parts.append(
            "Fourier transforms and matrix products of one step, each timed alone in the shape in "
            "which it occurs: their sum is the floor of this implementation. The rest (pointwise "
            "operations, reads and writes) is given at the speed of a copy.\n\n"
            f"{table(header, rows)}"
        )
    return "\n".join(parts)


def _floor_cells(counted: dict[str, Any], machine: dict[str, Any]) -> list[str]:
    least = counted["fourier_seconds"] + counted["product_seconds"]
    measured = median(counted["seconds"])
    copy = machine.get("rates", {}).get("copy: bytes")
    return [
        number(counted["fourier_points"] / 1e6),
        number(1e3 * counted["fourier_seconds"]),
        number(counted["product_flops"] / 1e9),
        number(1e3 * counted["product_seconds"]),
        number(counted["other_bytes"] / 1e6),
        number(1e3 * counted["other_bytes"] / copy) if copy else "-",
        number(1e3 * least),
        number(1e3 * measured),
        f"{least / measured:.0%}",
    ]


def skipped(results: Results) -> list[str]:
    """One line for everything that is missing, with its reason."""
    reasons: dict[str, list[str]] = {}
    for case, record in results["cases"].items():
        for name, found in record["contenders"].items():
            if "skipped" in found:
                reasons.setdefault(f"{name}: {found['skipped']}", []).append(case)
    return [
        f"- {reason} ({', '.join(where) if len(where) < 4 else f'{len(where)} cases'})"
        for reason, where in reasons.items()
    ]


SECTIONS: dict[str, tuple[str, Callable[[Results, str], str]]] = {
    "one-path": ("One path", _one_path),
    "k-paths": (
        "Several paths in one step",
        _by_case(_words, "", **{SCRAPL: f"{SCRAPL}, one path"}),
    ),
    "per-rate": ("All scales of one rate", _by_case(lambda n, r: str(r["n2"]), "rate n2")),
    "full": ("All paths", _by_case(_words, "")),
    "scattering1d": ("Scattering over time", _by_case(_words, "")),
    "scattering2d": ("Scattering of images", _by_case(_words, "")),
    "mrstft": ("Multi-resolution STFT", _by_case(_words, "")),
    "draws": ("A step of training", _by_case(_words, "")),
    "memory": ("Memory", _memory),
    "set-up": ("Set-up", _set_up),
    "growth": ("Growth of one path", _growth),
    "floor": ("The floor", _floor),
}
