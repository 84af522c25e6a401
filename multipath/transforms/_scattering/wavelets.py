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
REACH = 13.0  # so many bandwidths from its centre, a Gaussian (1e-37) changes no digit of a filter
SHORT = 2**15  # samples of a long wavelet that its norm is computed from

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

    @property
    def longest(self) -> int:
        """A number of samples, a power of two, beyond which the wavelet is zero in float64."""
        # its envelope is a Gaussian of standard deviation 1 / (2 pi sigma), here nine each way
        return max(SHORT, 1 << math.ceil(math.log2(3 / self.sigma)))

    def spectrum(self, length: int) -> Spectrum:
        """Fourier transform on ``length`` bins, normalised to unit l1 norm in time."""
        return self.bins(0, length, length)

    def bins(self, start: int, stop: int, length: int) -> Spectrum:
        """The bins from ``start`` to ``stop`` - 1 of :meth:`spectrum`, which goes on periodically.

        They take time and memory in proportion to their number, unless the wavelet is longer than
        ``length``.
        """
        bump = self._bump(start, stop, length)
        bump /= self._norm(length)
        return bump

    def _norm(self, length: int) -> float:
        """The l1 norm in time of the bump."""
        # where xi is negative, leaving periods out may leave a step, which fades slowly in time
        short = min(length, self.longest) if self.xi >= 0 else length
        bump = self._bump(0, short, short)
        if short == self.longest:
            # Where it is not cut off, its modulus is smooth (unless xi << sigma < 3 / SHORT, which
            # no bank has): sums of SHORT samples or of all are equal to the last digit. Modulo
            # SHORT, bins add up to the spectrum of these samples.
            bump = bump.reshape(-1, SHORT).sum(axis=0)
        size = np.abs(np.fft.rfft(bump))
        size[1 : (len(bump) + 1) // 2] *= 2  # at times -t as at times t
        return float(size.sum() / len(bump))

    def _bump(self, start: int, stop: int, length: int) -> Spectrum:
        """A Gaussian at xi, minus the multiple of a Gaussian at 0 that gives zero mean.

        Both are periodised, since the wavelet is sampled in time.
        """
        bump = self._gaussian(self.xi, start, stop, length)
        if self.xi:
            share = self._gaussian(self.xi, 0, 1, length) / self._gaussian(0.0, 0, 1, length)
            low = self._gaussian(0.0, start, stop, length)
            low *= share
            bump -= low
        return bump

    def _gaussian(self, centre: float, start: int, stop: int, length: int) -> Spectrum:
        # as in kymatio: the periods where the Gaussian exceeds 1e-7, but no more than five
        reach = math.sqrt(-2 * self.sigma**2 * math.log(1e-7))
        periods = min(math.ceil(reach + 1), 5)
        total = np.zeros(stop - start)
        for turn in range(start // length, -(-stop // length)):  # everything recurs in each
            begin, end = max(start, turn * length), min(stop, (turn + 1) * length)
            for period in range(1 - periods - turn, periods - turn):
                low, high = (centre - period + side * REACH * self.sigma for side in (-1, 1))
                first, last = (
                    max(begin, math.floor(low * length)),
                    min(end, math.ceil(high * length)),
                )
                if first < last:
                    offsets = np.arange(first, last, dtype=np.float64)
                    offsets /= length
                    offsets += period
                    offsets -= centre
                    np.square(offsets, out=offsets)
                    offsets /= -2 * self.sigma**2
                    total[first - start : last - start] += np.exp(offsets, out=offsets)
        return total


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
    length = min(n_samples, low_pass(T).longest)
    window = np.abs(np.fft.ifft(low_pass(T).spectrum(length)))[: length // 2]
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
