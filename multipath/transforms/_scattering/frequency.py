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

from .mixing import Mixing
from .wavelets import Wavelet, decimation_matrix, low_pass, subsample

# Output rows whose largest weight is below this fraction of the peak are left out.
NEGLIGIBLE = {torch.float32: 1e-8, torch.float64: 1e-15}
# The rows of a batch are padded with zeros to a multiple of this.
ROWS = 16


@dataclass(frozen=True)
class FrequencyBatch:
    """Scales that are computed together.

    Attributes:
        mixing: Their band-pass filters.
        smooth: For the index n_fr of each wavelet, its rows out and the averaging matrix
            (log-frequency, its rows out) that follows the modulus.
    """

    mixing: Mixing
    smooth: dict[int, tuple[slice, Tensor]]


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
        # the wide wavelets of a coarse bank are cut off on one side, which differs between spins
        half = len(wavelets) // 2
        self._conjugates = {
            n_fr: n_fr + half for n_fr in range(1, half + 1) if self._alike(n_fr, n_fr + half)
        }

    def _alike(self, n_fr: int, other: int) -> bool:
        """Whether two filters are complex conjugates of one another."""
        one, two = (self._designs[f"band_pass_{n}"] for n in (n_fr, other))
        return bool(
            np.allclose(one[0], two[0], 0, 1e-14) and np.allclose(one[1], -two[1], 0, 1e-14)
        )

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
                yield self.batch(batch, n_rows, like)
                batch, total = [], 0
            batch.append(n_fr)
            total += size
        yield self.batch(batch, n_rows, like)

    def batch(self, scales: Sequence[int], n_rows: int, like: Tensor) -> FrequencyBatch:
        """Some scales together; see :meth:`batches`."""
        pairs = [
            (n_fr, other)
            for n_fr, other in self._conjugates.items()
            if n_fr in scales and other in scales
        ]
        together = {n_fr for pair in pairs for n_fr in pair}
        single = [(n_fr,) for n_fr in scales if n_fr and n_fr not in together]
        filters, smooth, ends = [], {}, []
        start = 0
        for section in (single, pairs, [(0,)] if 0 in scales else []):
            for group in section:
                (real, imaginary), average = self._matrices(group[0], n_rows, like)
                found = [torch.stack([real, imaginary]), torch.stack([real, -imaginary])]
                filters.append(torch.stack(found[: len(group)], dim=2).flatten(1, 2))
                stop = start + filters[-1].shape[1]
                for place, n_fr in enumerate(group, start):
                    smooth[n_fr] = slice(place, stop, len(group)), average
                start = stop
            ends.append(start)
        # padded, batches have few different numbers of rows (each shape may have its own compiled
        # product, see products.py), and fill whole vector registers
        real, imaginary = pad(torch.cat(filters, dim=1), (0, 0, 0, -start % ROWS))
        # complex product on planes: (A + iB)(X + iY) = (AX - BY) + i(BX + AY)
        matrix = torch.cat(
            [torch.cat([real, -imaginary], dim=1), torch.cat([imaginary, real], dim=1)]
        )
        n_single = len(real) if ends[0] == start else ends[0]  # with the padding
        return FrequencyBatch(Mixing(matrix, n_single, ends[1] - ends[0]), smooth)

    def _matrices(self, n_fr: int, n_rows: int, like: Tensor) -> tuple[Tensor, Tensor]:
        return self.derived((n_fr, n_rows), like, lambda like: self._cut(n_fr, n_rows, like))

    def _cut(self, n_fr: int, n_rows: int, like: Tensor) -> tuple[Tensor, Tensor]:
        band_pass = self.design(f"band_pass_{n_fr}", like.dtype)[..., :n_rows]
        size = torch.hypot(*band_pass).amax(dim=1)
        kept = size > NEGLIGIBLE[like.dtype] * size.max()
        smooth = self.design(f"smooth_{n_fr}", like.dtype)
        cut = band_pass[:, kept].contiguous(), smooth[:, kept].contiguous()
        return cut[0].to(like.device), cut[1].to(like.device)
