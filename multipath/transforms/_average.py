"""Low-pass filtering and subsampling as matrix products over frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ._wavelets import Spectrum

LONGEST_BLOCK, SHORTEST_BLOCK = 256, 16  # samples summed by one matrix product
# Fraction of the peak; in float64, just above the rounding of the inverse transform.
NEGLIGIBLE = {torch.float32: 1e-9, torch.float64: 1e-15}


class StridedAverage:
    r"""Circular convolution with a low-pass filter h, one output in s samples.

    With the input cut into frames of s samples, :math:`x[f s + i]`,

    .. math:: y[u] = \sum_d \sum_i h[d s - i]\, x[(u - d) s + i],

    a sum over i (:meth:`project`, frame by frame) followed by a sum over the few delays d within
    reach of the filter (:meth:`gather`). Within a block of a sixteenth of a frame, h is almost a
    polynomial, whatever the delay: a handful of orthonormal shapes :math:`v_r` hold what all
    delays need,

    .. math:: h[d s - (b B + j)] = \sum_r C_d[b, r]\, v_r[j],

    so that the input is read by one product with a few rows. Time and memory are in proportion to
    the signal.

    Args:
        spectrum: The filter in the frequency domain, one bin per input sample.
        stride: s, divides the number of input samples.
        kept: Which outputs to compute.
        like: A tensor of the precision and device wanted.
    """

    def __init__(self, spectrum: Spectrum, stride: int, kept: range, like: Tensor) -> None:
        n = len(spectrum)
        n_frames = n // stride
        impulse = np.fft.ifft(spectrum).real
        delays = np.arange(n_frames)
        reach = np.abs(impulse).reshape(n_frames, stride).max(axis=1)
        # delay d meets samples d s - i for i in [0, s): the end of one frame, the start of it
        reach = np.maximum(reach, np.roll(reach, 1))
        delays = delays[reach > NEGLIGIBLE[like.dtype] * reach.max()]
        weights = impulse[(delays[None, :] * stride - np.arange(stride)[:, None]) % n]
        self.stride, self.n_frames, self.n_delays = stride, n_frames, len(delays)
        block = min(stride, max(SHORTEST_BLOCK, min(LONGEST_BLOCK, stride // 16)))
        # all delays and blocks side by side: (block, blocks * delays)
        table = weights.reshape(-1, block, len(delays)).swapaxes(0, 1).reshape(block, -1)
        shapes, sizes, _ = np.linalg.svd(table, full_matrices=False)
        shapes = shapes[:, sizes > NEGLIGIBLE[like.dtype] * sizes[0]]
        parts = (shapes.T @ table).reshape(shapes.shape[1], -1, len(delays)).swapaxes(0, 1)
        self.block = block
        self.shapes = torch.as_tensor(shapes, dtype=like.dtype, device=like.device)
        # (blocks * shapes, delays)
        self.parts = torch.as_tensor(
            parts.reshape(-1, len(delays)), dtype=like.dtype, device=like.device
        )
        frames = (np.asarray(kept)[:, None] - delays[None, :]) % n_frames
        source = frames * len(delays) + np.arange(len(delays))
        self.source = torch.as_tensor(source.ravel(), device=like.device)
        self.n_kept = len(kept)

    def __call__(self, x: Tensor, rows_first: bool) -> Tensor:
        """Averages, shape (..., frames kept, rows).

        Args:
            x: Shape (..., rows, samples) if the rows come first, else (..., samples, rows).
            rows_first: Layout of x; either way the product reads x as it lies in memory.
        """
        return self.gather(self.project(x, rows_first))

    def project(self, x: Tensor, rows_first: bool) -> Tensor:
        """Weighted sums of whole frames, shape (..., frames, delays, rows)."""
        products: Tensor
        if rows_first:
            products = x.unflatten(-1, (-1, self.block)) @ self.shapes
            products = products.flatten(-2).unflatten(-1, (-1, len(self.parts))) @ self.parts
            return products.movedim(-3, -1)
        products = self.shapes.mT @ x.unflatten(-2, (-1, self.block))
        products = products.flatten(-3, -2).unflatten(-2, (-1, len(self.parts)))
        return self.parts.mT @ products

    def project_adjoint(self, gradient: Tensor, rows_first: bool) -> Tensor:
        """The adjoint of :meth:`project`."""
        samples: Tensor
        blocks = (-1, self.shapes.shape[1])
        if rows_first:
            frames = (gradient.movedim(-1, -3) @ self.parts.mT).flatten(-2)
            samples = frames.unflatten(-1, blocks) @ self.shapes.mT
            return samples.flatten(-2)
        frames = (self.parts @ gradient).flatten(-3, -2)
        samples = self.shapes @ frames.unflatten(-2, blocks)
        return samples.flatten(-3, -2)

    def gather(self, products: Tensor) -> Tensor:
        """Outputs (..., frames kept, rows) from all the weighted sums."""
        terms = products.flatten(-3, -2).index_select(-2, self.source)
        averaged: Tensor = terms.unflatten(-2, (self.n_kept, -1)).sum(dim=-2)
        return averaged

    def gather_adjoint(self, gradient: Tensor) -> Tensor:
        """The adjoint of :meth:`gather`."""
        shape, n_rows = gradient.shape[:-2], gradient.shape[-1]
        products = gradient.new_zeros(*shape, self.n_frames * self.n_delays, n_rows)
        terms = gradient.repeat_interleave(self.n_delays, dim=-2)
        products[..., self.source, :] = terms  # each sum goes to one output at most
        return products.reshape(*shape, self.n_frames, self.n_delays, n_rows)
