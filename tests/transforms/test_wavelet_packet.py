"""WaveletPacket: orders of its bands, and where a wave is found."""

import math

import numpy as np
import pytest
import pywt
import torch

from multipath.transforms import WaveletPacket


def test_orders_of_packets_are_those_of_pywavelets():
    tree = pywt.WaveletPacket(np.ones(32), "haar", maxlevel=4)
    image = pywt.WaveletPacket2D(np.ones((8, 8)), "haar", maxlevel=2)
    natural, frequency = (
        WaveletPacket("haar", 4, order=order).paths.keys for order in ("natural", "frequency")
    )
    assert natural == [node.path for node in tree.get_level(4, "natural")]
    assert frequency == [node.path for node in tree.get_level(4, "freq")]
    natural, frequency = (
        WaveletPacket("haar", 2, signal_ndim=2, order=order).paths.keys
        for order in ("natural", "frequency")
    )
    assert natural == [node.path for node in image.get_level(2, "natural")]
    assert frequency == [node.path for row in image.get_level(2, "freq") for node in row]


@pytest.mark.parametrize("row_band", range(4))
def test_a_wave_is_in_the_band_of_an_image_that_says_so(row_band):
    transform = WaveletPacket("db10", 2, signal_ndim=2)
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for path in transform.paths.filter(row_band=row_band):
        row, column = (
            math.pi * (path.metadata[f"{axis}_low"] + path.metadata[f"{axis}_high"])
            for axis in ("row", "column")
        )
        energies = [c.square().sum() for c in transform(torch.cos(row * rows + column * columns))]
        assert energies.index(max(energies)) == path.index
