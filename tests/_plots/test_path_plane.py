"""The plane of rate and scale: rising patterns above falling ones, orders apart."""

import numpy as np
import torch

from multipath import Path, PathTable
from multipath.diagnostics import plot_path_values


def table(columns, rows):
    return PathTable(
        Path(index, metadata=dict(zip(columns, row, strict=True))) for index, row in enumerate(rows)
    )


def cells(axes):
    return np.ma.filled(axes.collections[0].get_array(), np.nan)


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def test_falling_patterns_are_below_rising_ones():
    rows = [(1.0, 0.0, 0), (1.0, 2.0, 1), (1.0, 2.0, -1), (3.0, 0.0, 0), (3.0, 2.0, 1)]
    paths = table(("rate", "scale", "spin"), rows)
    figure = plot_path_values(paths, torch.arange(5.0), "energy", "a title")
    axes, colors = figure.axes
    np.testing.assert_array_equal(cells(axes), [[2.0, np.nan], [0.0, 3.0], [1.0, 4.0]])
    assert labels(axes.get_yticklabels()) == ["-2", "0", "+2"]
    assert colors.get_ylabel() == "energy of the path"
    assert axes.collections[0].get_clim() == (0.0, 4.0)
    assert figure.get_suptitle() == "a title"


def test_orders_of_scattering_over_time_are_apart():
    first = [(1, 100.0, 0.0), (1, 200.0, 0.0)]
    second = [(2, 100.0, 4.0), (2, 200.0, 4.0), (2, 200.0, 150.0)]
    paths = table(("order", "frequency", "rate"), [*first, *second])
    line, plane, _ = plot_path_values(paths, [5.0, 6.0, 1.0, 2.0, 3.0]).axes
    assert line.lines[0].get_xydata().tolist() == [[100.0, 5.0], [200.0, 6.0]]
    np.testing.assert_array_equal(cells(plane), [[1.0, 2.0], [np.nan, 3.0]])
    assert labels(plane.get_yticklabels()) == ["4", "150"]
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("frequency (Hz)", "second order: rate (Hz)")
    (alone,) = plot_path_values(table(("order", "frequency", "rate"), first), [5.0, 6.0]).axes
    assert alone.lines
