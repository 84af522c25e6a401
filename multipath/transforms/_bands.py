"""Band-pass filtering and subsampling in the frequency domain, touching only the bins that count.

A Morlet wavelet is a bump of a few per cent of the spectrum. Filtering a signal with it and
keeping one sample in 2^level needs the bins under the bump alone, written from bin 0 of a spectrum
of the subsampled length: a shift in frequency, that is a rotation of phase in time, which the
modulus does not see. No full-length product, no full-length inverse transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._analytic import inverse_planes
from ._wavelets import Spectrum


@dataclass(frozen=True)
class Band:
    """The bins where a filter is above a threshold.

    Attributes:
        start: First bin; negative or beyond the middle bin where the filter reaches there.
        values: The filter from there on.
        offset: Where the values begin in the buffer that holds the whole bank.
    """

    start: int
    values: NDArray[np.float64]
    offset: int = 0

    @property
    def stop(self) -> int:
        """One past the last bin."""
        return self.start + len(self.values)

    def above(self, threshold: float) -> Band:
        """The part of the band that exceeds a fraction of its peak."""
        size = np.abs(self.values)
        kept = np.flatnonzero(size > threshold * size.max())
        first, last = int(kept[0]), int(kept[-1])
        return Band(self.start + first, self.values[first : last + 1], self.offset + first)

    def of(self, bank: Tensor) -> Tensor:
        """The values as a view of the bank's buffer."""
        return bank[self.offset : self.offset + len(self.values)]


def find_band(spectrum: Spectrum, centre: float, threshold: float) -> Band:
    """The band of a filter given on all bins, around its centre frequency (cycles/sample)."""
    n = len(spectrum)
    middle = round(centre * n)
    around = np.arange(middle - n // 2, middle + n - n // 2)
    return Band(int(around[0]), spectrum[around % n]).above(threshold)


def concatenate(bands: Sequence[Band]) -> tuple[list[Band], NDArray[np.float64]]:
    """Lay the bands of a bank one after the other in one array."""
    offsets = np.cumsum([0, *(len(band.values) for band in bands)])
    placed = [
        Band(band.start, band.values, int(offset))
        for band, offset in zip(bands, offsets, strict=False)
    ]
    return placed, np.concatenate([band.values for band in bands])


@dataclass(frozen=True)
class Filter:
    """A band in working precision, ready to be applied.

    Attributes:
        band: Where it lies.
        level: One sample in 2^level of its output is kept.
        pairs: Its values, each twice, for real and imaginary part, see :func:`_as_real`; divided
            by 2^level since the inverse transform of a shorter spectrum divides by less.
    """

    band: Band
    level: int
    pairs: Tensor

    @classmethod
    def make(cls, band: Band, level: int, bank: Tensor) -> Filter:
        """From the buffer that holds the bank, in working precision."""
        return cls(band, level, band.of(bank).repeat_interleave(2) / 2**level)


def split_bands(
    half_spectrum: Tensor, length: int, filters: Sequence[Filter]
) -> list[tuple[int, Tensor]]:
    """Filter real signals with a bank of wavelets, each output at its own sampling rate.

    Args:
        half_spectrum: ``rfft`` of the signals, shape (batch, length // 2 + 1).
        length: Number of samples of the signals (even).
        filters: The wavelets, of non-decreasing level.

    Returns:
        For each level, the level and planes (batch, 2, wavelets, length / 2^level).
    """
    below = max(0, -min(f.band.start for f in filters))
    beyond = max(0, max(f.band.stop for f in filters) - length // 2 - 1)
    parts = [half_spectrum]
    if below:  # negative frequencies of a real signal mirror the positive ones
        parts.insert(0, half_spectrum[:, 1 : below + 1].conj().flip(-1))
    if beyond:
        parts.append(half_spectrum[:, length // 2 - beyond : length // 2].conj().flip(-1))
    spectrum = torch.cat(parts, dim=-1).resolve_conj() if len(parts) > 1 else half_spectrum
    levels = list(dict.fromkeys(f.level for f in filters))
    groups: list[BandGroup] = [
        [(2 * (f.band.start + below), f.pairs) for f in filters if f.level == level]
        for level in levels
    ]
    bands: tuple[Tensor, ...] = _Split.apply(spectrum, groups)  # type: ignore[no-untyped-call]
    return [
        (level, inverse_planes(band, length >> level))
        for level, band in zip(levels, bands, strict=True)
    ]


BandGroup = list[tuple[int, Tensor]]  # first number and filter of each band kept at the same rate


def _split(spectrum: Tensor, groups: Sequence[BandGroup]) -> tuple[Tensor, ...]:
    """Bins under each band times the filter, one (batch, bands, widest band) tensor a group."""
    outputs = []
    source = _as_real(spectrum)
    for rows in groups:
        widest = max(len(values) for _, values in rows)
        output = source.new_zeros(len(source), len(rows), widest)
        for row, (start, values) in enumerate(rows):
            stop = start + len(values)
            torch.mul(source[:, start:stop], values, out=output[:, row, : len(values)])
        outputs.append(_as_complex(output))
    return tuple(outputs)


def _merge(outputs: Sequence[Tensor], groups: Sequence[BandGroup], width: int) -> Tensor:
    """The adjoint of :func:`_split`."""
    spectrum = outputs[0].new_zeros(len(outputs[0]), width)
    target = _as_real(spectrum)
    for rows, output in zip(groups, outputs, strict=True):
        source = _as_real(output)
        for row, (start, values) in enumerate(rows):
            stop = start + len(values)
            target[:, start:stop].addcmul_(source[:, row, : len(values)], values)
    return spectrum


def _as_real(spectrum: Tensor) -> Tensor:
    """Real and imaginary parts alternating along the last dimension.

    A real filter times a complex spectrum would be cast to complex at each product.
    """
    return torch.view_as_real(spectrum.contiguous()).flatten(-2)


def _as_complex(pairs: Tensor) -> Tensor:
    return torch.view_as_complex(pairs.unflatten(-1, (-1, 2)))


class _Split(torch.autograd.Function):
    """:func:`_split`; linear, so its backward is the adjoint, to any order."""

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, groups: Sequence[BandGroup]) -> tuple[Tensor, ...]:
        ctx.groups, ctx.width = groups, spectrum.shape[-1]
        return _split(spectrum, groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        merged: Tensor = _Merge.apply(ctx.groups, ctx.width, *gradients)  # type: ignore[no-untyped-call]
        return merged, None


class _Merge(torch.autograd.Function):
    """:func:`_merge`, the backward of :class:`_Split`."""

    @staticmethod
    def forward(ctx: Any, groups: Sequence[BandGroup], width: int, *outputs: Tensor) -> Tensor:
        ctx.groups = groups
        return _merge(outputs, groups, width)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *_Split.apply(gradient, ctx.groups))  # type: ignore[no-untyped-call]
