"""The command ``multipath report``; what is slow to import waits until it is called."""

from __future__ import annotations

from pathlib import Path

from multipath._internal.names import visible


def report(*runs: Path, out: Path = Path("comparison.html")) -> None:
    """Compare runs on one page: curves with intervals over seeds, errors, sounds, plots.

    Args:
        runs: Folders of runs of match or resynthesize.
        out: The page.
    """
    from multipath.applications.reports.page import write_comparison

    for section in write_comparison(runs, out):
        for note in section.notes:
            print(visible(f"note: {note}"))
    print(visible(f"report: {out}"))
