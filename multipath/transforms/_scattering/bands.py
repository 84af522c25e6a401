"""Band-pass filters reduced to the few bins that matter.

A Morlet wavelet is a bump that covers a few per cent of the spectrum. To filter a signal with it
and keep one sample in 2^level takes no full-length product and no full-length inverse transform:
the bins under the bump are written to the lowest bins of a spectrum of the subsampled length. That
shifts them in frequency, which rotates phases in time, which the modulus does not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .wavelets import Spectrum


@dataclass(frozen=True)
class Band:
    """The bins where a filter is above a threshold.

    Attributes:
        start: The first bin; negative, or beyond the middle bin, where the filter reaches there.
        values: Values of the filter from that bin on.
        offset: Where the values begin in the buffer that holds the whole bank.
    """

    start: int
    values: NDArray[np.float64]
    offset: int = 0

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
        kept = np.flatnonzero(size > threshold * size.max())
        first, last = int(kept[0]), int(kept[-1])
        return Band(self.start + first, self.values[first : last + 1], self.offset + first)

    def of(self, bank: Tensor) -> Tensor:
        """The values as a view of the bank's buffer."""
        return bank[self.offset : self.offset + len(self.values)]


def find_band(spectrum: Spectrum, centre: float, threshold: float) -> Band:
    """The band of a filter given on all bins, around its centre frequency (cycles/sample)."""
    n = len(spectrum)
    # unwrapped around the centre, so that a band that crosses bin 0 stays in one piece
    middle = round(centre * n)
    around = np.arange(middle - n // 2, middle + n - n // 2)
    return Band(int(around[0]), spectrum[around % n]).above(threshold)


def concatenate(bands: Sequence[Band]) -> tuple[list[Band], NDArray[np.float64]]:
    """Lay the bands of a bank one after the other in one array."""
    offsets = np.cumsum([0, *(len(band.values) for band in bands)])
    placed = [
        Band(band.start, band.values, int(offset))
        for band, offset in zip(bands, offsets, strict=False)
    ]
    return placed, np.concatenate([band.values for band in bands])


def extend(half_spectrum: Tensor, below: int, beyond: int) -> Tensor:
    """Half spectra of real signals with ``below`` negative bins and ``beyond`` past the middle one.

    The added bins are complex conjugates of bins that are there.
    """
    n = half_spectrum.shape[-1]
    parts = [half_spectrum]
    if below:
        parts.insert(0, half_spectrum[..., 1 : below + 1].flip(-1).conj_physical())
    if beyond:
        parts.append(half_spectrum[..., n - 1 - beyond : n - 1].flip(-1).conj_physical())
    return torch.cat(parts, dim=-1) if len(parts) > 1 else half_spectrum
