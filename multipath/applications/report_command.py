"""The command ``multipath report``; what is slow to import waits until it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of runs of match or resynthesize.", metavar="RUN..."),
    ],
    out: Annotated[Path, typer.Option(help="The page.")] = Path("comparison.html"),
) -> None:
    """Compare runs on one page: curves with intervals over seeds, errors, sounds, pictures."""
    from .comparison_page import write_comparison

    for section in write_comparison(runs, out):
        for note in section.notes:
            print(f"note: {note}")
    print(f"report: {out}")
