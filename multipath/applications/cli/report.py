"""The command ``multipath report``; what is slow to import waits until it is called."""

from __future__ import annotations

import sys
from pathlib import Path

from multipath._internal.names import visible
from multipath.applications.runs.folders import taken


def report(*runs: Path, out: Path = Path("comparison.html"), overwrite: bool = False) -> None:
    """Compare runs on one page: curves with intervals over seeds, errors, sounds, plots.

    Args:
        runs: Folders of runs of match or resynthesize.
        out: The page.
        overwrite: Replace an earlier page without asking.
    """
    from multipath.applications.reports.page import write_comparison

    if out.is_file() and not (overwrite or _agreed(out)):
        raise taken(out, "--out")
    for section in write_comparison(runs, out):
        for note in section.notes:
            print(visible(f"note: {note}"))
    print(visible(f"report: {out}"))


def _agreed(file: Path) -> bool:
    """Ask whether a file may be replaced, where there is somebody to ask."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(visible(f"{file} exists; replace it? [y/N]"), end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
