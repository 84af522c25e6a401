"""Oriented Morlet wavelets as spectra, and the averaging of images as matrices."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# kymatio normalises with this value of pi, which is off by 3e-5: coefficients agree if we do too.
KYMATIO_PI = 3.1415
SIGMA, FREQUENCY = 0.8, 0.75 * math.pi  # width in pixels, radians per pixel, at the finest scale
NEGLIGIBLE = -45.0  # a Gaussian whose exponents are all below this is left out


class Wavelet(NamedTuple):
    """A wavelet, given by its scale 2^j and the number of its angle."""

    j: int
    theta: int


def angle(theta: int, n_angles: int) -> float:
    """Direction of a wavelet's wave in radians, 0 along the height."""
    return (int(n_angles - n_angles / 2 - 1) - theta) * math.pi / n_angles


def frequency(j: int) -> float:
    """Frequency of a wavelet's wave in cycles per pixel."""
    return FREQUENCY / (2 * math.pi) * 0.5**j


def morlet(shape: tuple[int, int], wavelet: Wavelet, n_angles: int) -> NDArray[np.float64]:
    r"""Real spectrum of a wavelet on a torus of pixels.

    .. math:: \psi(u) = g(u) (e^{i \xi^T u} - \beta)

    with a Gaussian envelope g, L / 4 times as long across the wave as along it, and beta such that
    the mean vanishes.
    """
    slant = 4 / n_angles
    direction = angle(wavelet.theta, n_angles)
    sigma = SIGMA * 2**wavelet.j
    wave = _gabor(shape, sigma, direction, FREQUENCY / 2**wavelet.j, slant)
    envelope = _gabor(shape, sigma, direction, 0.0, slant)
    spectrum: NDArray[Any] = np.fft.fft2(wave - wave.sum() / envelope.sum() * envelope)
    return spectrum.real


def _gabor(
    shape: tuple[int, int], sigma: float, direction: float, frequency: float, slant: float
) -> NDArray[Any]:
    """A wave under an elliptic Gaussian, summed over shifts by whole periods of the torus."""
    cosine, sine = math.cos(direction), math.sin(direction)
    rows, columns = (np.concatenate([np.arange(-2 * n, 3 * n)]) for n in shape)
    total = np.zeros(shape, dtype=complex)
    for row in range(5):
        for column in range(5):
            y = rows[row * shape[0] : (row + 1) * shape[0], None]
            x = columns[None, column * shape[1] : (column + 1) * shape[1]]
            along, across = y * cosine + x * sine, x * cosine - y * sine
            exponent = -(along**2 + (slant * across) ** 2) / (2 * sigma**2)
            if exponent.max() > NEGLIGIBLE:
                total += np.exp(exponent + 1j * frequency * along)
    return total / (2 * KYMATIO_PI * sigma**2 / slant)


def averaging(length: int, level: int, deepest: int) -> NDArray[np.float64]:
    """Matrix that averages over 2^J pixels along one axis and keeps one average in as many pixels.

    The Gaussian that averages images is separable: a product of one such matrix for each axis.

    Args:
        length: Number of pixels along the padded axis, a multiple of 2^J.
        level: The input holds every 2^level-th pixel of the axis.
        deepest: The scale J.

    Returns:
        Shape (length / 2^J, length / 2^level).
    """
    sigma = SIGMA * 2 ** (deepest - 1)
    positions = np.arange(-2 * length, 3 * length).reshape(5, length)
    window = np.exp(-(positions**2) / (2 * sigma**2)).sum(axis=0)
    window /= math.sqrt(2 * KYMATIO_PI) * sigma
    count, step = length >> level, 2 ** (deepest - level)
    low = np.fft.fft(window).real
    # the lowest bins of either sign filter every 2^level-th pixel with the gain of all
    low = np.concatenate([low[: count // 2], low[length - (count - count // 2) :]])
    smoothed = np.fft.ifft(low[:, None] * np.fft.fft(np.eye(count), axis=0), axis=0).real
    return smoothed[::step]


def means(length: int, level: int, kept: range) -> NDArray[np.float64]:
    """Matrix, of one row, that averages what lies in a part of an axis; see :func:`averaging`."""
    inside = np.isin(np.arange(0, length, 2**level), kept)
    weights: NDArray[np.float64] = inside[None] / inside.sum()
    return weights
