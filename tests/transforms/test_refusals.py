"""What transforms refuse, at construction and of signals."""

import pytest
import torch

from multipath.errors import ConfigurationError, InputError
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    WaveletPacket,
    WaveletTransform,
)

from .cases import shared


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: JTFS(1000, J=12, T=64), "1000 samples are too short for J=12.*use J <= 11"),
        (lambda: JTFS(1000, J=5, T=2048), "got T=2048 for 1000 samples"),
        (lambda: JTFS(1000, J=5, T=0), "got T=0"),
        (lambda: JTFS(1000, J=0, T=64), "J and Q must be at least 1, got J=0"),
        (lambda: JTFS(1000, J=5, T=64, Q=(8, 0)), r"got J=5, Q=\(8, 0\)"),
        (lambda: JTFS(1000, J=5, T=64, F=99), "F between 1 and .* = 48, .* F=99"),
        (lambda: JTFS(1000, J=5, T=64, J_fr=0), "J_fr=0"),
        (lambda: JTFS(1000, J=5.0, T=64), "J must be a whole number, got 5.0"),
        (lambda: JTFS(1000.0, J=5, T=64), "n_samples must be a whole number, got 1000.0"),
        (lambda: JTFS(1000, J=5, T=64, F=1.5), "F must be a whole number, got 1.5"),
        (
            lambda: JTFS(1000, J=5, T=64, Q=(8, 2, 1)),
            r"or Q1, got \(8, 2, 1\)",
        ),
        (lambda: JTFS(1000, J=5, T=64, sample_rate=-1.0), "sample_rate must be positive"),
        (lambda: Scattering1D(1000, J=5, T=64, Q=2.5), "Q must be"),
        (lambda: Scattering1D(1000, J=5, T=64, sampling="half"), '"exact" or "reduced", got'),
        (lambda: JTFS(1000, J=5, T=64, sampling="half"), 'sampling must be "exact" or "reduced"'),
        (lambda: Scattering1D(1000, J=5, T=64, max_order=3), "max_order must be 1 or 2, got 3"),
        (lambda: MultiResolutionSTFT([64], [16, 16]), "one entry per resolution, got 1, 2 and 1"),
        (lambda: MultiResolutionSTFT([64], [16], [128]), "fft_size=64, .* win_length=128"),
        (lambda: MultiResolutionSTFT([64], [0]), "hop_size=0"),
        (lambda: MultiResolutionSTFT([64], [65]), "hop_size between 1 and fft_size.*hop_size=65"),
        (lambda: MultiResolutionSTFT(64), r"must list the sizes, e.g. \[64\]"),
        (lambda: MultiResolutionSTFT([64], window="tall"), "get_window knows, got 'tall'"),
        (
            lambda: MultiResolutionSTFT([64], window="kaiser"),
            "window must be a function, or a name",
        ),
        (lambda: MultiResolutionSTFT([64], window=3j), "window must be a function, or a name"),
        (lambda: MultiResolutionSTFT([64], window=("kaiser", "wide")), "window must be a function"),
        (lambda: Scattering2D(32, J=2), r"shape must be \(height, width\) of the images, got 32"),
        (lambda: Scattering2D((32,), J=2), r"got \(32,\)"),
        (lambda: Scattering2D((32, 32.0), J=2), "width must be a whole number, got 32.0"),
        (lambda: Scattering2D((32, 32), J=0), "J and L must be at least 1, got J=0, L=8"),
        (lambda: Scattering2D((32, 32), J=2, L=0), "got J=2, L=0"),
        (lambda: Scattering2D((32, 32), 2, max_order=3), "max_order must be 1 or 2, got 3"),
        (lambda: Scattering2D((32, 32), 2, T=4), 'T must be "global" or None, got 4'),
        (lambda: Scattering2D((32, 7), 3), r"at least 2\^J = 8 pixels .* \(32, 7\); use a smaller"),
        (lambda: WaveletTransform("db99"), r"no discrete wavelet 'db99'; pywt.wavelist"),
        (lambda: WaveletTransform("morl"), "no discrete wavelet 'morl'"),
        (lambda: WaveletTransform(4), "a name or a pywt.Wavelet, got 4"),
        (lambda: WaveletTransform(""), "no discrete wavelet ''"),
        (lambda: WaveletTransform(level=0), "level must lie between 1 and 62, got 0"),
        (lambda: WaveletTransform(level=1200), "level must lie between 1 and 62, got 1200"),
        (lambda: WaveletTransform(signal_ndim=1.0), "signal_ndim must be a whole number, got 1.0"),
        (lambda: WaveletTransform(sample_rate="a"), "sample_rate must be positive, .* got 'a'"),
        (lambda: WaveletPacket(level=2.0), "level must be a whole number, got 2.0"),
        (lambda: WaveletPacket(mode="smooth"), "mode must be .periodization., .* .smooth."),
        (lambda: WaveletPacket(signal_ndim=3), "signal_ndim must be 1 or 2, got 3"),
        (lambda: WaveletPacket(order="freq"), '"frequency" or "natural", got \'freq\''),
        (lambda: WaveletPacket(sample_rate=0), "sample_rate must be positive"),
    ],
)
def test_what_cannot_be_is_refused_at_construction(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "x", "message"),
    [
        (
            "jtfs",
            torch.zeros(2, 1000),
            r"expected signals of 1024 samples, got 1000 in shape \(2, 1000\)",
        ),
        ("jtfs", torch.zeros(1024, dtype=torch.int64), "real floating-point .* got torch.int64"),
        ("jtfs", torch.zeros(1024, dtype=torch.complex64), "got torch.complex64"),
        ("jtfs", [0.0] * 1024, "got list"),
        ("jtfs", torch.zeros(()), r"shape \(..., T\)"),
        ("jtfs", torch.zeros(0, 1024), "none empty"),
        ("mrstft", torch.zeros(100), "100 samples are too short for an FFT of 256"),
        (
            "scattering2d",
            torch.zeros(2, 17, 24),
            r"\(..., 32, 32\), got \(2, 17, 24\); cut them or pad them",
        ),
        ("scattering2d", torch.zeros(17), r"expected images of shape \(..., 32, 32\), got \(17,\)"),
        ("scattering2d", torch.zeros(32, 32).byte(), "real floating-point .* got torch.uint8"),
        ("scattering2d", torch.zeros(0, 32, 32), "none empty"),
    ],
)
def test_signals_that_do_not_fit(name, x, message):
    with pytest.raises(InputError, match=message):
        shared(name)(x)


def test_pairs_of_which_one_does_not_fit():
    with pytest.raises(InputError, match="expected signals of 1024 samples, got 1000 in shape"):
        shared("jtfs").coefficient_pairs(torch.zeros(2, 1024), torch.zeros(2, 1000), [0])
