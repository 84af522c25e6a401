"""The command ``multipath distance``; what is slow to import waits until it is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from multipath._internal.names import visible
from multipath.errors import ConfigurationError, InputError

from .console import plain_console, show_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from multipath.applications.distance.compare import Comparison

TOP = 10

_HEADINGS = {  # metadata columns that the table shows
    "frequency": "frequency (Hz)",
    "rate": "rate (Hz)",
    "scale": "scale (cycles/octave)",
    "spin": "spin",
    "fft_size": "FFT size",
    "hop_size": "hop",
    "win_length": "window",
}


def distance(
    a: Path,
    b: Path,
    /,
    *,
    transform: Literal["jtfs", "scattering1d", "mrstft"] = "jtfs",
    plot: Path | None = None,
    page: Path | None = None,
    groups: int | None = None,
    overwrite: bool = False,
    as_json: Annotated[bool, Parameter("--json")] = False,
    lower_rate: Annotated[bool, Parameter("--resample")] = False,
    sample_rate: int | None = None,
    mono: bool = False,
    level: Literal["rms", "peak", "none"] = "rms",
) -> None:
    """Compare two recordings, and show the paths that their distance comes from.

    Args:
        a: A recording.
        b: Another one.
        transform: What the recordings are compared by.
        plot: Draw where the distance comes from into this file.
        page: Write a page on which to hear where it comes from: groups of paths, resynthesised.
        groups: How many groups of paths can be heard there. Default: the 12 that differ most.
        overwrite: Replace an earlier page.
        as_json: Print every path as JSON instead of a table.
        lower_rate: Bring both to the lower sample rate of the two.
        sample_rate: Bring both to this sample rate, in Hz.
        mono: Mix channels down to one.
        level: What is scaled to be equal first.
    """
    from multipath.applications.distance.compare import compare
    from multipath.applications.distance.compare import plot as draw
    from multipath.applications.distance.plot import check_plot_file

    if plot is not None:
        check_plot_file(plot)
    _check_page(page, groups, overwrite, transform)
    rate, (first, second), notes = _read_pair(a, b, mono, lower_rate, sample_rate)
    if page is not None:
        _check_length(max(len(first), len(second)), rate)
    with Console(stderr=True).status("comparing"):  # shown on terminals only
        comparison = compare(first, second, rate, transform, level)
    if plot is not None:
        draw(comparison, plot)
    if page is not None:
        _write_page(page, (a, b), (first, second), comparison, notes, groups)
    if as_json:
        content = {"a": str(a), "b": str(b), **comparison.as_dict()}
        content["notes"] = notes + content["notes"]
        print(json.dumps(content, indent=1))
    else:
        _print_comparison(a, b, comparison, notes)
        if plot is not None:
            print(visible(f"plot: {plot}"))
        if page is not None:
            print(visible(f"page: {page}"))


def _check_page(page: Path | None, groups: int | None, overwrite: bool, transform: str) -> None:
    """Refuse a page that cannot be written, before the work that it would show."""
    if page is None:
        if groups is not None or overwrite:
            option = "--overwrite" if groups is None else "--groups"
            raise ConfigurationError(f"{option} is about a page; pass --page FILE too")
        return
    if transform != "jtfs":
        raise ConfigurationError(
            f"a page has a map of rates and scales, which {transform} does not hear; leave out "
            "--transform, or --page"
        )
    if groups is not None and groups < 1:
        raise ConfigurationError(f"--groups must be at least 1, got {groups}")
    if page.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{page}: expected a page whose name ends in .html")
    if not page.parent.is_dir():
        raise InputError(f"{page}: there is no folder {page.parent}; make it first")
    if page.exists() and not overwrite:
        raise ConfigurationError(
            f"{page} exists; choose another file (--page), or replace it with --overwrite"
        )


def _check_length(n_samples: int, rate: int) -> None:
    """Refuse recordings whose page would take hours."""
    from multipath.applications.distance.page import LONGEST

    if n_samples > LONGEST:
        raise InputError(
            f"{n_samples / rate:.3g} s at {rate} Hz are too long for a page: expected at most "
            f"{LONGEST} samples, got {n_samples}; cut them, or lower their rate with --sample-rate "
            f"{LONGEST * rate // n_samples}"
        )


def _write_page(
    page: Path,
    files: Sequence[Path],
    recordings: Sequence[Tensor],
    comparison: Comparison,
    notes: Sequence[str],
    groups: int | None,
) -> None:
    from multipath.applications.distance.page import GROUPS, STEPS, group_paths, write_page

    count = min(GROUPS if groups is None else groups, len(group_paths(comparison)))
    with show_progress(
        f"{count} groups of paths",
        2 * count * STEPS,
        page,
        lambda relative: f"distance {100 * relative:.1f} %",
    ) as progress:
        write_page(
            comparison,
            recordings,
            [file.name for file in files],
            page,
            groups=count,
            steps=STEPS,
            notes=notes,
            progress=progress,
        )


def _read_pair(
    a: Path, b: Path, mono: bool, lower_rate: bool, new_rate: int | None
) -> tuple[int, list[Tensor], list[str]]:
    """Both recordings at one sample rate, and what was done to bring them there."""
    from multipath.applications.audio.files import read_audio, resample

    recordings = [read_audio(path, mono) for path in (a, b)]
    rates = [rate for _, rate in recordings]
    if rates[0] != rates[1] and not lower_rate and new_rate is None:
        raise InputError(
            f"{a} has {rates[0]} samples per second and {b} has {rates[1]}; pass --resample to "
            "bring both to the lower rate, or --sample-rate HZ"
        )
    common = min(rates) if new_rate is None else new_rate
    notes = [
        f"{path} is resampled from {rate} to {common} Hz"
        for path, rate in zip((a, b), rates, strict=True)
        if rate != common
    ]
    return common, [resample(waveform, rate, common) for waveform, rate in recordings], notes


def _print_comparison(a: Path, b: Path, comparison: Comparison, notes: list[str]) -> None:
    settings = comparison.settings
    found = (f"note: {note}" for note in (*notes, *comparison.notes))
    for words in (f"a: {a}", f"b: {b}", *found):
        print(visible(words))
    print(
        f"{settings['transform']}, {settings['n_paths']} paths, {settings['n_samples']} samples at "
        f"{settings['sample_rate']} Hz, level {settings['level']}"
    )
    print(
        f"distance {comparison.distance:.4g}, relative {100 * comparison.relative:.1f} % "
        "(0: the same, 100: nothing in common)"
    )
    columns = [name for name in _HEADINGS if name in comparison.paths.columns]
    table = Table(
        *("path", *(_HEADINGS[name] for name in columns), "distance", "share"),
        title="paths that contribute most",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for item in comparison.contributions(TOP):
        values = [_cell(item.path.metadata.get(name)) for name in columns]
        table.add_row(str(item.path.key), *values, f"{item.loss:.4g}", f"{100 * item.share:.2f} %")
    plain_console().print(table)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
