"""One page that shows runs side by side; plots and sounds are inside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from multipath import Path as LossPath
from multipath import PathTable
from multipath._internal.axes import plain, tidy
from multipath.applications.audio.spectrograms import plot_spectrograms
from multipath.applications.runs.files import drawn
from multipath.diagnostics import plot_path_values

from .runs import Group, Section, read_runs, sections
from .sounds import Heard, hear

__all__ = ["write_comparison"]

PANELS = 9  # spectrograms in one figure
TITLES = {"match": "Sound matching", "resynthesis": "Resynthesis"}


def write_comparison(folders: Sequence[Path], file: Path) -> list[Section]:
    """Read runs and write a page that compares them.

    Runs of the same task (synthesizer or recording) share a section with curves, a table of final
    errors, sounds, spectrograms, and how often each path was drawn, where ``draws.csv`` says so.
    Runs that differ only in their seed form one group: its curve is the mean over the finished
    runs, in a band of 95 % t intervals.

    Args:
        folders: Run folders.
        file: The page, written whole or not at all. Plots and sounds are inside it; links to the
            runs' own reports are relative to it.

    Returns:
        What the page shows.

    Raises:
        InputError: If a folder is missing, given twice or holds no run, or a file is damaged.
    """
    from multipath.applications.runs.html import render_page

    found = sections(read_runs(folders))
    file.parent.mkdir(parents=True, exist_ok=True)
    render_page(
        file,
        "comparison.html.jinja",
        count=len(folders),
        sections=[_show(section, file.parent) for section in found],
    )
    return found


def plot_curves(section: Section) -> Figure:
    """Plot errors over steps: mean and band of groups, thin lines of runs, dashed if unfinished."""
    figure = Figure(figsize=(7.0, 3.8), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    for index, group in enumerate(section.groups):
        color = f"C{index % 10}"
        steps, band = group.band
        mean = np.array([each.mean for each in band])
        margin = np.array([each.margin for each in band])
        axes.plot(steps, mean, color=color, linewidth=2, label=plain(group.label))
        if len(group.independent) > 1:
            axes.fill_between(steps, mean - margin, mean + margin, color=color, alpha=0.18)
        for run in group.runs:
            style = "-" if run.finished else "--"
            line = list(run.curve), list(run.curve.values())
            axes.plot(*line, style, color=color, linewidth=0.7, alpha=0.6)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel(plain(section.measure))
    axes.legend(frameon=False, fontsize=8)
    return figure


def _show(section: Section, beside: Path) -> dict[str, Any]:
    """Collect what the template shows of a section beside its own attributes."""
    heard = hear(section.runs)
    return {
        "section": section,
        "title": f"{TITLES[section.kind]}: {section.task}",
        "curves": _embed_figure(plot_curves(section)),
        "names": list(dict.fromkeys(name for run in section.runs for name in run.errors)),
        "reports": {run.name: _link(run.folder / "report.html", beside) for run in section.runs},
        "rows": [{"name": row.name, "players": _embed_sounds(row)} for row in heard],
        "spectrograms": _spectrograms(heard),
        "draws": [
            (group.label, _draws(group))
            for group in section.groups
            if any(row["count"] for row in group.draws)
        ],
    }


def _link(file: Path, beside: Path) -> str | None:
    if not file.is_file():
        return None
    try:
        relative = Path(os.path.relpath(file.resolve(), beside.resolve()))
        return quote(os.fsencode(relative.as_posix()))  # names need not be text
    except ValueError:  # another drive
        return file.resolve().as_uri()


def _spectrograms(heard: Sequence[Heard]) -> str | None:
    """Plot spectrograms of targets and of what runs made of them, as many as a figure holds."""
    sounds: dict[str, tuple[torch.Tensor, int]] = {}
    for row in heard:
        left = PANELS - len(sounds)
        if left < 2 or row.reconstructions.keys() & sounds.keys():  # a second target of a run
            break
        # the space keeps it apart from the names of runs
        sounds[f" target: {row.name}"] = row.target, row.rate
        for name, found in list(row.reconstructions.items())[: left - 1]:
            sounds[name] = found, row.rate
    return _embed_figure(plot_spectrograms(sounds)) if sounds else None


def _draws(group: Group) -> str:
    known = ("index", "key", "count")
    table = PathTable(
        LossPath(i, metadata={name: row[name] for name in row if name not in known})
        for i, row in enumerate(group.draws)
    )
    counts = [row["count"] for row in group.draws]
    return _embed_figure(plot_path_values(table, counts, "draws", f"{sum(counts)} draws"), dpi=150)


def _embed_figure(figure: Figure, dpi: int = 110) -> str:
    from multipath.applications.runs.html import embed

    return embed("image/png", drawn(figure, "png", dpi))


def _embed_sounds(row: Heard) -> dict[str | None, str]:
    """Embed a target (None) and what runs made of it, by their names, at a common gain."""
    from multipath.applications.audio.players import data_uri

    every = ((None, row.target), *row.reconstructions.items())
    return {name: data_uri(row.gain * sound, row.rate) for name, sound in every}
