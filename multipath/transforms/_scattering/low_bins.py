"""The low bins of a spectrum, computed without the rest of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multipath.transforms._numerics.analytic import adjoint_rfft

from .bands import extend
from .products import product

# Shorter frames do not pay off, and longer ones save no more.
SHORTEST_FRAME, LONGEST_FRAME = 32, 256
# The basis may miss waves by this fraction of their norm.
NEGLIGIBLE = {torch.float32: 1e-9, torch.float64: 1e-16}


class LowBins:
    r"""Bins 0 to K - 1 of the Fourier transform of real signals of L samples.

    A wave of frequency k < K turns by at most half a cycle within a frame of
    :math:`D \le L / 2K` samples. There, all these waves together span, to working precision, a
    space of about ten dimensions: with an orthonormal basis :math:`v_r` of it,

    .. math:: e^{-2 \pi i k n / L} = \sum_r C_r[k]\, v_r[n], \qquad
        X[k] = \sum_r C_r[k] \sum_f e^{-2 \pi i k f D / L} \Big( \sum_n v_r[n]\, x[f D + n] \Big)

    so that one product with a matrix of ten rows reads the signal, and what remains are ten
    Fourier transforms of L / D samples instead of one of L. (The :math:`v_r` are discrete prolate
    spheroidal sequences: Slepian, Bell System Technical Journal 57(5), 1978.) Where K is not small
    compared to L, the whole Fourier transform is computed and its upper bins are dropped.

    Args:
        length: Number of samples L.
        n_bins: Number of bins K.
        like: A tensor of the precision and device wanted.
    """

    def __init__(self, length: int, n_bins: int, like: Tensor) -> None:
        self.length, self.n_bins = length, n_bins
        longest = min(LONGEST_FRAME, length // (2 * max(n_bins - 1, 1)))
        frame = 1 << longest.bit_length() >> 1  # the largest power of two up to that
        fits = frame >= SHORTEST_FRAME and length % (2 * frame) == 0
        self.n_frames = length // frame if fits else 0
        if self.n_frames:
            basis = prolate_basis(frame, NEGLIGIBLE[like.dtype])
            phase = 2 * np.pi / length * np.outer(np.arange(n_bins), np.arange(frame))
            waves = basis @ np.exp(-1j * phase).T
            self.basis = torch.as_tensor(basis, dtype=like.dtype, device=like.device)
            self.waves = torch.as_tensor(
                waves[:, None, None], dtype=like.dtype.to_complex(), device=like.device
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Low bins of (batch, rows, L), shape (batch, rows, K)."""
        if not self.n_frames:
            whole: Tensor = torch.fft.rfft(x)
            return whole[..., : self.n_bins]
        # In long float32 sums of moduli, the rounding of their mean would drown their fluctuations:
        # a constant near the mean is subtracted first, and added back to bin 0, the only one that
        # it reaches.
        level = x[..., :: self.n_frames].mean(dim=-1, keepdim=True)
        frames = (x - level).reshape(-1, self.length // self.n_frames)
        projected = product(self.basis, frames.T).reshape(-1, *x.shape[:-1], self.n_frames)
        bins: Tensor = torch.fft.rfft(projected)[..., : self.n_bins]
        spectrum = (bins * self.waves).sum(dim=0)
        spectrum[..., :1] += self.length * level
        return spectrum

    def adjoint(self, gradient: Tensor) -> Tensor:
        """Gradient with respect to x, from that with respect to the bins."""
        if not self.n_frames:
            return adjoint_rfft(gradient, self.length)
        projected = adjoint_rfft(gradient * self.waves.conj(), self.n_frames)
        frames = projected.reshape(len(self.basis), -1).T @ self.basis
        return frames.reshape(*gradient.shape[:-1], self.length)


@dataclass(frozen=True)
class SignedBins:
    """Low bins preceded by negative ones, which are complex conjugates of others.

    Attributes:
        low_bins: The bins from 0 on.
        below: How many negative bins.
    """

    low_bins: LowBins
    below: int

    def __call__(self, x: Tensor) -> Tensor:
        """Bins of (batch, rows, L), shape (batch, rows, below + K)."""
        return extend(self.low_bins(x), self.below, 0)

    def empty(self, n_signals: int, n_rows: int, like: Tensor) -> Tensor:
        """Where bins of moduli of complex signals, such as ``like``, go."""
        return like.new_empty(n_signals, n_rows, self.below + self.low_bins.n_bins)

    def read(self, x: Tensor, out: Tensor) -> None:
        """Write the bins of some signals to a part of an :meth:`empty` tensor."""
        out[..., self.below :] = self.low_bins(x)
        if self.below:
            mirrored = out[..., self.below + 1 : 2 * self.below + 1].flip(-1)
            torch.conj_physical(mirrored, out=out[..., : self.below])

    def adjoint(self, gradient: Tensor) -> Tensor:
        """Gradient with respect to x, from that with respect to the bins."""
        if self.below:  # the adjoint of mirroring adds to the mirrored bins
            mirrored = gradient[..., : self.below].conj().flip(-1)
            gradient = gradient[..., self.below :].clone()
            gradient[..., 1 : self.below + 1] += mirrored
        return self.low_bins.adjoint(gradient)


@cache
def prolate_basis(frame: int, tolerance: float) -> NDArray[np.float64]:
    """Orthonormal rows that span all waves of up to half a cycle in a frame of samples."""
    # Chebyshev nodes in frequency, many more than the space has dimensions
    cycles = (1 - np.cos(np.pi * (np.arange(64) + 0.5) / 64)) / 4
    phase = 2 * np.pi * np.outer(cycles, np.arange(frame) / frame)
    _, sizes, directions = np.linalg.svd(
        np.concatenate([np.cos(phase), np.sin(phase)]), full_matrices=False
    )
    basis: NDArray[np.float64] = directions[sizes > tolerance * sizes[0]]
    return basis
