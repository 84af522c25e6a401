"""The results as one plot; panels without data are left out."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from .cases import AURALOSS, EXACT, KYMATIO, REDUCED, SCATTERING, SCRAPL, STFT
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
    STFT: ("#7e57c2", "^"),
    SCRAPL: ("#c62828", "v"),
    AURALOSS: ("#ef8e19", "X"),
    KYMATIO: ("#6d4c41", "P"),
}


def draw(results: Results) -> bytes:
    """A PNG of all panels that have data."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = [panel for panel in panels(results) if panel[1]]
    columns = min(3, max(1, len(chosen)))
    rows = max(1, -(-len(chosen) // columns))
    figure = Figure(figsize=(5.2 * columns, 4.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for position, (paint, _) in enumerate(chosen, start=1):
        paint(figure.add_subplot(rows, columns, position), results)
    buffer = io.BytesIO()
    # no date or version inside: the same results give the same bytes
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def panels(results: Results) -> list[tuple[Callable[[Axes, Results], None], bool]]:
    """What can be painted, and whether there is data for it."""
    grown = {record["axis"] for record in cases(results, "growth").values()}
    return [
        (paint_steps, bool(steps(results))),
        (paint_k_paths, bool(cases(results, "k-paths"))),
        (paint_rates, bool(cases(results, "per-rate"))),
        (_paint_growth("N", "samples", "One path, longer signals"), "N" in grown),
        (_paint_growth("batch", "batch", "One path, larger batches"), "batch" in grown),
        (_paint_growth("P", "paths of the transform", "One path among more"), "P" in grown),
    ]


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


def paint_steps(axes: Axes, results: Results) -> None:
    """A dot with quartiles for each kind of step, on a log axis."""
    found = sorted(steps(results), key=lambda step: -spread(step[2]).median)
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


def paint_k_paths(axes: Axes, results: Results) -> None:
    """Time against the number of paths drawn together."""
    found = sorted(cases(results, "k-paths").values(), key=lambda record: record["k"])
    _lines(axes, found, lambda record: record["k"])
    axes.set_xscale("log", base=2)
    axes.set_xticks([r["k"] for r in found], [str(r["k"]) for r in found])
    _finish(axes, "paths in one step (scrapl-loss: always one)", "Several paths together")


def paint_rates(axes: Axes, results: Results) -> None:
    """Time of all scales of one rate, from fast to slow rates."""
    found = sorted(cases(results, "per-rate").values(), key=lambda record: record["n2"])
    _lines(axes, found, lambda record: record["n2"])
    _finish(axes, "rate n2, fast to slow", "All scales of one rate")


def _paint_growth(axis: str, label: str, title: str) -> Callable[[Axes, Results], None]:
    def place(record: Record) -> float:
        return float(n_paths(record) or 0) if axis == "P" else float(record["value"])

    def paint(axes: Axes, results: Results) -> None:
        found = [r for r in cases(results, "growth").values() if r["axis"] == axis]
        placed = sorted((r for r in found if place(r) > 0), key=place)
        _lines(axes, placed, place)
        axes.set_xscale("log", base=2)
        ticks = [place(record) for record in placed]
        axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
        axes.minorticks_off()
        _finish(axes, label, title)

    return paint


def _lines(axes: Axes, records: list[Record], place: Callable[[Record], float]) -> None:
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


def _plain_numbers(axis: Axis) -> None:
    """200, not 2 × 10²."""
    from matplotlib.ticker import LogFormatter

    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1.5, 0.5)))


def _finish(axes: Axes, label: str, title: str) -> None:
    axes.set_yscale("log")
    _plain_numbers(axes.yaxis)
    axes.set_xlabel(label)
    axes.set_ylabel("ms")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
