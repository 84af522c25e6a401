"""Error against cost: its rows, its picture, and that a cache of targets changes no step."""

import json
import math

import pytest

from benchmarks import pareto
from multipath.applications.matching.presets import preset

ERRORS = {"mss-log": (300.0, 9.0, 3), "kpaths-8": (50.0, 4.0, 3), "kpaths-1": (90.0, 8.0, 3)}
SECONDS = {
    "kpaths-8": [4.0, 9.0, 12.0],
    "mss-log": [2.0, 3.0, 6.0],  # the machine slows down
    "kpaths-8-cached": [1.0, 1.5, 3.0],
    "kpaths-1": [3.0, 3.0, 6.0],
}


def test_costs_are_compared_turn_by_turn():
    rows = pareto.summary(SECONDS, ERRORS)
    assert [(row["loss"], row["ratio"]) for row in rows] == [
        ("kpaths-8-cached", 0.5), ("mss-log", 1.0), ("kpaths-1", 1.0), ("kpaths-8", 2.0)
    ]  # fmt: skip
    assert [row["error"] for row in rows] == [50.0, 300.0, 90.0, 50.0]
    assert rows[-1]["milliseconds"] == 9000


def test_the_picture_has_a_point_for_each_loss_and_joins_the_draws_in_order():
    (axes,) = pareto.draw(pareto.summary(SECONDS, ERRORS)).axes
    assert {text.get_text() for text in axes.texts} == {"1", "8", "8, cached", "mss-log"}
    joined = axes.lines[0]
    assert [*joined.get_xdata()] == [1.0, 2.0]
    assert [*joined.get_ydata()] == [90.0, 50.0]


def test_targets_seen_before_change_no_step():
    # so small a rate that rounding cannot grow
    config = preset("quick", loss="kpaths", n_draws=4, learning_rate=1e-7)
    plain, cached = pareto.stepper(config), pareto.stepper(config, cached=True)
    for number in range(pareto.BATCHES + 3):
        value = plain(number)
        assert math.isfinite(value)
        assert cached(number) == pytest.approx(value, rel=1e-3)
    assert plain(0) != pytest.approx(value, rel=1e-3)


def test_the_committed_table_is_that_of_the_committed_numbers():
    report = json.loads((pareto.RESULTS / "pareto.json").read_text())
    assert report["rows"] == pareto.summary(
        report["seconds"],
        {r["loss"]: (r["error"], r["margin"], r["seeds"]) for r in report["rows"]},
    )
    assert (pareto.RESULTS / "pareto.md").read_text() == pareto.as_markdown(report)
