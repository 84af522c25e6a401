"""WaveletTransform: wavelets of one's own, inverses, and what does not fit."""

import copy
import math
import pickle

import numpy as np
import pytest
import pywt
import torch

from multipath.errors import InputError
from multipath.samplers import AdaptiveImportance
from multipath.transforms import WaveletTransform

from .cases import double_noise as noise
from .cases import require_equal


def test_samplers_see_the_costs():
    transform = WaveletTransform("haar", level=3)
    sampler = AdaptiveImportance(cost_aware=True, floor=0.0)
    sampler.bind(transform.paths)
    probabilities = sampler.probabilities
    costs = torch.tensor([path.cost for path in transform.paths], dtype=torch.float64)
    torch.testing.assert_close(probabilities, costs.rsqrt() / costs.rsqrt().sum())


def test_a_wavelet_of_ones_own():
    taps = np.array([1.0, 1.0]) / math.sqrt(2)
    bank = (taps, taps * [-1, 1], taps, taps * [1, -1])
    own = WaveletTransform(pywt.Wavelet("own", filter_bank=bank), level=2)
    copies = [copy.deepcopy(own), pickle.loads(pickle.dumps(own))]
    x = noise(8)
    for transform in (own, *copies):
        for a, b in zip(transform(x), WaveletTransform("haar", level=2)(x), strict=True):
            torch.testing.assert_close(a, b)


def test_filters_of_odd_length_are_padded():
    odd = pywt.Wavelet("odd", filter_bank=[[0.5, 1.0, 0.2]] * 4)
    x = noise(9)
    for found, expected in zip(
        WaveletTransform(odd, level=1, mode="zero")(x),
        pywt.dwt(x.numpy(), odd, "zero"),
        strict=True,
    ):
        require_equal(found, expected, torch.float64)


def test_joining_is_done_in_full_precision():
    transform = WaveletTransform("db2", level=2)
    x = noise(16).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        joined = transform.inverse(transform(x), 16)
    torch.testing.assert_close(joined, x, rtol=1e-5, atol=1e-5)


def test_coefficients_that_are_no_signals_or_of_several_batches():
    transform = WaveletTransform("db2", 2)
    x = noise(2, 8)
    bands = transform(x)
    torch.testing.assert_close(transform.inverse(bands, np.int64(8)), x)
    with pytest.raises(InputError, match=r"got torch\.int64"):
        transform.inverse([band.long() for band in bands], 8)
    with pytest.raises(InputError, match=r"path 'd2' of shape \(1, .* got \(2, "):
        transform.inverse([bands[0][:1], *bands[1:]], 8)


def test_signals_and_coefficients_that_do_not_fit():
    transform, images = (WaveletTransform("haar", 2, signal_ndim=ndim) for ndim in (1, 2))
    with pytest.raises(InputError, match=r"images of shape \(..., H, W\), got \(8,\)"):
        images(torch.zeros(8))
    with pytest.raises(InputError, match=r"got torch\.int64"):
        transform(torch.zeros(8, dtype=torch.int64))
    bands = transform(torch.zeros(2, 8))
    with pytest.raises(InputError, match="coefficients of all 3 paths, got 2"):
        transform.inverse(bands[:2], 8)
    with pytest.raises(InputError, match=r"path 'd1' of shape \(8,\) .* 16, got \(2, 4\)"):
        transform.inverse([torch.zeros(4), torch.zeros(4), bands[2]], 16)
    with pytest.raises(InputError, match=r"expected 2 positive lengths, got 8"):
        images.inverse(images(torch.zeros(8, 8)), 8)
    with pytest.raises(InputError, match=r"expected 1 positive lengths, got 0"):
        transform.inverse(bands, 0)
