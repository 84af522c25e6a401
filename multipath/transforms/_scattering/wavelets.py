r"""Analytic Morlet filter banks in the frequency domain, with kymatio's conventions.

Frequencies are in cycles/sample. A wavelet has centre frequency xi, bandwidth sigma (standard
deviation of its Gaussian) and subsampling exponent j: its output may be kept at one sample in
:math:`2^j`. The conventions (constants below, spacing, normalisation, padding) are those of
kymatio (Andreux et al., JMLR 2020), so that coefficients agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIGMA0 = 0.1  # bandwidth of a low-pass filter of support T is SIGMA0 / T
ALPHA = 5.0  # a wavelet ends ALPHA bandwidths above its centre frequency
CROSSING = math.sqrt(0.5)  # neighbouring wavelets meet at this fraction of their peak

Spectrum = NDArray[np.float64]


@dataclass(frozen=True)
class Wavelet:
    """A wavelet, given by centre frequency and bandwidth; ``xi=0`` makes it a low-pass filter."""

    xi: float
    sigma: float

    @property
    def j(self) -> int:
        """Largest j such that the wavelet, cut at xi + 5 sigma, lies below 2^-(j + 1)."""
        return math.floor(-math.log2(min(abs(self.xi) + ALPHA * self.sigma, 0.5))) - 1

    def spectrum(self, length: int) -> Spectrum:
        """Fourier transform on ``length`` bins, normalised to unit l1 norm in time.

        It is a Gaussian bump at xi, minus the multiple of a Gaussian at 0 that gives zero mean;
        both are periodised, since the wavelet is sampled in time.
        """
        # as in kymatio: the periods where the Gaussian exceeds 1e-7, but no more than five
        reach = math.sqrt(-2 * self.sigma**2 * math.log(1e-7))
        periods = min(math.ceil(reach + 1), 5)
        vanishing = 39 * self.sigma  # further from the centre, the exponential is zero in float64

        def gaussian(centre: float) -> Spectrum:
            total = np.zeros(length)
            for period in range(1 - periods, periods):
                first = min(max(0, math.floor((centre - period - vanishing) * length)), length)
                last = max(first, min(length, math.ceil((centre - period + vanishing) * length)))
                offsets = np.arange(first, last) / length + period - centre
                total[first:last] += np.exp(-(offsets**2) / (2 * self.sigma**2))
            return total

        bump = gaussian(self.xi)
        if self.xi:
            low = gaussian(0.0)
            bump -= bump[0] / low[0] * low
        normalised: Spectrum = bump / np.abs(np.fft.ifft(bump)).sum()
        return normalised


def low_pass(support: float) -> Wavelet:
    """The Gaussian low-pass filter whose averaging window spans ``support`` samples."""
    return Wavelet(0.0, SIGMA0 / support)


def wavelet_bank(J: int, Q: int) -> list[Wavelet]:
    r"""Wavelets from near Nyquist down to :math:`2^{-J}`, highest frequency first.

    There are Q per octave at constant Q-factor as long as the bandwidth exceeds SIGMA0 / 2^J, and
    below that Q - 1 more at constant bandwidth, evenly spaced down to 0.
    """
    ratio = 2 ** (1 / Q)
    xi = max(1 / (1 + 2 ** (3 / Q)), 0.35)
    sigma = xi * (ratio - 1) / (ratio + 1) / math.sqrt(2 * math.log(1 / CROSSING))
    narrowest = SIGMA0 / 2**J
    bank = []
    if sigma <= narrowest:
        xi = sigma
    else:
        bank.append(Wavelet(xi, sigma))
        while sigma > narrowest * ratio:
            xi, sigma = xi / ratio, sigma / ratio
            bank.append(Wavelet(xi, sigma))
    step = xi / Q
    return bank + [Wavelet(xi - (q + 1) * step, narrowest) for q in range(Q - 1)]


def padded_length(n_samples: int, T: float) -> int:
    """Power of two that holds the signal and three supports of the averaging window on each side.

    Mirroring cannot pad by more than the signal's own length, which is an upper bound.
    """
    window = np.abs(np.fft.ifft(low_pass(T).spectrum(n_samples)))[: n_samples // 2]
    rest = np.cumsum(window[::-1])[::-1]  # l1 norm of what lies beyond each time
    short = np.flatnonzero(rest <= 1e-3)
    support = int(short[0]) + 1 if len(short) else n_samples // 2
    wanted = math.ceil(math.log2(n_samples + 6 * support))
    most = math.floor(math.log2(3 * n_samples - 2))
    return int(2 ** min(wanted, most))


def subsample(spectrum: Spectrum, level: int) -> Spectrum:
    """Spectrum of a filter for inputs that are kept at one sample in 2^level.

    Taking the sum over aliases, not their mean, keeps the filter's gain.
    """
    folded: Spectrum = spectrum.reshape(2**level, -1).sum(axis=0)
    return folded


def decimation_matrix(spectrum: Spectrum, stride: int) -> NDArray[np.complex128]:
    """Matrix (output, input) of circular convolution with a filter, then subsampling.

    Args:
        spectrum: The filter in the frequency domain, one bin per input sample.
        stride: One output in so many is kept; divides the input length.
    """
    impulse = np.fft.ifft(spectrum)
    n = len(spectrum)
    lag = np.arange(0, n, stride)[:, None] - np.arange(n)[None, :]
    matrix: NDArray[np.complex128] = impulse[lag % n]
    return matrix
