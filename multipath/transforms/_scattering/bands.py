"""Band-pass filters reduced to the few bins that matter.

A Morlet wavelet is a bump that covers a few per cent of the spectrum. To filter a signal with it
and keep one sample in 2^level takes no full-length product and no full-length inverse transform:
the bins under the bump are written to the lowest bins of a spectrum of the subsampled length. That
shifts them in frequency, which rotates phases in time, which the modulus does not see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .wavelets import REACH, Spectrum, Wavelet


@dataclass(frozen=True)
class Band:
    """The bins where a filter is above a threshold.

    Attributes:
        start: The first bin; negative, or beyond the middle bin, where the filter reaches there.
        values: Values of the filter from that bin on.
    """

    start: int
    values: NDArray[np.float64]

    @property
    def stop(self) -> int:
        """One past the last bin."""
        return self.start + len(self.values)

    @property
    def reach(self) -> int:
        """How many bins of a real signal's half spectrum the band needs, counted from bin 0."""
        return max(self.stop, 1 - self.start)

    def above(self, threshold: float) -> Band:
        """The part of the band that exceeds a fraction of its peak."""
        size = np.abs(self.values)
        kept = size > threshold * size.max()
        first, last = int(kept.argmax()), len(kept) - int(kept[::-1].argmax())
        return Band(self.start + first, self.values[first:last])

    def as_tensor(self, like: Tensor) -> Tensor:
        """The values in the precision and on the device of a tensor."""
        return torch.from_numpy(self.values).to(like.dtype).to(like.device)

    def folded(self, length: int) -> Spectrum:
        """The filter for inputs of ``length`` samples, on as many bins: the sum over aliases."""
        spectrum = np.zeros(length)
        np.add.at(spectrum, np.arange(self.start, self.stop) % length, self.values)
        return spectrum


def find_band(wavelet: Wavelet, length: int, threshold: float) -> Band:
    """The band of a wavelet on ``length`` bins, of which only those near its centre are computed.

    Args:
        wavelet: The filter.
        length: Number of bins of the whole spectrum.
        threshold: Fraction of the peak that the band exceeds, 1e-16 at least.
    """
    # Unwrapped around the centre, so that a band that crosses bin 0 stays in one piece. Of the two
    # Gaussians of a wavelet, the one at 0 is exp(-(xi^2 + w^2) / 2 sigma^2) at a frequency w: where
    # that exceeds 1e-18, w is at most |xi| + |w| < sqrt(2 * 83) sigma < REACH sigma away from xi.
    middle = round(wavelet.xi * length)
    below = min(math.ceil(REACH * wavelet.sigma * length), length // 2)
    beyond = min(below + 1, length - length // 2)
    start = middle - below
    band = Band(start, wavelet.bins(start, middle + beyond, length)).above(threshold)
    return Band(band.start, band.values.copy())  # which holds nothing else in memory


def unwrapped(half_spectrum: Tensor, bins: range) -> Tensor:
    """Bins of real signals, which may start below bin 0 and end beyond the middle one.

    Bins that the half spectrum does not hold are complex conjugates of bins that it does.

    Args:
        half_spectrum: Half spectra, from bin 0 to the middle one, or to the last one asked for.
        bins: Which bins.
    """
    n = half_spectrum.shape[-1]
    below, beyond = max(0, -bins.start), max(0, bins.stop - n)
    parts = [half_spectrum[..., max(0, bins.start) : bins.stop]]
    if below:
        parts.insert(0, half_spectrum[..., 1 : below + 1].flip(-1).conj_physical())
    if beyond:
        parts.append(half_spectrum[..., n - 1 - beyond : n - 1].flip(-1).conj_physical())
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
