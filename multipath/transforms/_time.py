"""Wavelet analysis along time, shared by the scattering transforms.

First layer: moduli of band-passed signals. Second layer: band-passes of those moduli, their moduli
again. Averaging: a low-pass filter that keeps one sample in 2^log2(T).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigurationError
from ._analytic import half_spectrum, inverse_planes
from ._average import StridedAverage
from ._bands import Band, concatenate, cut_band, extend, find_band
from ._filters import FilterBuffers
from ._first_layer import WaveletGroup, as_pairs, modulus_spectra, take
from ._low_bins import LowBins
from ._second_layer import Branch, averaged_moduli
from ._settings import check_scattering
from ._tiles import keep_freed_memory, tile_size
from ._wavelets import Wavelet, low_pass, padded_length, subsample, wavelet_bank

# Bins below this fraction of a wavelet's peak are left out, for float32 and float64.
THRESHOLD = {torch.float32: 1e-7, torch.float64: 1e-16}


@dataclass(frozen=True)
class SpectrumLayer:
    """Low bins of the spectra of first-order moduli that are kept at one sampling rate.

    Attributes:
        level: One sample in 2^level is kept.
        rows: Indices n1 of the wavelets.
        spectra: Shape (batch, len(rows), bins).
    """

    level: int
    rows: tuple[int, ...]
    spectra: Tensor


@dataclass(frozen=True)
class _Bands:
    """Bands of the filters, and how far the first ones reach beyond a half spectrum."""

    first: list[Band]
    second: list[Band]
    low_pass: Band
    below: int
    beyond: int


class TimeScattering(FilterBuffers):
    """Filter banks over time and what is done with them.

    Args:
        n_samples: Length of the signals.
        J: Octaves of both filter banks.
        Q: Wavelets per octave of the first and second filter bank.
        T: Averaging window in samples.
        unpad: Keep only the output frames that lie within the signal.

    Raises:
        ConfigurationError: If a setting is out of range or the signal is too short for it.
    """

    def __init__(self, n_samples: int, J: int, Q: tuple[int, int], T: int, unpad: bool) -> None:
        super().__init__()
        self.phi: Tensor
        check_scattering(n_samples, J, Q, T)
        self.n_samples, self.J, self.Q, self.T, self.unpad = n_samples, J, Q, T, unpad
        self.padded = padded_length(n_samples, T)
        if self.padded < 2**J:
            raise ConfigurationError(
                f"signals of {n_samples} samples are too short for J={J}: wavelets of 2^{J} "
                f"samples do not fit in the {self.padded} samples there are after padding; use "
                f"J <= {int(math.log2(self.padded))}"
            )
        self.pad_left = (self.padded - n_samples) // 2
        self.pad_right = self.padded - n_samples - self.pad_left
        self.log2_stride = int(math.log2(T))
        self.psi1 = wavelet_bank(J, Q[0])
        self.psi2 = wavelet_bank(J, Q[1])
        self._designs1 = self._design("psi1_bank", self.psi1)
        self._designs2 = self._design("psi2_bank", self.psi2)
        phi = low_pass(T).spectrum(self.padded)
        self._low_pass = find_band(phi, 0.0, THRESHOLD[torch.float64])
        self.register_filter("phi", phi)
        keep_freed_memory()
        self._cut_bands: dict[torch.dtype, _Bands] = {}

    def _design(self, name: str, wavelets: Sequence[Wavelet]) -> list[Band]:
        finest = THRESHOLD[torch.float64]
        bands, bank = concatenate(
            [find_band(w.spectrum(self.padded), w.xi, finest) for w in wavelets]
        )
        self.register_filter(name, bank)
        return bands

    @property
    def stride(self) -> int:
        """Samples between output frames."""
        return 1 << self.log2_stride

    @property
    def frames(self) -> range:
        """Which frames of the padded signal are put out."""
        if not self.unpad:
            return range(self.padded // self.stride)
        return range(
            -(-self.pad_left // self.stride), -(-(self.pad_left + self.n_samples) // self.stride)
        )

    def level(self, wavelet: Wavelet) -> int:
        """Subsampling exponent of what a wavelet puts out: never coarser than the frames."""
        return min(wavelet.j, self.log2_stride)

    def pad(self, x: Tensor) -> Tensor:
        """Mirror the signal at both ends, up to the padded length."""
        return F.pad(x[:, None], (self.pad_left, self.pad_right), mode="reflect")[:, 0]

    def zeroth_order(self, x: Tensor) -> Tensor:
        """Averaged signals, shape (batch, frames)."""
        return self._averaging(0, x)(self.pad(x))

    def first_layer(
        self,
        x: Tensor,
        rates: Mapping[int, Sequence[int]],
        averaged: Sequence[int] = (),
        others: Tensor | None = None,
    ) -> list[SpectrumLayer]:
        """What is needed of the spectra of first-order moduli.

        Args:
            x: Signals, shape (batch, n_samples).
            rates: The second-order wavelets n2 to come, and the n1 that each will be applied to.
            averaged: The n1 whose moduli will be averaged as they are.
            others: More signals, of which no gradient is wanted; they follow x in the batch.
        """
        bands = self._bands(x.dtype)
        reach = dict.fromkeys(averaged, bands.low_pass.reach)
        for n2, rows in rates.items():
            needed = bands.second[n2].reach
            reach.update((n1, max(needed, reach.get(n1, 0))) for n1 in rows)
        groups = list(self._groups(reach, x.device))
        plan = [
            (self._group(level, rows, x), self._low_bins(level, n_bins, x))
            for level, rows, n_bins in groups
        ]
        with_gradient = self._spectrum(x)
        spectra = modulus_spectra(
            plan, with_gradient, None if others is None else self._spectrum(others)
        )
        return [
            SpectrumLayer(level, rows, found)
            for (level, rows, _), found in zip(groups, spectra, strict=True)
        ]

    def first_order(self, layer: SpectrumLayer) -> Tensor:
        """Averaged moduli of one layer, shape (batch, rows, frames)."""
        like = layer.spectra.real
        reach = self._bands(like.dtype).low_pass.reach
        n_bins = min(reach, layer.spectra.shape[-1])
        matrix = self._low_pass_matrix(layer.level, n_bins, like)
        averaged: Tensor = as_pairs(layer.spectra[..., :n_bins]) @ matrix
        return averaged

    def second_order(
        self,
        layers: Sequence[SpectrumLayer],
        n2: int,
        rows: Sequence[int],
        n_kept: int,
        mixing: Tensor | None = None,
    ) -> Tensor:
        """Averaged moduli behind second-order wavelet n2.

        Args:
            layers: From :meth:`first_layer`.
            n2: Index of the wavelet.
            rows: Which n1, increasing; all must satisfy j1 < j2.
            n_kept: Gradients are wanted of so many signals, the first ones in the batch.
            mixing: Filters along the rows, see :class:`~._second_layer.Branch`.

        Returns:
            Shape (batch, rows, frames), or as many rows as come out of the mixing.
        """
        wanted = frozenset(rows)
        used = [layer for layer in layers if not wanted.isdisjoint(layer.rows)]
        like = used[0].spectra.real
        band = self._bands(like.dtype).second[n2]
        level = self.level(self.psi2[n2])
        choices = [[i for i, n1 in enumerate(layer.rows) if n1 in wanted] for layer in used]
        # the inverse transform divides by its own, shorter, length
        values = [self._second_filter(n2, layer.level - level, like) for layer in used]

        def modulate(spectra: Sequence[Tensor]) -> Tensor:
            parts = [
                cut_band(take(found, kept, dim=1), band) * weights
                for found, kept, weights in zip(spectra, choices, values, strict=True)
            ]
            return inverse_planes(torch.cat(parts, dim=1), self.padded >> level)

        branch = Branch(modulate, mixing, self._averaging(level, like))
        return averaged_moduli(branch, [layer.spectra for layer in used], n_kept)

    def _bands(self, dtype: torch.dtype) -> _Bands:
        """The filters' bands in a precision."""
        if dtype not in self._cut_bands:
            threshold = THRESHOLD[dtype]
            first = [band.above(threshold) for band in self._designs1]
            self._cut_bands[dtype] = _Bands(
                first=first,
                second=[band.above(threshold) for band in self._designs2],
                low_pass=self._low_pass.above(threshold),
                below=max(0, -min(band.start for band in first)),
                beyond=max(0, max(band.stop for band in first) - self.padded // 2 - 1),
            )
        return self._cut_bands[dtype]

    def _spectrum(self, x: Tensor) -> Tensor:
        bands = self._bands(x.dtype)
        return extend(half_spectrum(self.pad(x)), bands.below, bands.beyond)

    def _groups(
        self, reach: Mapping[int, int], device: torch.device
    ) -> Iterator[tuple[int, tuple[int, ...], int]]:
        """Level, wavelets and bins wanted, a tile at most at a time."""
        for level, members in groupby(sorted(reach), key=lambda n1: self.level(self.psi1[n1])):
            rows = tuple(members)
            length = self.padded >> level
            n_bins = min(max(reach[n1] for n1 in rows), length // 2 + 1)
            size = tile_size(2 * length, device)
            for start in range(0, len(rows), size):
                yield level, rows[start : start + size], n_bins

    def _group(self, level: int, rows: Sequence[int], like: Tensor) -> WaveletGroup:
        members = [n1 for n1, psi in enumerate(self.psi1) if self.level(psi) == level]
        bands = self._bands(like.dtype)
        group = self.derived(
            ("psi1", level),
            like,
            lambda: WaveletGroup.design(
                [bands.first[n1] for n1 in members],
                self.filter("psi1_bank", like),
                bands.below,
                level,
                self.padded >> level,
            ),
        )
        return group.of([members.index(n1) for n1 in rows])

    def _low_bins(self, level: int, n_bins: int, like: Tensor) -> LowBins:
        length = self.padded >> level
        return self.derived(
            ("low bins", length, n_bins), like, lambda: LowBins(length, n_bins, like)
        )

    def _second_filter(self, n2: int, octaves: int, like: Tensor) -> Tensor:
        band = self._bands(like.dtype).second[n2]
        return self.derived(
            ("psi2", n2, octaves),
            like,
            lambda: torch.mul(band.of(self.filter("psi2_bank", like)), 2.0**octaves),
        )

    def _averaging(self, level: int, like: Tensor) -> StridedAverage:
        def make() -> StridedAverage:
            spectrum = subsample(self.phi.numpy(force=True), level)
            return StridedAverage(spectrum, self.stride >> level, self.frames, like)

        return self.derived(("phi", level), like, make)

    def _low_pass_matrix(self, level: int, n_bins: int, like: Tensor) -> Tensor:
        def make() -> Tensor:
            length = self.padded >> level
            weights = subsample(self.phi.numpy(force=True), level)[:n_bins] / length
            bins = np.arange(n_bins)
            weights *= np.where((bins == 0) | (2 * bins == length), 1, 2)
            turns = np.outer(bins, np.asarray(self.frames)) * (self.stride / self.padded)
            waves = weights[:, None, None] * np.stack(
                [np.cos(2 * np.pi * turns), -np.sin(2 * np.pi * turns)], axis=1
            )
            return torch.as_tensor(
                waves.reshape(2 * n_bins, -1), dtype=like.dtype, device=like.device
            )

        return self.derived(("phi bins", level, n_bins), like, make)
