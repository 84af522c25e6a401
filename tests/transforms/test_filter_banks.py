"""Scales and weightings: golden values of librosa, sums by hand, and what is refused."""

import json

import numpy as np
import pytest
import torch

from multipath.errors import ConfigurationError
from multipath.transforms import MultiResolutionSTFT
from multipath.transforms._filter_banks import a_weighting, chroma_bank, mel_bank
from tests import GOLDEN as FOLDER

from .cases import double_noise as noise

GOLDEN = np.load(FOLDER / "filter_banks.npz")
MAKERS = {"mel": mel_bank, "chroma": chroma_bank}


@pytest.mark.parametrize("index", range(len(json.loads(str(GOLDEN["settings"])))))
def test_banks_are_those_of_librosa(index):
    kind, *arguments = json.loads(str(GOLDEN["settings"]))[index]
    found, expected = MAKERS[kind](*arguments), GOLDEN[f"bank_{index}"]
    stride = -(-found.size // 1000)
    assert found.shape == tuple(GOLDEN[f"shape_{index}"])
    np.testing.assert_allclose(found.ravel()[::stride], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), GOLDEN[f"sums_{index}"], rtol=1e-9)


def test_the_weighting_is_that_of_librosa():
    rate, fft = json.loads(str(GOLDEN["weighting_settings"]))
    np.testing.assert_allclose(a_weighting(rate, fft)[1:], GOLDEN["weighting"], rtol=1e-9)
    assert a_weighting(rate, fft)[0] == 0
    assert a_weighting(2000.0, 2)[1] == pytest.approx(1.0, abs=1e-3)  # at 1 kHz


@pytest.mark.parametrize("weighting", [None, "A"])
@pytest.mark.parametrize("scale", [None, "mel", "chroma"])
def test_coefficients_are_weighed_sums_of_magnitudes(scale, weighting):
    sizes, bands = [64, 51], [9, 7]
    options = {} if scale is None else {"n_bins": bands}
    transform = MultiResolutionSTFT(
        sizes, sample_rate=8000.0, scale=scale, weighting=weighting, **options
    )
    x = noise(2, 3, 200).requires_grad_()
    plain = MultiResolutionSTFT(sizes)(x)
    for found, bins, fft, count in zip(transform(x), plain, sizes, bands, strict=True):
        expected = bins
        if weighting:
            expected = torch.from_numpy(a_weighting(8000.0, fft))[:, None] * expected
        if scale:
            expected = torch.from_numpy(MAKERS[scale](8000.0, fft, count)) @ expected
        torch.testing.assert_close(found, expected)
        pair = (
            torch.autograd.grad(c.square().sum(), x, retain_graph=True) for c in (found, expected)
        )
        torch.testing.assert_close(*pair)


def test_pitches_fall_into_their_class():
    seconds = torch.arange(8000) / 8000
    transform = MultiResolutionSTFT([4096], sample_rate=8000.0, scale="chroma")
    for pitch in range(57, 82):  # of which 69 is A at 440 Hz, class 9 from C on
        tone = torch.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * seconds)
        (found,) = transform(tone)
        assert found[:, 4].argmax() == pitch % 12


def test_bands_have_their_usual_numbers():
    for scale, expected in (("mel", 128), ("chroma", 12)):
        transform = MultiResolutionSTFT([2048], sample_rate=22050.0, scale=scale)
        assert transform(torch.zeros(4096))[0].shape[0] == expected
        assert f"scale='{scale}'" in repr(transform)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000])
def test_there_are_as_many_mel_bands_as_hold_bins(rate):
    sizes = [64, 100, 128, 256, 512, 1024, 2048, 4096]
    transform = MultiResolutionSTFT(sizes, sample_rate=rate, scale="mel")
    for fft, found in zip(sizes, transform(torch.zeros(2100)), strict=True):
        bands = found.shape[0]
        assert (mel_bank(rate, fft, bands).max(axis=1) > 0).all()
        for more in range(bands + 1, min(128, fft) + 1):
            assert (mel_bank(rate, fft, more).max(axis=1) == 0).any()
    MultiResolutionSTFT(sample_rate=rate, scale="mel")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "mel"}, "a scale or a weighting needs the sample_rate"),
        ({"weighting": "A"}, "needs the sample_rate"),
        ({"scale": "bark", "sample_rate": 8e3}, 'scale must be None, "mel" or "chroma", got'),
        ({"weighting": "C", "sample_rate": 8e3}, 'weighting must be None or "A", got'),
        ({"n_bins": 4, "sample_rate": 8e3}, "n_bins=4 belongs to a scale"),
        ({"scale": "mel", "n_bins": 0, "sample_rate": 8e3}, "between 1 and the FFT size 64, got 0"),
        (
            {"scale": "mel", "n_bins": [4, 5], "sample_rate": 8e3},
            "one entry per resol",
        ),
        (
            {"scale": "mel", "n_bins": 40, "sample_rate": 8e3},
            "no bin .* in band 0 of 40: lower",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        MultiResolutionSTFT([64], **options)
