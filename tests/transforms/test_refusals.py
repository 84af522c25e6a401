"""What transforms refuse, at construction and of signals."""

import pytest
import torch

from multipath.errors import ConfigurationError, InputError
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
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
        (lambda: Scattering1D(1000, J=5, T=64, max_order=3), "max_order must be 1 or 2, got 3"),
        (lambda: MultiResolutionSTFT([64], [16, 16]), "one entry per resolution, got 1, 2 and 1"),
        (lambda: MultiResolutionSTFT([64], [16], [128]), "fft_size=64, .* win_length=128"),
        (lambda: MultiResolutionSTFT([64], [0]), "hop_size=0"),
        (lambda: MultiResolutionSTFT([64], [65]), "hop_size between 1 and fft_size.*hop_size=65"),
        (lambda: MultiResolutionSTFT(64), r"must list the sizes, e.g. \[64\]"),
        (lambda: MultiResolutionSTFT([64], window="tall"), "get_window knows, got 'tall'"),
    ],
)
def test_what_cannot_be_is_refused_at_construction(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 1000), r"expected signals of 1024 samples, got 1000 in shape \(2, 1000\)"),
        (torch.zeros(1024, dtype=torch.int64), "real floating-point .* got torch.int64"),
        (torch.zeros(1024, dtype=torch.complex64), "got torch.complex64"),
        ([0.0] * 1024, "got list"),
        (torch.zeros(()), r"shape \(..., T\)"),
        (torch.zeros(0, 1024), "none empty"),
    ],
)
def test_signals_that_do_not_fit(x, message):
    with pytest.raises(InputError, match=message):
        shared("jtfs").coefficients(x, [0])


def test_signals_too_short_for_an_fft():
    with pytest.raises(InputError, match="100 samples are too short for an FFT of 256"):
        shared("mrstft")(torch.zeros(100))
