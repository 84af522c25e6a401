"""Wavelet analysis along time, shared by the scattering transforms.

First layer: moduli of band-passed signals. Second layer: band-passes of those moduli. Averaging:
a low-pass filter that keeps one sample in 2^log2(T).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigurationError
from ._analytic import half_spectrum, inverse_planes, modulus
from ._average import StridedAverage
from ._bands import Band, Filter, concatenate, find_band, split_bands
from ._filters import FilterBuffers
from ._settings import check_scattering
from ._wavelets import Wavelet, low_pass, padded_length, subsample, wavelet_bank

# Bins below this fraction of a wavelet's peak are left out, for float32 and float64.
THRESHOLD = {torch.float32: 1e-7, torch.float64: 1e-16}


@dataclass(frozen=True)
class ModulusLayer:
    """First-layer moduli of some wavelets at one sampling rate.

    Attributes:
        level: One sample in 2^level is kept.
        rows: Indices n1 of the wavelets.
        moduli: Shape (batch, len(rows), padded length / 2^level).
    """

    level: int
    rows: list[int]
    moduli: Tensor

    @cached_property
    def spectra(self) -> Tensor:
        """``rfft`` of the moduli, computed once however many second-layer wavelets ask."""
        return half_spectrum(self.moduli)


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
        self._bands1 = self._design("psi1_bank", self.psi1)
        self._bands2 = self._design("psi2_bank", self.psi2)
        self.register_filter("phi", low_pass(T).spectrum(self.padded))

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

    def level(self, wavelet: Wavelet) -> int:
        """Subsampling exponent of what a wavelet puts out: never coarser than the frames."""
        return min(wavelet.j, self.log2_stride)

    def first_layer(self, x: Tensor, rows: Sequence[int]) -> list[ModulusLayer]:
        """Moduli of some first-order wavelets, grouped by sampling rate.

        Args:
            x: Signals, shape (batch, n_samples).
            rows: Indices n1, increasing.
        """
        filters = self.derived("psi1", x, lambda: self._first_filters(x))
        bands = split_bands(half_spectrum(self.pad(x)), self.padded, [filters[n1] for n1 in rows])
        layers, taken = [], 0
        for level, planes in bands:
            group = list(rows[taken : taken + planes.shape[2]])
            taken += len(group)
            layers.append(ModulusLayer(level, group, modulus(planes)))
        return layers

    def second_layer(self, layers: Sequence[ModulusLayer], n2: int, rows: Sequence[int]) -> Tensor:
        """Band-pass of first-layer moduli, all rows at the rate of wavelet n2.

        Args:
            layers: From :meth:`first_layer`.
            n2: Index of the second-order wavelet.
            rows: Which n1, increasing; all must satisfy j1 < j2.

        Returns:
            Real and imaginary plane, shape (batch, 2, len(rows), padded length / 2^level), up to
            a rotation of phase that is the same for every row.
        """
        wavelet = self.psi2[n2]
        length = self.padded >> self.level(wavelet)
        like = layers[0].moduli
        band, values = self.derived(("psi2", n2), like, lambda: self._second_filter(n2, like))
        wanted = set(rows)
        parts = []
        for layer in layers:
            kept = [position for position, row in enumerate(layer.rows) if row in wanted]
            if not kept:
                continue
            spectra = layer.spectra
            if len(kept) < len(layer.rows):
                contiguous = kept[-1] - kept[0] + 1 == len(kept)
                spectra = spectra[:, kept[0] : kept[-1] + 1] if contiguous else spectra[:, kept]
            # the inverse transform divides by its own, shorter, length
            gain = length / (self.padded >> layer.level)
            parts.append(_slice_spectrum(spectra, band) * (values * gain))
        return inverse_planes(torch.cat(parts, dim=1), length)

    def average(self, moduli: Tensor, level: int) -> Tensor:
        """Low-pass at width T, one output frame in 2^log2(T) samples.

        Args:
            moduli: Shape (..., padded length / 2^level).
            level: Subsampling exponent of the input.
        """
        average = self.derived(("phi", level), moduli, lambda: self._averaging(level, moduli))
        return average(moduli)

    def pad(self, x: Tensor) -> Tensor:
        """Mirror the signal at both ends, up to the padded length."""
        return F.pad(x[:, None], (self.pad_left, self.pad_right), mode="reflect")[:, 0]

    def _first_filters(self, like: Tensor) -> list[Filter]:
        bank = self.filter("psi1_bank", like)
        return [
            Filter.make(band.above(THRESHOLD[like.dtype]), self.level(wavelet), bank)
            for band, wavelet in zip(self._bands1, self.psi1, strict=True)
        ]

    def _second_filter(self, n2: int, like: Tensor) -> tuple[Band, Tensor]:
        band = self._bands2[n2].above(THRESHOLD[like.dtype])
        return band, band.of(self.filter("psi2_bank", like)).clone()

    def _averaging(self, level: int, like: Tensor) -> StridedAverage:
        first, last = 0, self.padded // self.stride
        if self.unpad:
            first = -(-self.pad_left // self.stride)
            last = -(-(self.pad_left + self.n_samples) // self.stride)
        spectrum = subsample(self.phi.numpy(force=True), level)
        stride = 1 << (self.log2_stride - level)
        return StridedAverage(spectrum, stride, range(first, last), like)


def _slice_spectrum(half_spectra: Tensor, band: Band) -> Tensor:
    """The bins of a band from half spectra of real signals."""
    if band.start >= 0:
        return half_spectra[..., band.start : band.stop]
    mirrored = half_spectra[..., 1 : 1 - band.start].conj().flip(-1)
    return torch.cat([mirrored, half_spectra[..., : band.stop]], dim=-1)
