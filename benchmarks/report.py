"""Render results: a Markdown report, a plot, and the performance section of the README.

python -m benchmarks.report benchmarks/results/full.json --readme README.md [--check]
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cases import AURALOSS, EXACT, KYMATIO, REDUCED, SCATTERING, SCRAPL, STFT
from .store import ResultsError, read, write_atomically
from .tables import SECTIONS, best_of, number, skipped, table
from .targets import apply_to, target_rows
from .view import (
    Results,
    cases,
    construction,
    faster,
    faster_per_path,
    path_medians,
    peak,
    spread,
    step_above_filters,
)

START, END = "<!-- performance:start -->", "<!-- performance:end -->"
RESULTS = Path(__file__).parent / "results"


def markdown(results: Results, plot: str | None = None) -> str:
    """The whole report."""
    parts = ["# Benchmarks", conditions(results)]
    if apply_to(results):
        header = ["target", "at least", "aim", "measured", "met"]
        parts += ["## Targets", table(header, target_rows(results))]
    if plot:
        parts.append(f"![the same as a plot]({plot})")
    for group, (title, render) in SECTIONS.items():
        if cases(results, group):
            parts += [f"## {title}", render(results, group)]
    missing = skipped(results)
    if missing:
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
    rows = [
        *_path_rows(results),
        *_whole_rows(results),
    ]
    run = results["runs"][-1]
    common = results["conditions"]
    n_samples = common["settings"]["n_samples"]
    parts = [
        f"One step (forward, target, backward to the samples) at batch {common['batch']} of "
        f"{n_samples} samples, medians, measured side by side: {run['machine']['processor']}, "
        f"{_threads(results)}, torch {run['ours'].get('torch')}, {run['date'][:10]}. Ratios "
        "are of times measured in turns (for one path, medians over the paths), not of two rows.",
        table(["one step", "ms", "that is"], rows),
    ]
    costs = _costs(results)
    if costs:
        parts.append(costs)
    parts.append(
        "All numbers: "
        "[benchmarks/results/full.md](benchmarks/results/full.md). `make bench` measures yours."
    )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _path_rows(results: Results) -> list[list[str]]:
    rows = []
    for name, label, others in (
        (EXACT, "JTFS, one path", (SCRAPL, AURALOSS)),
        (REDUCED, "JTFS, one path, reduced rates", (SCRAPL, AURALOSS)),
        (SCRAPL, "scrapl-loss, one path", ()),
        (AURALOSS, "auraloss, multi-resolution STFT", ()),
    ):
        medians = path_medians(results, name)
        if medians:
            factors = [(other, faster_per_path(results, name, other)) for other in others]
            against = [_against(found.median, other) for other, found in factors if found]
            rows.append([label, number(1e3 * spread(medians).median), ", ".join(against)])
    sixteen = best_of(results, "k-paths/16", EXACT)
    if sixteen is not None:
        factor = faster(results, "k-paths/16", EXACT, SCRAPL)
        text = _against(factor, "one path of scrapl-loss") if factor else ""
        rows.append(["JTFS, 16 random paths together", number(1e3 * sixteen), text])
    return rows


def _whole_rows(results: Results) -> list[list[str]]:
    rows = []
    for case, name, label, other in (
        ("full/jtfs", EXACT, "JTFS, all paths", KYMATIO),
        ("full/jtfs", REDUCED, "JTFS, all paths, reduced rates", KYMATIO),
        ("full/jtfs", KYMATIO, "kymatio, JTFS, all paths", None),
        ("scattering1d/all", SCATTERING, "Scattering1D, all paths", KYMATIO),
        ("scattering1d/all", KYMATIO, "kymatio, Scattering1D", None),
        ("mrstft/three", STFT, "multi-resolution STFT", AURALOSS),
    ):
        middle = best_of(results, case, name)
        if middle is None:
            continue
        found = faster(results, case, name, other) if other else None
        reused = results["cases"][case]["contenders"][name].get("reused")
        note = f"measured {reused[:10]}" if reused else ""
        rows.append([label, number(1e3 * middle), _against(found, other) if found else note])
    return rows


def _against(factor: float, other: str | None) -> str:
    if factor >= 1:
        return f"{number(factor)}x faster than {other}"
    return f"{number(1 / factor)}x the time of {other}"


def _costs(results: Results) -> str:
    """Memory and set-up, in a sentence."""
    parts = []
    above = step_above_filters(results, "memory/one path", EXACT)
    whole = peak(results, "memory/full", EXACT)
    built = construction(results, "set-up/jtfs", EXACT)
    if above is not None:
        parts.append(f"one path takes {above / 1e6:.0f} MB above import and filters")
    if whole is not None:
        parts.append(f"all paths a process of {whole / 1e6:.0f} MB")
    if built is not None:
        parts.append(f"construction {built.median:.2g} s")
    return f"Memory and set-up: {', '.join(parts)}." if parts else ""


def with_section(text: str, section: str) -> str:
    """A README with its performance section replaced.

    Raises:
        ResultsError: If it does not hold both markers, in order.
    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ResultsError(f"the README needs the lines {START} and {END}, in this order")
    return f"{before}{START}\n\n{section}\n{END}{after}"


def update_readme(readme: Path, results: Results, check: bool) -> bool:
    """Render the section, or only compare: whether the README says what the results say."""
    text = readme.read_text(encoding="utf-8")
    wanted = with_section(text, readme_section(results))
    if check and wanted != text:
        lines = difflib.unified_diff(
            text.splitlines(), wanted.splitlines(), str(readme), "results", lineterm="", n=0
        )
        print("\n".join(lines))
    if not check and wanted != text:
        write_atomically(readme, wanted)
    return wanted == text or not check


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
