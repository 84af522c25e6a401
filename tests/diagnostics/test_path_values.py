"""Plots of one number per path: each value where the path belongs."""

import numpy as np
import pytest

from multipath import Path, PathTable
from multipath.diagnostics import plot_path_values
from multipath.errors import InputError


@pytest.mark.parametrize("count", [3, 100])
def test_other_paths_stand_side_by_side(count):
    (axes,) = plot_path_values(PathTable(map(Path, range(count))), np.arange(count), "loss").axes
    assert axes.get_ylabel() == "loss"
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == (list(range(count)) if count == 3 else [])
    assert len(axes.collections) == (count == 100)


def test_there_is_a_value_for_each_path():
    with pytest.raises(InputError, match=r"a value for each of the 3 paths, got \(2,\)"):
        plot_path_values(PathTable(map(Path, range(3))), [1.0, 2.0])
