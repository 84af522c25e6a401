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
