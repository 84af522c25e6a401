"""Frequency scales and weightings of spectrograms: matrices and gains over the bins of an FFT."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._numerics.filters import vanishing_tails

Bank = NDArray[np.float64]

LINEAR_MEL = 200 / 3  # hertz per mel below the corner
CORNER = 1000.0  # hertz; above it, 27 mels multiply the frequency by 6.4
LOG_MEL = 27 / np.log(6.4)  # mels per natural octave above the corner
A0 = 27.5  # hertz, the lowest A of a piano


def mel_bank(sample_rate: float, fft_size: int, n_bins: int) -> Bank:
    """Triangles of equal area between points that are equidistant in mel, on Slaney's scale.

    Args:
        sample_rate: In Hz.
        fft_size: In samples.
        n_bins: Number of triangles from 0 Hz to half the sample rate.

    Returns:
        Shape (n_bins, fft_size // 2 + 1).
    """
    edges = _mel_edges(sample_rate, n_bins)[:, None]
    bins = bin_frequencies(sample_rate, fft_size)
    rising = (bins - edges[:-2]) / np.diff(edges[:-1], axis=0)
    falling = (edges[2:] - bins) / np.diff(edges[1:], axis=0)
    triangles = np.minimum(rising, falling).clip(min=0.0)
    return np.asarray(2 * triangles / (edges[2:] - edges[:-2]))


def most_mels(sample_rate: float, fft_size: int, most: int) -> int:
    """The largest number of triangles, up to some, with a bin of the FFT in each; at least 1.

    Args:
        sample_rate: In Hz.
        fft_size: In samples.
        most: How many there may be.
    """
    bins = bin_frequencies(sample_rate, fft_size)
    for n_bins in range(min(most, fft_size), 1, -1):
        edges = _mel_edges(sample_rate, n_bins)
        above = np.searchsorted(bins, edges[:-2], side="right")  # the first bin inside each
        if (above < np.searchsorted(bins, edges[2:], side="left")).all():
            return n_bins
    return 1


def _mel_edges(sample_rate: float, n_bins: int) -> Bank:
    """Where triangles begin, peak and end: each peaks where the next begins, in Hz."""
    points = np.linspace(0.0, _mel(np.float64(sample_rate / 2)), n_bins + 2)
    return np.where(
        points < CORNER / LINEAR_MEL,
        points * LINEAR_MEL,
        CORNER * np.exp((points - CORNER / LINEAR_MEL) / LOG_MEL),
    )


def _mel(frequency: np.float64) -> float:
    if frequency < CORNER:
        return float(frequency / LINEAR_MEL)
    return float(CORNER / LINEAR_MEL + LOG_MEL * np.log(frequency / CORNER))


@vanishing_tails
def chroma_bank(sample_rate: float, fft_size: int, n_bins: int) -> Bank:
    """Bins by pitch class from C on: bells around each, and a wide one around the fifth octave.

    A bell is as wide as an FFT bin, and at least as a pitch class. Each bin is shared so that its
    weights have a norm of 1, before the bell over octaves attenuates the lowest and the highest.

    Args:
        sample_rate: In Hz, tuned to A = 440 Hz.
        fft_size: In samples.
        n_bins: Number of pitch classes to an octave.

    Returns:
        Shape (n_bins, fft_size // 2 + 1).
    """
    count = fft_size // 2 + 1
    pitches = n_bins * np.log2(np.arange(1, count + 1) * sample_rate / fft_size / A0)
    # 0 Hz has no pitch: it is put one and a half octaves below the first bin
    pitches = np.concatenate([[pitches[0] - 1.5 * n_bins], pitches])
    widths = np.diff(pitches).clip(min=1.0)
    pitches = pitches[:count]
    half = np.round(n_bins / 2)
    distances = np.mod(pitches - np.arange(n_bins)[:, None] + half, n_bins) - half
    bells = np.exp(-2 * (distances / widths) ** 2)
    bells /= np.linalg.norm(bells, axis=0)
    bells *= np.exp(-0.5 * ((pitches / n_bins - 5) / 2) ** 2)
    return np.roll(bells, -3 * (n_bins // 12), axis=0)


def a_weighting(sample_rate: float, fft_size: int) -> Bank:
    """Gains of the A-weighting of IEC 61672, 1 at 1 kHz, for each bin of an FFT.

    Args:
        sample_rate: In Hz.
        fft_size: In samples.

    Returns:
        Shape (fft_size // 2 + 1,).
    """
    squares = bin_frequencies(sample_rate, fft_size) ** 2
    low, middle, upper, high = (corner**2 for corner in A_CORNERS)
    slopes = (squares + low) * np.sqrt((squares + middle) * (squares + upper)) * (squares + high)
    return np.asarray(10 ** (2.0 / 20) * high * squares**2 / slopes)


A_CORNERS = (20.598997, 107.65265, 737.86223, 12194.217)
"""Corner frequencies of the A-weighting in Hz: the outer two count twice."""


def bin_frequencies(sample_rate: float, fft_size: int) -> Bank:
    """Frequencies of the bins of an FFT in Hz, shape (fft_size // 2 + 1,)."""
    return np.asarray(np.fft.rfftfreq(fft_size, 1 / sample_rate), dtype=np.float64)
