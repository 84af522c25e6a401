"""The results as one plot; panels without data are left out."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

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
    STFT,
)
from .tables import n_paths, number
from .view import Record, Results, cases, contenders, path_medians, seconds, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# One colour and marker each, told apart without colour too.
LOOKS = {
    EXACT: ("#0b6e99", "o"),
    REDUCED: ("#4db6ac", "s"),
    SCATTERING: ("#0b6e99", "D"),
    IMAGES: ("#0b6e99", "h"),
    DRAWS: ("#0b6e99", "*"),
    STFT: ("#7e57c2", "^"),
    MSS: ("#7e57c2", "<"),
    OLDER: ("#78909c", "d"),
    SCRAPL: ("#c62828", "v"),
    AURALOSS: ("#ef8e19", "X"),
    KYMATIO: ("#6d4c41", "P"),
}


def draw(results: Results) -> bytes:
    """A PNG of all panels that have data."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = panels(results)
    columns = min(3, max(1, len(chosen)))
    rows = max(1, -(-len(chosen) // columns))
    figure = Figure(figsize=(5.2 * columns, 4.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for position, paint in enumerate(chosen, start=1):
        paint(figure.add_subplot(rows, columns, position))
    buffer = io.BytesIO()
    # no date or version inside: the same results give the same bytes
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def panels(results: Results) -> list[Callable[[Axes], None]]:
    """What there is data to paint for."""
    taken = steps(results)
    found: list[Callable[[Axes], None]] = [partial(paint_steps, found=taken)] if taken else []
    for group, axis, place, label, title in (
        ("k-paths", None, lambda record: record["k"],
         "paths in one step (scrapl-loss: always one)", "Several paths together"),
        ("per-rate", None, lambda record: record["n2"],
         "rate n2, fast to slow", "All scales of one rate"),
        ("growth", "N", lambda record: record["value"], "samples", "One path, longer signals"),
        ("growth", "batch", lambda record: record["value"], "batch", "One path, larger batches"),
        ("growth", "P", n_paths, "paths of the transform", "One path among more"),
    ):  # fmt: skip
        records = [r for r in cases(results, group).values() if r.get("axis") == axis and place(r)]
        if records:
            lines = sorted(records, key=place)
            found.append(
                partial(paint_lines, records=lines, place=place, label=label, title=title,
                        doubling=group != "per-rate")
            )  # fmt: skip
    return found


def steps(results: Results) -> list[tuple[str, str, list[float]]]:
    """Label, contender and samples of one step of each kind."""
    found = [
        (f"{name}{', one path' if name in (EXACT, REDUCED, SCRAPL) else ''}", name, medians)
        for name in (EXACT, REDUCED, STFT, SCRAPL, AURALOSS)
        if (medians := path_medians(results, name))
    ]
    for case, label in (("full/jtfs", ", all paths"), ("scattering1d/all", " Scattering1D")):
        record = results["cases"].get(case)
        for name in contenders([record] if record else []):
            if samples := seconds(record, name):
                text = name if name == SCATTERING else f"{name}{label}"
                found.append((text, name, samples))
    return found


def paint_steps(axes: Axes, found: list[tuple[str, str, list[float]]]) -> None:
    """A dot with quartiles for each kind of step, on a log axis."""
    found = sorted(found, key=lambda step: -spread(step[2]).median)
    for height, (_, name, samples) in enumerate(found):
        colour, marker = LOOKS[name]
        middle = spread([1e3 * sample for sample in samples])
        axes.plot([middle.low, middle.high], [height, height], color=colour, lw=2, alpha=0.5)
        axes.plot(middle.median, height, marker, color=colour)
        axes.annotate(
            number(middle.median),
            (middle.median, height),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    axes.set_yticks(range(len(found)), [label for label, *_ in found], fontsize=8)
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.set_ylim(-0.6, len(found) - 0.3)
    axes.set_xlabel("ms, median and quartiles")
    axes.set_title("One step", fontsize=10)
    axes.grid(axis="x", alpha=0.3)


def paint_lines(
    axes: Axes,
    records: list[Record],
    place: Callable[[Record], float],
    label: str,
    title: str,
    doubling: bool,
) -> None:
    """Time of every contender against the place of a case, which doubles or counts."""
    for name in contenders(records):
        colour, marker = LOOKS[name]
        measured = [(place(r), spread(seconds(r, name))) for r in records if seconds(r, name)]
        if not measured:
            continue
        at = [x for x, _ in measured]
        axes.plot(
            at, [1e3 * y.median for _, y in measured], marker=marker, color=colour, label=name, ms=4
        )
        low, high = [1e3 * y.low for _, y in measured], [1e3 * y.high for _, y in measured]
        axes.fill_between(at, low, high, color=colour, alpha=0.15, lw=0)
    if doubling:
        axes.set_xscale("log", base=2)
        axes.set_xticks([*map(place, records)], [str(place(record)) for record in records])
        axes.minorticks_off()
    axes.set_yscale("log")
    _plain_numbers(axes.yaxis)
    axes.set_xlabel(label)
    axes.set_ylabel("ms")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)


def _plain_numbers(axis: Axis) -> None:
    """200, not 2 × 10²."""
    from matplotlib.ticker import LogFormatter

    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1.5, 0.5)))
