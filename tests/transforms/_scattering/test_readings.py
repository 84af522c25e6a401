"""What is read from moduli equals plain means and slices, tile by tile, and has an adjoint."""

import pytest
import torch

from multipath.transforms._scattering.blocks import Blocks
from multipath.transforms._scattering.readings import Mean, OfRows, Samples
from tests.transforms.cases import assert_near
from tests.transforms.cases import double_noise as noise

from .cases import DOUBLE

KEPT = [(64, range(64)), (64, range(3, 50)), (96, range(1, 95)), (1024, range(100, 1000))]
KEPT += [(1024, range(300, 310)), (1024, range(256, 512)), (7, range(2, 5))]


@pytest.mark.parametrize(("length", "kept"), KEPT, ids=str)
def test_means_and_slices(length, kept):
    x = noise(2, 3, length)
    part = x[..., kept.start : kept.stop]
    assert torch.equal(Samples(length, kept)(x), part)
    assert_near(Mean(length, kept, like=DOUBLE)(x), part.mean(dim=-1, keepdim=True))


@pytest.mark.parametrize("rows", [[0, 1, 2], [1], [0, 2]], ids=str)
@pytest.mark.parametrize(("length", "kept"), KEPT, ids=str)
def test_adjoints_and_tiles(length, kept, rows):
    for reading in (Samples(length, kept), Mean(length, kept, like=DOUBLE)):
        x = noise(2, 3, length)
        whole = reading.project(x)
        middle = reading.n_frames // 2 * reading.stride
        parts = [reading.project(part) for part in x.tensor_split([middle], dim=-1)]
        assert_near(torch.cat(parts, dim=-2), whole)
        of_rows = OfRows(Blocks.one(0, length), reading, rows, n_rows=3)
        read = of_rows(x)
        gradient = noise(*read.shape, seed=1)
        back = of_rows.adjoint(gradient)
        assert back.shape == x.shape
        torch.testing.assert_close((back * x).sum(), (read * gradient).sum())
