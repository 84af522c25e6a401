"""Bands are those of whole spectra, and take memory in proportion to their own length."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from multipath.transforms import JTFS, Scattering1D
from multipath.transforms._numerics.filters import vanishing_tails
from multipath.transforms._scattering.bands import find_band
from multipath.transforms._scattering.wavelets import Wavelet, low_pass, padded_length, wavelet_bank
from tests.reference import scattering1d_twin as twin


@settings(max_examples=20)
@given(length=st.integers(8, 2000), J=st.integers(1, 8), Q=st.integers(1, 20))
@example(length=97, J=3, Q=3)
@example(length=1024, J=2, Q=40)  # centres far below the bandwidth
@example(length=44100, J=11, Q=3)
@example(length=2**17, J=12, Q=1)  # the slowest are shorter than that
@vanishing_tails
def test_bands_are_all_that_there_is_of_whole_spectra(length, J, Q):
    assume(length >= 2**J)
    expected = [twin.morlet(length, *centre).hat for centre in twin.centres(J, Q)]
    expected.append(twin.low_pass(length, 2**J).hat)
    wavelets = [*wavelet_bank(J, Q), low_pass(2**J)]
    widest = wavelets[0]  # the other way round, it is no mirror image
    wavelets.append(Wavelet(-widest.xi, widest.sigma))
    expected.append(twin.morlet(length, -widest.xi, widest.sigma).hat)
    for wavelet, spectrum in zip(wavelets, expected, strict=True):
        peak = np.abs(spectrum).max()
        band = find_band(wavelet, length, 1e-16)
        np.testing.assert_allclose(band.folded(length), spectrum, rtol=0, atol=1e-12 * peak)
        np.testing.assert_allclose(wavelet.spectrum(length), spectrum, rtol=0, atol=1e-12 * peak)
        left_out = np.delete(spectrum, np.arange(band.start, band.stop) % length)
        assert np.abs(left_out).max(initial=0) < 2e-16 * peak
        parts = next(d for d in (5, 4, 3, 2, 1) if length % d == 0)
        folded = spectrum.reshape(parts, -1).sum(axis=0)
        np.testing.assert_allclose(band.folded(length // parts), folded, rtol=0, atol=1e-12 * peak)


@pytest.mark.parametrize("Q", [1, 3, 8])
@vanishing_tails
def test_long_wavelets_have_unit_norm_in_time(Q):
    length = 2**22
    for wavelet in [low_pass(2**14), *wavelet_bank(14, Q)[-3 * Q :]]:
        xi, sigma = wavelet.xi, wavelet.sigma
        times = np.arange(1, math.ceil(1.5 / sigma))
        share = math.exp(-(xi**2) / (2 * sigma**2)) if xi else 0.0
        envelope = np.exp(-2 * (np.pi * sigma * times) ** 2) * math.sqrt(2 * np.pi) * sigma
        norm = 2 * (envelope * np.abs(np.exp(2j * np.pi * xi * times) - share)).sum()
        norm += math.sqrt(2 * np.pi) * sigma * (1 - share)
        k = round(xi * length)
        bump = np.exp(-((k / length - xi) ** 2) / (2 * sigma**2))
        bump -= share * np.exp(-((k / length) ** 2) / (2 * sigma**2))
        (found,) = wavelet.bins(k, k + 1, length)
        assert found == pytest.approx(bump / norm, rel=1e-12)


@pytest.mark.parametrize("transform", [Scattering1D, JTFS])
def test_construction_takes_memory_in_proportion_to_the_bands(transform):
    transform(512, J=5)  # imports and caches
    tracemalloc.start()
    try:
        made = transform(2**18 - 7, J=11, Q=(8, 1), T=2**11)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    filters = [*made.time.psi1, *made.time.psi2, low_pass(2**11)]
    # up to 8.6 bandwidths from its centre, a Gaussian exceeds 1e-16
    bins = sum(min(1.0, 18 * wavelet.sigma) for wavelet in filters) * made.time.padded
    held = sum(buffer.numel() for buffer in made.time.buffers())
    assert made.time.padded < held < bins < 0.1 * len(filters) * made.time.padded
    assert peak < 1.3 * 8 * held


def test_nothing_is_computed_of_a_spectrum_far_from_a_narrow_band():
    tracemalloc.start()
    try:
        band = find_band(Wavelet(0.1, 2**-18), 2**26, 1e-16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(band.values) < 18 * 2 ** (26 - 18)
    assert peak < 2**26


@settings(max_examples=20)
@given(n_samples=st.integers(8, 3000) | st.sampled_from([2**17, 10**5 + 3]), share=st.floats(0, 1))
@vanishing_tails
def test_lengths_after_padding_are_those_of_whole_windows(n_samples, share):
    T = max(1, int(n_samples * share**3))
    assert padded_length(n_samples, T) == twin.padded_length(n_samples, T)
