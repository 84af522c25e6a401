"""Averaging by frames equals the plain circular convolution."""

import pytest
import torch

from multipath.transforms._scattering.average import StridedAverage
from multipath.transforms._scattering.wavelets import decimation_matrix, low_pass
from tests.transforms.cases import double_noise as noise


@pytest.mark.parametrize(
    ("n", "support", "stride"),
    [
        (1024, 2, 32),  # the filter is shorter than a frame: only its neighbours are reached
        (1024, 64, 64),
        (1024, 512, 512),  # it is longer than the signal: every frame is reached
        (256, 3, 1),
        (2048, 700, 1024),  # frames are summed in blocks
    ],
)
def test_frames_equal_the_dense_product(n, support, stride):
    spectrum = low_pass(support).spectrum(n)
    x = noise(3, n)
    dense = torch.as_tensor(decimation_matrix(spectrum, stride).real) @ x.T
    kept = range(1, n // stride)
    average = StridedAverage(spectrum, stride, kept, like=x)
    torch.testing.assert_close(average(x), dense[1:].T, rtol=0, atol=1e-14)


def test_adjoints_of_the_average():
    average = StridedAverage(
        low_pass(60).spectrum(512), 32, range(3, 12), like=torch.ones(1).double()
    )
    x, gradient = noise(2, 3, 512), noise(2, 3, 9, seed=1)
    back = average.project_adjoint(average.gather_adjoint(gradient))
    assert back.shape == x.shape
    torch.testing.assert_close((back * x).sum(), (average(x) * gradient).sum(), rtol=1e-12, atol=0)


def test_delays_out_of_reach_are_not_computed():
    x = torch.zeros(1024, dtype=torch.float64)
    assert StridedAverage(low_pass(2).spectrum(1024), 32, range(32), like=x).n_delays < 5
