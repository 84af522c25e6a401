"""Plots of one number per path: each value where the path belongs."""

import numpy as np
import pytest
import torch

from multipath import Path, PathTable
from multipath.diagnostics import plot_path_values
from multipath.errors import InputError
from tests.simulated_device import SimulatedDevice


@pytest.mark.parametrize("count", [3, 100])
def test_other_paths_stand_side_by_side(count):
    (axes,) = plot_path_values(PathTable(map(Path, range(count))), np.arange(count), "loss").axes
    assert axes.get_ylabel() == "loss"
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == (list(range(count)) if count == 3 else [])
    assert len(axes.collections) == (count == 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_may_be_tensors_of_any_kind(dtype):
    table = PathTable(map(Path, range(3)))
    values = torch.tensor([0.5, 2.0, 1.0], dtype=dtype).requires_grad_()
    with SimulatedDevice():
        figures = [plot_path_values(table, given) for given in (values, values.to("meta"))]
    for figure in figures:
        assert [bar.get_height() for bar in figure.axes[0].patches] == [0.5, 2.0, 1.0]


def test_there_is_a_value_for_each_path():
    with pytest.raises(InputError, match=r"a value for each of the 3 paths, got \(2,\)"):
        plot_path_values(PathTable(map(Path, range(3))), [1.0, 2.0])


@pytest.mark.parametrize("spoilt", ["frequency", "rate", "scale", "spin", "order"])
def test_columns_that_are_no_numbers_are_drawn_path_by_path(spoilt):
    """Plots read what files say of paths, and files may have been edited."""
    numbers = {"order": 1, "frequency": 440.0, "rate": 2.0, "spin": 1}
    rows = [dict(numbers), {**numbers, "rate": 4.0, spoilt: "4.4@0"}]
    if spoilt in ("scale", "spin"):
        rows = [{"scale": 1.0, **row} for row in rows]
    table = PathTable(Path(i, metadata=row) for i, row in enumerate(rows))
    axes, *_ = plot_path_values(table, [1.0, 2.0], "loss").axes
    others = {"spin": "rate (Hz)", "scale": "frequency (Hz)"}  # planes that do without it
    if spoilt in others:
        assert axes.get_xlabel() == others[spoilt]
    else:
        assert axes.get_xlabel() == "path"
        assert [patch.get_height() for patch in axes.patches] == [1.0, 2.0]
