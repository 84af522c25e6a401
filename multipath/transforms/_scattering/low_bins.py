"""The low bins of a spectrum, computed without the rest of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multipath.transforms._numerics.analytic import adjoint_rfft
from multipath.transforms._numerics.linear_algebra import least_squares, product, singular_vectors
from multipath.transforms._numerics.tiles import tile_size

from .bands import unwrapped
from .blocks import Blocks
from .projection import Projection

# Shorter frames do not pay off, and longer ones save no more.
SHORTEST_FRAME, LONGEST_FRAME = 32, 256
# The basis may miss waves by this fraction of their norm.
NEGLIGIBLE = {torch.float32: 1e-8, torch.float64: 1e-16}


class LowBins:
    r"""Bins 0 to K - 1 of the Fourier transform of real signals of L samples.

    A wave of frequency k < K turns by at most one cycle within a frame of :math:`D \le L / K`
    samples. There, all these waves together span, to working precision, a space of about ten
    dimensions: with an orthonormal basis :math:`v_r` of it,

    .. math:: e^{-2 \pi i k n / L} = \sum_r C_r[k]\, v_r[n], \qquad
        X[k] = \sum_r C_r[k] \sum_f e^{-2 \pi i k f D / L} \Big( \sum_n v_r[n]\, x[f D + n] \Big)

    so that one product with a matrix of ten rows reads the signal, and what remains are ten
    Fourier transforms of L / D samples instead of one of L, whose bins recur. (The :math:`v_r` are
    discrete prolate spheroidal sequences: Slepian, Bell System Technical Journal 57(5), 1978.)
    Where K is not small compared to L, the whole Fourier transform is computed and its upper bins
    are dropped.

    Where a part of the signal is an image of another one, its frames follow from frames of that.

    Args:
        blocks: Which of the L samples are computed, and which are images of others.
        n_bins: Number of bins K.
        like: A tensor of the precision and device wanted.
    """

    def __init__(self, blocks: Blocks, n_bins: int, like: Tensor) -> None:
        self.blocks, self.n_bins = blocks, n_bins
        length = blocks.length
        longest = min(LONGEST_FRAME, length // n_bins)
        # the largest power of two up to that which cuts every part of the circle into whole frames
        sizes = [image.stop - image.start for image in blocks.images]
        unit = math.gcd(blocks.split, blocks.n_seam, *sizes)
        frame = min(1 << longest.bit_length() >> 1, unit & -unit)
        fits = frame >= SHORTEST_FRAME and length % (2 * frame) == 0
        self.n_frames = length // frame if fits else 0
        if not self.n_frames:
            return
        cycles = math.ceil(8 * frame * n_bins / length) / 8  # few different ones
        basis = prolate_basis(frame, cycles, NEGLIGIBLE[like.dtype])
        phase = 2 * np.pi / length * np.arange(n_bins)
        angles = np.outer(np.arange(frame), phase)
        waves = product(basis, np.cos(angles)) - 1j * product(basis, np.sin(angles))
        waves *= np.exp(-1j * phase * blocks.first)
        self.basis = torch.as_tensor(basis, dtype=like.dtype, device=like.device)
        self._projection = Projection(
            blocks,
            self.basis,
            lambda shift: torch.as_tensor(
                turning_matrix(basis, cycles, shift), dtype=like.dtype, device=like.device
            ),
        )
        self.waves = torch.as_tensor(
            waves[:, None, None], dtype=like.dtype.to_complex(), device=like.device
        )

    def __call__(self, line: Tensor) -> Tensor:
        """Low bins of (batch, rows, computed samples), shape (batch, rows, K)."""
        return self.gather(*self.project(line))

    def project(self, line: Tensor, in_place: bool = False) -> tuple[Tensor, Tensor | None]:
        """What the bins are made of: projections of frames, (batch, rows, frames * R), and levels.

        In long float32 sums of moduli, the rounding of their mean would drown their fluctuations: a
        constant near the mean, the level, is subtracted first, and added back to bin 0, the only
        one that it reaches. Without frames, these are the bins themselves.
        """
        if not self.n_frames:
            whole: Tensor = torch.fft.rfft(self.blocks.circle(line))
            return whole[..., : self.n_bins], None
        level = line[..., :: self.n_frames].mean(dim=-1, keepdim=True)
        line = line.sub_(level) if in_place else line - level
        return self._projection(line).flatten(2), level

    def gather(self, projected: Tensor, level: Tensor | None) -> Tensor:
        """The bins, from all that was projected."""
        if level is None:
            return projected
        size = tile_size(2 * projected.shape[1] * projected.shape[2], projected.device)
        parts = []
        for some in projected.unflatten(-1, (-1, len(self.basis))).split(size):
            frames = some.movedim(-1, 0).contiguous()
            bins = unwrapped(torch.fft.rfft(frames), range(self.n_bins))
            parts.append((bins * self.waves).sum(dim=0))
        spectrum = torch.cat(parts)
        spectrum[..., :1] += self.blocks.length * level
        return spectrum

    def gather_adjoint(self, gradient: Tensor) -> Tensor:
        """The adjoint of :meth:`gather`."""
        if not self.n_frames:
            return gradient
        bins = gradient * self.waves.conj()
        n_held = self.n_frames // 2 + 1
        if self.n_bins > n_held:
            recurring = bins[..., n_held:].flip(-1).conj()
            bins = bins[..., :n_held]
            bins[..., 2 * n_held - 1 - self.n_bins : n_held - 1] += recurring
        return adjoint_rfft(bins, self.n_frames).movedim(0, -1).flatten(-2)

    def project_adjoint(self, gradient: Tensor) -> Tensor:
        """Gradient with respect to the samples that are computed."""
        if not self.n_frames:
            return self.blocks.circle_adjoint(adjoint_rfft(gradient, self.blocks.length))
        frames = gradient.unflatten(-1, (-1, len(self.basis)))
        return self._projection.adjoint(frames)


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
        """Bins of (batch, rows, computed samples), shape (batch, rows, below + K)."""
        return unwrapped(self.low_bins(x), range(-self.below, self.low_bins.n_bins))

    def empty(self, n_signals: int, n_rows: int, like: Tensor) -> Tensor:
        """Where projections of moduli of complex signals, or the bins, go; ``like`` is complex."""
        if not self.low_bins.n_frames:
            return like.new_empty(n_signals, n_rows, self.below + self.low_bins.n_bins)
        n_numbers = self.low_bins.n_frames * len(self.low_bins.basis)
        # and the level of each row, which comes last
        return like.real.new_empty(n_signals, n_rows, n_numbers + 1)

    def read(self, x: Tensor, out: Tensor) -> None:
        """Write projections of some signals to a part of an :meth:`empty` tensor.

        The signals change: of several readings, this one comes last.
        """
        projected, level = self.low_bins.project(x, in_place=True)
        if level is None:  # these are the bins
            out[..., self.below :] = projected
            out[..., : self.below] = projected[..., 1 : self.below + 1].flip(-1).conj()
        else:
            out[..., :-1], out[..., -1:] = projected, level

    def gather(self, read: Tensor) -> Tensor:
        """Bins of all signals, once all is written."""
        if not self.low_bins.n_frames:
            return read
        found = self.low_bins.gather(read[..., :-1], read[..., -1:])
        return unwrapped(found, range(-self.below, self.low_bins.n_bins))

    def gather_adjoint(self, gradient: Tensor) -> Tensor:
        """The adjoint of :meth:`gather`."""
        if self.below:  # the adjoint of mirroring adds to the mirrored bins
            mirrored = gradient[..., : self.below].conj().flip(-1)
            gradient = gradient[..., self.below :].clone()
            gradient[..., 1 : self.below + 1] += mirrored
        return self.low_bins.gather_adjoint(gradient)

    def adjoint(self, gradient: Tensor) -> Tensor:
        """Gradient with respect to some signals, from that of their projections."""
        return self.low_bins.project_adjoint(gradient)


@cache
def prolate_basis(frame: int, cycles: float, tolerance: float) -> NDArray[np.float64]:
    """Orthonormal rows that span all waves of up to some cycles in a frame of samples."""
    phase = _phases(frame, cycles)
    _, sizes, directions = singular_vectors(np.concatenate([np.cos(phase), np.sin(phase)]))
    basis: NDArray[np.float64] = directions[sizes > tolerance * sizes[0]]
    return basis


def turning_matrix(basis: NDArray[np.float64], cycles: float, shift: int) -> NDArray[np.float64]:
    r"""What makes projections of a frame from those of its mirror image, so many samples off.

    With samples p[m] of the image and :math:`P_r = \sum_m v_r[m]\, p[m]`, the waves of frequency
    :math:`\omega` of the basis see

    .. math:: \sum_m e^{-i \omega (D - 1 + s - m)}\, p[m]
        = \sum_{q, r} \Big(\sum_n e^{-i \omega n}\, v_q[n]\Big)\, M_{q r}\, P_r

    for a shift s. The exponential on the left, as a function of m, is a wave of the basis, too.
    """
    phase = _phases(basis.shape[1], cycles)
    last = phase[:, -1:] + shift * phase[:, 1:2]
    left, right = (
        product(np.concatenate([np.cos(angles), np.sin(angles)]), basis.T)
        for angles in (phase, last - phase)
    )
    return least_squares(left, right)


def _phases(frame: int, cycles: float) -> NDArray[np.float64]:
    """Angles of many waves of up to some cycles in a frame, in its samples."""
    # Chebyshev nodes in frequency, many more than the space has dimensions
    nodes = cycles * (1 - np.cos(np.pi * (np.arange(64) + 0.5) / 64)) / 2
    return 2 * np.pi * np.outer(nodes, np.arange(frame) / frame)
