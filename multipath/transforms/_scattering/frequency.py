"""Wavelet analysis along log-frequency, by matrices since the axis is short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from multipath.transforms._numerics.filters import FilterBuffers, vanishing_tails
from multipath.transforms._numerics.settings import Window

from .wavelets import Wavelet, decimation_matrix, low_pass, subsample

# Output rows whose largest weight is below this fraction of the peak are left out.
NEGLIGIBLE = {torch.float32: 1e-8, torch.float64: 1e-15}
# The rows of a batch are padded with zeros to a multiple of this.
ROWS = 16


@dataclass(frozen=True)
class FrequencyBatch:
    """Scales that are computed together.

    Attributes:
        scales: Indices n_fr of the wavelets.
        mixing: Their band-pass filters, as in :class:`~.second_layer.Branch`.
        smooth: For each scale, the averaging matrix (log-frequency, its rows out) that follows the
            modulus.
    """

    scales: tuple[int, ...]
    mixing: Tensor
    smooth: list[Tensor]


class FrequencyFilters(FilterBuffers):
    """Band-pass filters along log-frequency, and the averaging that follows their modulus.

    Args:
        wavelets: The low-pass (not averaged again) and then the wavelets, negative spins included.
        length: Padded length of the log-frequency axis.
        F: Averaging window in first-order wavelets, ``"global"`` for the mean over the axis, or
            ``"none"``.
        log2_stride: One average in 2^log2_stride wavelets is kept.
    """

    @vanishing_tails
    def __init__(
        self, wavelets: Sequence[Wavelet], length: int, F: Window, log2_stride: int
    ) -> None:
        super().__init__()
        self.wavelets, self.length = list(wavelets), length
        for n_fr, wavelet in enumerate(wavelets):
            level = wavelet.j if isinstance(F, str) else min(wavelet.j, log2_stride)
            band_pass = decimation_matrix(wavelet.spectrum(length), 2**level)
            smooth = np.eye(len(band_pass))
            if F == "global":
                smooth = np.full((1, len(band_pass)), 1 / len(band_pass))
            elif n_fr and not isinstance(F, str):
                phi = subsample(low_pass(F).spectrum(length), level)
                smooth = decimation_matrix(phi, 2 ** (log2_stride - level)).real
            self.register_filter(f"band_pass_{n_fr}", np.stack([band_pass.real, band_pass.imag]))
            self.register_filter(f"smooth_{n_fr}", smooth)

    def batches(
        self, scales: Sequence[int], n_rows: int, most: int, like: Tensor
    ) -> Iterator[FrequencyBatch]:
        """Some scales in batches of at most so many output rows, or of a single scale.

        The axis is padded with zeros from row ``n_rows`` on, and outputs far from the rows of the
        input, up to nine in ten of them, are almost zero: nothing is computed for either.

        Args:
            scales: Indices n_fr of the wavelets.
            n_rows: Number of first-order wavelets in the input.
            most: Largest number of output rows in a batch.
            like: A tensor of the precision and device wanted.
        """
        batch: list[int] = []
        total = 0
        for n_fr in scales:
            size = self._matrices(n_fr, n_rows, like)[0].shape[1]
            if batch and total + size > most:
                yield self._batch(tuple(batch), n_rows, like)
                batch, total = [], 0
            batch.append(n_fr)
            total += size
        yield self._batch(tuple(batch), n_rows, like)

    def _batch(self, scales: tuple[int, ...], n_rows: int, like: Tensor) -> FrequencyBatch:
        matrices = [self._matrices(n_fr, n_rows, like) for n_fr in scales]
        filters = torch.cat([band_pass for band_pass, _ in matrices], dim=1)
        # padded, batches have few different numbers of rows (each shape has its own compiled
        # product, see products.py), and fill whole vector registers
        real, imaginary = pad(filters, (0, 0, 0, -filters.shape[1] % ROWS))
        # complex product on planes: (A + iB)(X + iY) = (AX - BY) + i(BX + AY)
        mixing = torch.cat(
            [torch.cat([real, -imaginary], dim=1), torch.cat([imaginary, real], dim=1)]
        )
        return FrequencyBatch(scales, mixing, [smooth for _, smooth in matrices])

    def _matrices(self, n_fr: int, n_rows: int, like: Tensor) -> tuple[Tensor, Tensor]:
        return self.derived((n_fr, n_rows), like, lambda like: self._cut(n_fr, n_rows, like))

    def _cut(self, n_fr: int, n_rows: int, like: Tensor) -> tuple[Tensor, Tensor]:
        band_pass = self.design(f"band_pass_{n_fr}", like.dtype)[..., :n_rows]
        size = torch.hypot(*band_pass).amax(dim=1)
        kept = size > NEGLIGIBLE[like.dtype] * size.max()
        smooth = self.design(f"smooth_{n_fr}", like.dtype)
        cut = band_pass[:, kept].contiguous(), smooth[:, kept].contiguous()
        return cut[0].to(like.device), cut[1].to(like.device)
