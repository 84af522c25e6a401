"""A slow, readable scattering transform in float64, written from the definitions.

    S0 = x * phi,   S1[n1] = |x * psi1[n1]| * phi,   S2[n1, n2] = ||x * psi1[n1]| * psi2[n2]| * phi

Circular convolutions on a signal padded by reflection. The definition includes the sampling steps:
a wavelet's output is kept every `2**j` samples *before* its modulus, hence the next convolution is
a sum over that coarser grid. `convolve` takes it literally: filter taps read off at those samples.

Conventions of kymatio: Morlet wavelets of unit L1 norm, geometric centre frequencies down to the
narrowest bandwidth `0.1 / 2**J`, then equally spaced; neighbours meet at half power.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

SIGMA0 = 0.1  # bandwidth of a low-pass filter of support 1, in cycles per sample


class Filter(NamedTuple):
    """Transfer function over `np.fft.fftfreq`'s grid, centre and bandwidth in cycles per sample."""

    hat: np.ndarray
    xi: float
    sigma: float
    j: int  # the output may be kept every 2**j samples


def gaussian(n, centre, sigma):
    """A Gaussian over the frequency circle: the sum of its shifts by whole periods.

    The first omitted period is where a Gaussian at 0 has fallen to 1e-7, whatever the centre: so
    broad wavelets of negative centre, cut earlier, are not quite mirror images of the positive.
    """
    last = min(math.ceil(sigma * math.sqrt(2 * math.log(1e7))), 4)
    line = np.arange(-last * n, (last + 1) * n) / n
    return np.exp(-((line - centre) ** 2) / (2 * sigma**2)).reshape(-1, n).sum(axis=0)


def unit_l1(hat):
    return hat / np.abs(np.fft.ifft(hat)).sum()


def low_pass(n, support):
    sigma = SIGMA0 / support
    return Filter(unit_l1(gaussian(n, 0, sigma)), 0.0, sigma, int(math.log2(support)))


def morlet(n, xi, sigma):
    """A Gabor filter, less the multiple of a low-pass that makes its mean vanish."""
    gabor, low = gaussian(n, xi, sigma), gaussian(n, 0, sigma)
    highest = min(abs(xi) + 5 * sigma, 0.5)  # where the response has died out
    return Filter(
        unit_l1(gabor - gabor[0] / low[0] * low), xi, sigma, math.floor(-math.log2(2 * highest))
    )


def centres(J, Q):
    """(xi, sigma) of the wavelets, from high to low frequencies."""
    ratio = 2 ** (1 / Q)
    xi = max(1 / (1 + 2 ** (3 / Q)), 0.35)
    sigma = xi * (ratio - 1) / (ratio + 1) / math.sqrt(math.log(2))
    narrowest = SIGMA0 / 2**J
    if sigma > narrowest:
        yield xi, sigma
        while sigma > narrowest * ratio:
            xi, sigma = xi / ratio, sigma / ratio
            yield xi, sigma
    else:
        xi = sigma
    for q in range(1, Q):
        yield xi * (1 - q / Q), narrowest


@lru_cache(maxsize=4)
def filter_bank(n, J, Q):
    return [morlet(n, xi, sigma) for xi, sigma in centres(J, Q)]


def convolve(signal, kernel_hat, step_in, step_out, axis=-1):
    """Convolve samples taken every `step_in`, keep every `step_out` (both on the finest grid)."""
    kernel = step_in * np.fft.ifft(kernel_hat)[::step_in]
    shape = [1] * signal.ndim
    shape[axis] = -1
    product = np.fft.fft(signal, axis=axis) * np.fft.fft(kernel).reshape(shape)
    kept = np.arange(0, signal.shape[axis], step_out // step_in)
    return np.take(np.fft.ifft(product, axis=axis), kept, axis=axis)


def padded_length(n_samples, T):
    """The power of two that leaves thrice the low-pass's support at both ends, if it can."""
    taps = np.abs(np.fft.ifft(low_pass(n_samples, T).hat))[: n_samples // 2]
    tails = np.cumsum(taps[::-1])[::-1]
    short_enough = np.flatnonzero(tails <= 1e-3)
    support = short_enough[0] + 1 if len(short_enough) else n_samples // 2
    wanted = math.ceil(math.log2(n_samples + 6 * support))
    return 2 ** min(wanted, math.floor(math.log2(3 * n_samples - 2)))


def pad(x, T, border="reflect"):
    """As `numpy.pad` has it: mode "reflect", "wrap" or "constant"."""
    margin = padded_length(len(x), T) - len(x)
    return np.pad(np.asarray(x, dtype=np.float64), (margin // 2, margin - margin // 2), border)


def unpadded_columns(n_samples, T, stride=None):
    """The output samples (every `stride`) that lie within the signal."""
    stride = stride or 2 ** int(math.log2(T))
    left = (padded_length(n_samples, T) - n_samples) // 2
    return slice(math.ceil(left / stride), math.ceil((left + n_samples) / stride))


def scalogram(x, J, Q1, T, j_below=math.inf, longest_step=None, border="reflect"):
    """First layer: [(|x * psi1[n1]| every `step` samples, step, j1)] for j1 < j_below."""
    padded = pad(x, T, border)
    longest_step = longest_step or 2 ** int(math.log2(T))
    layer = []
    for psi in filter_bank(len(padded), J, Q1):
        if psi.j < j_below:
            step = min(2**psi.j, longest_step)
            layer.append((np.abs(convolve(padded, psi.hat, 1, step)), step, psi.j))
    return layer


def scattering1d_paths(x, J, Q, T, stride=None, border="reflect", averaged=True):
    """All paths, unpadded: {(): S0, (n1,): S1, (n1, n2): S2}, in order of length, then of index.

    Not averaged, a path has every `2**j` samples of its last wavelet, whatever the stride.
    """
    n_padded = padded_length(len(x), T)
    phi = low_pass(n_padded, T).hat
    stride = (stride or 2 ** int(math.log2(T))) if averaged else n_padded

    def average(signal, step):
        if not averaged:
            return signal[unpadded_columns(len(x), T, step)]
        return convolve(signal, phi, step, stride).real[unpadded_columns(len(x), T, stride)]

    first = scalogram(x, J, Q[0], T, longest_step=stride, border=border)
    second = filter_bank(n_padded, J, Q[1])
    paths = {(): average(pad(x, T, border), 1)}
    paths |= {(n1,): average(u1, step1) for n1, (u1, step1, _) in enumerate(first)}
    for n1, (u1, step1, j1) in enumerate(first):
        for n2, psi in enumerate(second):
            if psi.j > j1:  # slower modulations than the envelope can carry would only be noise
                step2 = min(2**psi.j, stride)
                u2 = np.abs(convolve(u1, psi.hat, step1, step2))
                paths[n1, n2] = average(u2, step2)
    return paths
