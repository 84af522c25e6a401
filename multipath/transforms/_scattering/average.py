"""Low-pass filtering and subsampling as matrix products over frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multipath.transforms._numerics.linear_algebra import product, singular_vectors

from .blocks import Line
from .projection import Projection
from .readings import Reading
from .wavelets import Spectrum

LONGEST_BLOCK, SHORTEST_BLOCK = 256, 16  # samples that one matrix product sums
# Fraction of the peak below which the filter counts as zero; in float64, just above the rounding of
# the inverse transform.
NEGLIGIBLE = {torch.float32: 1e-9, torch.float64: 1e-15}


class StridedAverage(Reading):
    r"""Circular convolution with a low-pass filter h that keeps one output in s samples.

    With the input cut into frames of s samples, :math:`x[f s + i]`,

    .. math:: y[u] = \sum_d \sum_i h[d s - i]\, x[(u - d) s + i],

    a sum over i (:meth:`project`, frame by frame) followed by a sum over the few delays d within
    reach of the filter (:meth:`gather`). Within a block of a sixteenth of a frame, h is almost a
    polynomial, whatever the delay: a handful of orthonormal shapes :math:`v_r` hold what all
    delays need,

    .. math:: h[d s - (b B + j)] = \sum_r C_d[b, r]\, v_r[j],

    so that one product with a few rows reads the input. Time and memory are proportional to the
    length of the signal.

    Args:
        spectrum: The filter in the frequency domain, one bin per input sample.
        stride: s, divides the number of input samples.
        kept: Which of the output frames to compute.
        like: A tensor of the precision and device wanted.
    """

    def __init__(self, spectrum: Spectrum, stride: int, kept: range, like: Tensor) -> None:
        n = len(spectrum)
        n_frames = n // stride
        impulse = np.fft.ifft(spectrum).real
        delays = np.arange(n_frames)
        reach = np.abs(impulse).reshape(n_frames, stride).max(axis=1)
        # delay d meets samples d s - i of h for i in [0, s): they lie in frames d - 1 and d
        reach = np.maximum(reach, np.roll(reach, 1))
        delays = delays[reach > NEGLIGIBLE[like.dtype] * reach.max()]
        weights = impulse[(delays[None, :] * stride - np.arange(stride)[:, None]) % n]
        self.stride, self.n_frames, self.n_delays = stride, n_frames, len(delays)
        block = min(stride, max(SHORTEST_BLOCK, min(LONGEST_BLOCK, stride // 16)))
        # all delays and blocks side by side, (block, blocks * delays): one basis for all of them
        table = weights.reshape(-1, block, len(delays)).swapaxes(0, 1).reshape(block, -1)
        shapes, sizes, _ = singular_vectors(table)
        shapes = shapes[:, sizes > NEGLIGIBLE[like.dtype] * sizes[0]]
        parts = product(shapes.T, table).reshape(shapes.shape[1], -1, len(delays)).swapaxes(0, 1)
        self.unit = block
        self.shapes = torch.as_tensor(shapes, dtype=like.dtype, device=like.device)
        # what each block's coefficients give to each delay: (blocks * shapes, delays)
        self.parts = torch.as_tensor(
            parts.reshape(-1, len(delays)), dtype=like.dtype, device=like.device
        )
        frames = (np.asarray(kept)[:, None] - delays[None, :]) % n_frames
        source = frames * len(delays) + np.arange(len(delays))
        self.source = torch.as_tensor(source.ravel(), device=like.device)
        self.n_kept = len(kept)

    def project(self, x: Tensor, line: Line | None = None, pairs: bool = False) -> Tensor:
        """Weighted sums of each frame of (..., samples), shape (..., frames, delays)."""
        blocks = self._blocks(line, x.shape[-1])(x, pairs)
        if line is not None and line.first:  # count blocks from the start of the circle
            blocks = blocks.roll(line.first // self.unit, dims=-2)
        sums = blocks.reshape(-1, len(self.parts)) @ self.parts
        return sums.reshape(*x.shape[:-1], -1, self.n_delays)

    def project_adjoint(
        self, gradient: Tensor, line: Line | None = None, pairs: bool = False
    ) -> Tensor:
        """The adjoint of :meth:`project`."""
        blocks = gradient.reshape(-1, self.n_delays) @ self.parts.mT
        blocks = blocks.reshape(*gradient.shape[:-2], -1, self.shapes.shape[1])
        if line is not None and line.first:
            blocks = blocks.roll(-(line.first // self.unit), dims=-2)
        return self._blocks(line, blocks.shape[-2] * self.unit).adjoint(blocks, pairs)

    def _blocks(self, line: Line | None, length: int) -> Projection:
        return Projection(line or Line.all(length), self.shapes.mT)

    def gather(self, sums: Tensor) -> Tensor:
        """Outputs (..., frames kept) from the weighted sums of all frames."""
        terms = sums.flatten(-2).index_select(-1, self.source)
        averaged: Tensor = terms.unflatten(-1, (self.n_kept, -1)).sum(dim=-1)
        return averaged

    def gather_adjoint(self, gradient: Tensor) -> Tensor:
        """The adjoint of :meth:`gather`."""
        sums = gradient.new_zeros(*gradient.shape[:-1], self.n_frames * self.n_delays)
        terms = gradient.repeat_interleave(self.n_delays, dim=-1)
        # each sum goes to at most one output, so that an assignment adds up all there is
        sums[..., self.source] = terms
        return sums.reshape(*gradient.shape[:-1], self.n_frames, self.n_delays)
