"""A slow, readable scattering transform of images in float64, written from the definitions.

    S0 = x * phi,   S1[n1] = |x * psi[n1]| * phi,   S2[n1, n2] = ||x * psi[n1]| * psi[n2]| * phi

Circular convolutions on an image padded by its mirror image; a wavelet of scale 2^j leaves every
2^j-th pixel. Filters for an image that has been subsampled are those of the whole image, low-passed
ideally and sampled at the same pixels. Numbers of wavelets: n = L * j + theta.
"""

import math

import numpy as np

PI = 3.1415  # in the normalisation of kymatio


def torus(n):
    """Every pixel of five periods of an axis, the origin at the start of the third."""
    return np.arange(-2 * n, 3 * n)


def wrapped(values, shape):
    """Five by five periods upon each other."""
    return values.reshape(5, shape[0], 5, shape[1]).sum(axis=(0, 2))


def gabor(shape, sigma, direction, frequency, slant):
    y, x = np.meshgrid(torus(shape[0]), torus(shape[1]), indexing="ij")
    along = math.cos(direction) * y + math.sin(direction) * x
    across = math.cos(direction) * x - math.sin(direction) * y
    envelope = np.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2))
    norm = 2 * PI * sigma**2 / slant
    return wrapped(envelope * np.exp(1j * frequency * along), shape) / norm


def wavelet(shape, j, theta, L):
    direction = (math.floor(L / 2 - 1) - theta if L > 1 else 0 - theta) * math.pi / L
    wave, envelope = (
        gabor(shape, 0.8 * 2**j, direction, frequency, 4 / L)
        for frequency in (0.75 * math.pi / 2**j, 0)
    )
    return wave - wave.sum() / envelope.sum() * envelope


def subsampled(kernel, step):
    """The kernel on every step-th pixel, from its lowest frequencies alone."""
    for axis in (0, 1):
        n = kernel.shape[axis]
        low = np.fft.fftfreq(n) * 2 * step  # -1 and below 1 are kept
        mask = (low >= -1) & (low < 1)
        kernel = np.fft.ifft(
            np.fft.fft(kernel, axis=axis) * np.expand_dims(mask, 1 - axis), axis=axis
        )
    return step**2 * kernel[::step, ::step]


def convolve(image, kernel, step):
    return np.fft.ifft2(np.fft.fft2(image) * np.fft.fft2(kernel))[::step, ::step]


def scattering2d_paths(x, J, L, border="reflect", means=False):
    """All paths, in order of length, then of index: {(): S0, (n1,): S1, (n1, n2): S2}.

    The border is as `numpy.pad` has it: "reflect", "wrap", "constant"; None is no padding at all.
    With means, phi is the mean over those pixels that are of the image itself.
    """
    margins = [((n + 2**J) // 2**J + 1) * 2**J - n if border else 0 for n in x.shape]
    image = np.pad(x, [(m // 2, m - m // 2) for m in margins], mode=border) if border else x
    kept = slice(1, -1) if border else slice(None)
    phi = gabor(image.shape, 0.8 * 2 ** (J - 1), 0.0, 0.0, 1.0)
    psi = {L * j + t: wavelet(image.shape, j, t, L) for j in range(J) for t in range(L)}

    inside = np.pad(np.ones(x.shape, dtype=bool), [(m // 2, m - m // 2) for m in margins])

    def average(image, level):
        if means:
            return image[inside[:: 2**level, :: 2**level]].mean(keepdims=True)[None]
        return convolve(image, subsampled(phi, 2**level), 2 ** (J - level)).real[kept, kept]

    first = {n: np.abs(convolve(image, psi[n], 2 ** (n // L))) for n in psi}
    paths = {(): average(image, 0)}
    paths |= {(n1,): average(first[n1], n1 // L) for n1 in psi}
    for n1 in psi:
        for n2 in range(L * (n1 // L + 1), J * L):
            kernel = subsampled(psi[n2], 2 ** (n1 // L))
            second = np.abs(convolve(first[n1], kernel, 2 ** (n2 // L - n1 // L)))
            paths[n1, n2] = average(second, n2 // L)
    return paths
