"""The plane of rate and scale: rising patterns above falling ones, orders apart."""

import numpy as np
import torch
from matplotlib.colors import to_rgba

from multipath import Path, PathTable
from multipath._plots.importance import plot_probabilities
from multipath._plots.metric import plot_metric
from multipath._plots.path_plane import EMPTY
from multipath._plots.path_values import plot_values
from multipath._plots.variance import plot_report
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


def planes(paths, values):
    """Every plot of a number of each path that has a plane of rates and scales."""
    metric = np.eye(2)[None]
    theta = np.full((1, 2), 0.5)
    return {
        "values": plot_values(paths, values, "distance", "").axes[0],
        "importance": plot_probabilities(paths, values / values.sum(), None, None, "").axes[0],
        "metric": plot_metric(paths, ("a", "b"), theta, metric, values, None, "").axes[2],
        "variance": plot_report([("uniform", 1, 1.0)], paths, values, None).axes[1],
    }


def test_all_planes_look_like_a_spectrogram():
    rows = [(1.0, 0.0, 0), (1.0, 2.0, 1), (150.0, 2.0, -1), (3.0, 0.5, 1)]
    paths = table(("rate", "scale", "spin"), rows)
    for name, axes in planes(paths, np.array([1.0, 2.0, 3.0, 9.0])).items():
        (mesh,) = axes.collections
        assert mesh.get_cmap().name == "magma", name
        colors = mesh.to_rgba(np.ma.masked_invalid(cells(axes)))
        brightness = colors[..., :3].mean(axis=-1)
        largest = np.unravel_index(np.nanargmax(cells(axes)), cells(axes).shape)
        smallest = np.unravel_index(np.nanargmin(cells(axes)), cells(axes).shape)
        assert brightness[largest] > 0.8 > 0.4 > brightness[smallest], name
        assert axes.get_facecolor() == to_rgba(EMPTY), name  # no cell is taken for silence
        assert labels(axes.get_xticklabels()) == ["1", "3", "150"], name
        assert labels(axes.get_yticklabels()) == ["-2", "0", "+0.5", "+2"], name
        assert axes.get_xlabel() == "rate (Hz)", name
        assert axes.get_ylabel() == "scale (cycles/octave)\n+ rising, − falling", name


def test_frequencies_are_written_out():
    first = [(1, f, 0.0) for f in (40.0, 100.0, 400.0, 2000.0)]
    figure = plot_path_values(table(("order", "frequency", "rate"), first), np.ones(4))
    figure.canvas.draw()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    shown = [float(text.get_text()) for text in axes.get_xticklabels() if text.get_text()]
    assert [f for f in shown if low <= f <= high] == [50, 100, 200, 500, 1000, 2000]


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
