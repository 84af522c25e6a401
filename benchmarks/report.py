"""Render results: a Markdown report, a plot, and the performance section of the README.

python -m benchmarks.report benchmarks/results/full.json --readme README.md [--check]
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .cases import AURALOSS, EXACT, KYMATIO, REDUCED, SCATTERING, SCRAPL, STFT
from .stages import above_filters, construction, process_peak
from .store import ResultsError, read, write_atomically
from .tables import SECTIONS, number, skipped, table
from .targets import apply_to, target_table
from .view import (
    Results,
    cases,
    faster,
    faster_per_path,
    in_processes,
    middle,
    path_medians,
    seconds,
)

START, END = "<!-- performance:start -->", "<!-- performance:end -->"
RESULTS = Path(__file__).parent / "results"


def markdown(results: Results, plot: str | None = None) -> str:
    """The whole report."""
    parts = ["# Benchmarks", conditions(results)]
    if apply_to(results):
        parts += ["## Targets", target_table(results)]
    if plot:
        parts.append(f"![the same as a plot]({plot})")
    for group, (title, render) in SECTIONS.items():
        if cases(results, group):
            parts += [f"## {title}", render(results, group)]
    if missing := skipped(results):
        parts += ["## Not measured", "\n".join(missing)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def conditions(results: Results) -> str:
    """What a step is, where it was measured, and with which versions."""
    common = results["conditions"]
    arguments = ", ".join(
        f"{name}={tuple(value) if isinstance(value, list) else value}"
        for name, value in common["settings"].items()
    )
    lines = [
        f"One step is forward of the input, forward of the target without gradient, and backward "
        f"to the input: float32, batch {common['batch']} unless said otherwise, setting "
        f"`{common['setting']}` ({arguments}), {_threads(results)}. Medians, with "
        "quartiles in brackets; all contenders of a line were measured in turn in one run. "
        "Numbers of one machine compare with each other only: quote ratios.",
        "",
    ]
    if "older" in common:
        lines[0] += f" The older state of multipath is that of `{common['older']}`."
    for run in results["runs"]:
        machine = run["machine"]
        lines.append(
            f"- {run['date']}: {machine['processor']}, {machine['cores']} cores, "
            f"{machine['system']}; {versions(run['ours'])}; "
            f"peers: {versions(run['peers']) or 'none'}"
        )
    return "\n".join(lines)


def _threads(results: Results) -> str:
    count = results["conditions"]["threads"]
    return "1 thread" if count == 1 else f"{count} threads"


def versions(found: dict[str, Any]) -> str:
    """Names and versions, as far as known."""
    return ", ".join(f"{name} {value}" for name, value in found.items() if value is not None)


def readme_section(results: Results) -> str:
    """What the README says between its markers."""
    run = results["runs"][-1]
    common = results["conditions"]
    n_samples = common["settings"]["n_samples"]
    parts = [
        f"One step (forward, target, backward to the samples) at batch {common['batch']} of "
        f"{n_samples} samples, medians, measured side by side: {run['machine']['processor']}, "
        f"{_threads(results)}, torch {run['ours'].get('torch')}, {run['date'][:10]}. Ratios "
        "are of times measured in turns (for one path, medians over the paths), not of two rows.",
        table(["one step", "ms", "that is"], _rows(results)),
    ]
    if costs := _costs(results):
        parts.append(f"Memory and set-up: {', '.join(costs)}.")
    parts.append(
        "All numbers: "
        "[benchmarks/results/full.md](benchmarks/results/full.md). `make bench` measures yours."
    )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _rows(results: Results) -> list[list[str]]:
    rows: list[list[str]] = []

    def add(
        label: str, samples: list[float], *against: tuple[float | None, str], note: str = ""
    ) -> None:
        if samples:
            said = ", ".join(_against(factor, other) for factor, other in against if factor)
            rows.append([label, number(1e3 * median(samples)), said or note])

    for name, label, others in (
        (EXACT, "JTFS, one path", (SCRAPL, AURALOSS)),
        (REDUCED, "JTFS, one path, reduced rates", (SCRAPL, AURALOSS)),
        (SCRAPL, "scrapl-loss, one path", ()),
        (AURALOSS, "auraloss, multi-resolution STFT", ()),
    ):
        factors = [(middle(faster_per_path(results, name, other)), other) for other in others]
        add(label, path_medians(results, name), *factors)
    for case, name, label, other, other_words in (
        ("k-paths/16", EXACT, "JTFS, 16 random paths together", SCRAPL, "one path of scrapl-loss"),
        ("full/jtfs", EXACT, "JTFS, all paths", KYMATIO, KYMATIO),
        ("full/jtfs", REDUCED, "JTFS, all paths, reduced rates", KYMATIO, KYMATIO),
        ("full/jtfs", KYMATIO, "kymatio, JTFS, all paths", "", ""),
        ("scattering1d/all", SCATTERING, "Scattering1D, all paths", KYMATIO, KYMATIO),
        ("scattering1d/all", KYMATIO, "kymatio, Scattering1D", "", ""),
        ("mrstft/three", STFT, "multi-resolution STFT", AURALOSS, AURALOSS),
    ):
        record = results["cases"].get(case, {"contenders": {}})
        reused = record["contenders"].get(name, {}).get("reused")
        note = f"measured {reused[:10]}" if reused else ""
        factor = faster(results, case, name, other)
        add(label, seconds(record, name), (factor, other_words), note=note)
    return rows


def _against(factor: float, other: str) -> str:
    if factor >= 1:
        return f"{number(factor)}x faster than {other}"
    return f"{number(1 / factor)}x the time of {other}"


def _costs(results: Results) -> list[str]:
    """Memory and set-up, in words."""
    parts = []
    for case, what, unit, text in (
        (
            "memory/one path",
            above_filters,
            1e6,
            "one path takes {:.0f} MB above import and filters",
        ),
        ("memory/full", process_peak, 1e6, "all paths a process of {:.0f} MB"),
        ("set-up/jtfs", construction, 1, "construction {:.2g} s"),
    ):
        value = in_processes(results, case, EXACT, what)
        if value is not None:
            parts.append(text.format(value / unit))
    return parts


def update_readme(readme: Path, results: Results, check: bool) -> bool:
    """Render the section, or only compare: whether the README says what the results say.

    Raises:
        ResultsError: If the README does not hold both markers, in order.
    """
    text = readme.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ResultsError(f"the README needs the lines {START} and {END}, in this order")
    wanted = f"{before}{START}\n\n{readme_section(results)}\n{END}{after}"
    if check:
        for line in difflib.unified_diff(
            text.splitlines(), wanted.splitlines(), str(readme), "results", lineterm="", n=0
        ):
            print(line)
        return wanted == text
    write_atomically(readme, wanted)
    return True


def write_report(results: Results, path: Path, with_plot: bool = True) -> None:
    """Markdown and plot beside the JSON file."""
    plot = path.with_suffix(".png")
    if with_plot:
        from .plots import draw

        write_atomically(plot, draw(results))
    shown = plot.name if plot.exists() else None
    write_atomically(path.with_suffix(".md"), markdown(results, shown))


def main(arguments: Sequence[str] | None = None) -> int:
    """Render, or check the README."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Render.")
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS / "full.json")
    parser.add_argument("--readme", type=Path, help="render the performance section of this file")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 if it differs")
    options = parser.parse_args(arguments)
    try:
        results = read(options.results)
        if options.readme is None:
            write_report(results, options.results)
        elif not update_readme(options.readme, results, options.check):
            print(f"{options.readme} differs from {options.results}: run this without --check")
            return 1
    except ResultsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
