"""Low bins of a spectrum without the others, and their adjoint."""

import pytest
import torch

from multipath.transforms._scattering.blocks import Blocks
from multipath.transforms._scattering.low_bins import LowBins
from tests.transforms.cases import assert_near
from tests.transforms.cases import double_noise as noise

from .cases import DOUBLE, scalar

# both ways to compute them, for powers of two and for other lengths
LOW = [(64, 3), (96, 10), (256, 129), (512, 1), (1024, 2), (1024, 9), (1536, 5), (4096, 40)]
LOW += [(4096, 65), (4096, 2049), (16384, 100), (2**17, 300)]


@pytest.mark.parametrize(("length", "n_bins"), LOW)
@pytest.mark.parametrize("mean", [0.0, 1.0, 1e4])
def test_low_bins_are_those_of_the_whole_spectrum(length, n_bins, mean):
    x = noise(2, 3, length) + mean * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None]
    expected = torch.fft.rfft(x)[..., :n_bins]
    assert_near(LowBins(Blocks.one(0, length), n_bins, like=x)(x), expected)
    single = x.float()
    low_bins = LowBins(Blocks.one(0, length), n_bins, like=single)
    actual = low_bins(single)
    assert actual.dtype == torch.complex64
    if not low_bins.n_frames:
        assert torch.equal(actual, torch.fft.rfft(single)[..., :n_bins])
        return
    errors = (actual - torch.fft.rfft(single.double())[..., :n_bins]).abs()
    assert (errors[..., 0] <= 2e-7 * single.abs().sum(dim=-1)).all()
    # However large the mean, the other bins keep their digits: fluctuations are of unit variance,
    # and subtracting a constant near the mean is exact up to the rounding of the signal itself.
    rounding = 3e-6 + 2e-8 * mean
    assert (errors[..., 1:] <= rounding * length**0.5).all()


@pytest.mark.parametrize(("length", "n_bins"), LOW)
def test_adjoint_of_low_bins(length, n_bins):
    low_bins = LowBins(Blocks.one(0, length), n_bins, like=DOUBLE)
    x, gradient = noise(2, 3, length), noise(2, 3, n_bins, seed=1, dtype=torch.complex128)
    back = low_bins.project_adjoint(low_bins.gather_adjoint(gradient))
    assert back.shape == x.shape
    gap = scalar(low_bins(x), gradient) - scalar(x, back)
    assert gap.abs() <= 1e-13 * x.norm() * back.norm()
