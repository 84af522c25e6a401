"""A slow, readable joint time-frequency scattering transform in float64, from the definitions.

    Y[n2](n1, t)         = (|x * psi1[n1]| * psi2[n2])(t)            over those n1 with j1 < j2
    S[n2, n_fr](n1, t)   = |Y[n2] *_n1 psi_fr[n_fr]| * Phi_T(t) * Phi_F(n1)

`*_n1` runs over the log-frequency axis, zero-padded on its right (lower frequencies). psi_fr[0] is
a low-pass filter of support `2**J_fr`, whose output is not averaged by Phi_F once more; then come
the wavelets of spin +1 (centre frequency positive), then their mirror images of spin -1.
"""

import math

import numpy as np

from .scattering1d_twin import (
    convolve,
    filter_bank,
    low_pass,
    morlet,
    padded_length,
    scalogram,
    unpadded_columns,
)


def frequential_length(J, Q1, J_fr, F):
    """Room for every first-order wavelet and a margin, in whole steps of 2**J_fr."""
    return ((J + 1) * Q1 + 8 * min(F, 2**J_fr)) // 2**J_fr * 2**J_fr


def frequential_filters(n, J_fr, Q_fr):
    wavelets = filter_bank(n, J_fr, Q_fr)
    mirrored = [morlet(n, -psi.xi, psi.sigma) for psi in wavelets]
    return [low_pass(n, 2**J_fr), *wavelets, *mirrored]


def jtfs_keys(settings):
    """(n2, n_fr) of every second-order path: rates outside, then scale and spin."""
    J, (Q1, Q2), T = settings["J"], settings["Q"], settings["T"]
    n = padded_length(settings["n_samples"], T)
    fastest = min(psi.j for psi in filter_bank(n, J, Q1))
    n_fr = len(frequential_filters(8, settings["J_fr"], settings["Q_fr"]))
    rates = [n2 for n2, psi in enumerate(filter_bank(n, J, Q2)) if psi.j > fastest]
    return [(n2, fr) for n2 in rates for fr in range(n_fr)]


def jtfs_path(x, n2, n_fr, settings, unpad=True, first_layer=None):
    """One path, (frequency, time). `first_layer`: the scalogram, where it is already at hand."""
    J, (Q1, Q2), T, F = settings["J"], settings["Q"], settings["T"], settings["F"]
    n_time = padded_length(len(x), T)
    n_rows = frequential_length(J, Q1, settings["J_fr"], F)
    stride, stride_fr = 2 ** int(math.log2(T)), 2 ** int(math.log2(F))
    psi2 = filter_bank(n_time, J, Q2)[n2]
    psi_fr = frequential_filters(n_rows, settings["J_fr"], settings["Q_fr"])[n_fr]

    step = min(2**psi2.j, stride)
    layer = first_layer or scalogram(x, J, Q1, T, j_below=psi2.j)
    rows = [convolve(u1, psi2.hat, step1, step) for u1, step1, j1 in layer if j1 < psi2.j]
    y = np.zeros((n_rows, n_time // step), dtype=complex)
    y[: len(rows)] = rows

    step_fr = min(2**psi_fr.j, stride_fr)
    modulus = np.abs(convolve(y, psi_fr.hat, 1, step_fr, axis=0))
    path = convolve(modulus, low_pass(n_time, T).hat, step, stride, axis=1).real
    if n_fr > 0:
        path = convolve(path, low_pass(n_rows, F).hat, step_fr, stride_fr, axis=0).real
    return path[:, unpadded_columns(len(x), T)] if unpad else path


def first_order_path(x, n_fr, settings):
    """|S1 *_n1 psi_fr[n_fr]| * Phi_F(n1) of the averaged spectra S1, unpadded."""
    J, (Q1, _), T, F = settings["J"], settings["Q"], settings["T"], settings["F"]
    n_rows = frequential_length(J, Q1, settings["J_fr"], F)
    stride, stride_fr = 2 ** int(math.log2(T)), 2 ** int(math.log2(F))
    psi_fr = frequential_filters(n_rows, settings["J_fr"], settings["Q_fr"])[n_fr]
    phi = low_pass(padded_length(len(x), T), T).hat
    spectra = np.zeros((n_rows, len(phi) // stride))
    for n1, (u1, step, _) in enumerate(scalogram(x, J, Q1, T)):
        spectra[n1] = convolve(u1, phi, step, stride).real
    step_fr = min(2**psi_fr.j, stride_fr)
    path = np.abs(convolve(spectra, psi_fr.hat, 1, step_fr, axis=0))
    if n_fr > 0:
        path = convolve(path, low_pass(n_rows, F).hat, step_fr, stride_fr, axis=0).real
    return path[:, unpadded_columns(len(x), T)]
