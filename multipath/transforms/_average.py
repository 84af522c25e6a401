"""Low-pass filtering and subsampling as matrix products over frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ._wavelets import Spectrum

BLOCK = 256  # samples summed by one matrix product
# Fraction of the peak; in float64, just above the rounding of the inverse transform.
NEGLIGIBLE = {torch.float32: 1e-9, torch.float64: 1e-15}


class StridedAverage:
    r"""Circular convolution with a low-pass filter h, one output in s samples.

    With the input cut into frames of s samples, :math:`x[f s + i]`,

    .. math:: y[u] = \sum_d \sum_i h[d s - i]\, x[(u - d) s + i],

    a matrix product over i followed by a sum over the few delays d within reach of the filter. It
    takes time and memory in proportion to the signal.

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
        # A product over thousands of float32 samples would drift: sum blocks of a few hundred.
        self.blocks = torch.as_tensor(
            weights.reshape(-1, min(BLOCK, stride), len(delays)),
            dtype=like.dtype,
            device=like.device,
        )
        frames = (np.asarray(kept)[:, None] - delays[None, :]) % n_frames
        source = frames * len(delays) + np.arange(len(delays))
        self.source = torch.as_tensor(source.ravel(), device=like.device)
        self.n_kept = len(kept)

    def __call__(self, x: Tensor) -> Tensor:
        """Average signals (..., samples) to (..., frames kept)."""
        frames = x.reshape(-1, *self.blocks.shape[:2]).transpose(0, 1)
        products = (frames @ self.blocks).sum(dim=0)  # (all frames, delays)
        terms = products.reshape(x.shape[:-1].numel(), -1).index_select(1, self.source)
        return terms.reshape(*x.shape[:-1], self.n_kept, -1).sum(dim=-1)
