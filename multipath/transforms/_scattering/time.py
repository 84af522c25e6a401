"""Wavelet analysis along time, shared by the scattering transforms.

The first layer holds moduli of band-passed signals; the second layer band-passes those moduli and
takes moduli again; a low-pass filter averages either and keeps one sample in 2^floor(log2(T)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from multipath._internal.settings import choice, whole
from multipath.errors import ConfigurationError
from multipath.jets import JetOrder
from multipath.transforms._numerics.analytic import half_spectrum
from multipath.transforms._numerics.filters import FilterBuffers, vanishing_tails
from multipath.transforms._numerics.settings import check_scattering
from multipath.transforms._numerics.tiles import keep_freed_memory, tile_size

from .average import StridedAverage
from .bands import Band, extend, find_band
from .first_layer import WaveletGroup, modulus_spectra
from .low_bins import LowBins
from .modulation import Modulation, Part
from .modulus_jets import averaged_modulus_jets, modulus_spectrum_jets
from .second_layer import Branch, averaged_moduli
from .wavelets import Wavelet, low_pass, padded_length, wavelet_bank

# Bins below this fraction of a wavelet's peak are left out.
THRESHOLD = {torch.float32: 1e-7, torch.float64: 1e-16}
# Reduced sampling leaves out more bins, and keeps so many samples per bandwidth (standard
# deviation) of a wavelet. A first-order wavelet spans 9.6 bandwidths, which a half spectrum must
# hold; its modulus spans twice that, before anything aliases. A second modulus is averaged at once,
# so that more of it may alias.
REDUCED_THRESHOLD = 1e-5
FIRST_POINTS, SECOND_POINTS = 19.5, 12.0


@dataclass(frozen=True)
class SpectrumLayer:
    """Low bins of the spectra of first-order moduli that are kept at one sampling rate.

    Attributes:
        level: One sample in 2^level is kept.
        rows: Indices n1 of the wavelets.
        below: Number of negative bins, which come first.
        spectra: Shape (batch, len(rows), bins), with gradient.
        joint: The spectra, without gradient, followed by those of signals that want none.
        order: Which derivatives there are, if the batch consists of components of jets.
    """

    level: int
    rows: tuple[int, ...]
    below: int
    spectra: Tensor
    joint: Tensor
    order: JetOrder | None = None


@dataclass(frozen=True)
class _Bands:
    """Bands of the filters, and how far those of the first layer exceed a half spectrum."""

    first: list[Band]
    second: list[Band]
    low_pass: Band
    below: int
    beyond: int


class TimeScattering(FilterBuffers):
    """Filter banks over time, and the layers and averages computed with them.

    Args:
        n_samples: Length of the signals.
        J: Octaves of both filter banks.
        Q: Wavelets per octave of the first and second filter bank.
        T: Averaging window in samples, None for 2^J.
        unpad: Whether to keep only the output frames that lie within the signal.
        sampling: ``"exact"`` for the sampling rates of kymatio, or ``"reduced"``.

    Raises:
        ConfigurationError: If a setting is out of range or the signal is too short for it.
    """

    @vanishing_tails
    def __init__(
        self,
        n_samples: int,
        J: int,
        Q: tuple[int, int],
        T: int | None,
        unpad: bool,
        sampling: str = "exact",
    ) -> None:
        super().__init__()
        n_samples, T = whole("n_samples", n_samples), whole("T", 2**J if T is None else T)
        check_scattering(n_samples, J, Q, T)
        self.n_samples, self.J, self.Q, self.T, self.unpad = n_samples, J, Q, T, bool(unpad)
        self.sampling = choice("sampling", sampling, "exact", "reduced")
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
        self._designs1 = [self._design(f"psi1_{n1}", psi) for n1, psi in enumerate(self.psi1)]
        self._designs2 = [self._design(f"psi2_{n2}", psi) for n2, psi in enumerate(self.psi2)]
        self._design_phi = self._design("phi", low_pass(T))
        threshold = THRESHOLD[torch.float32] if self.sampling == "exact" else REDUCED_THRESHOLD
        reaches = [band.above(threshold).reach for band in self._designs2]
        self.levels1 = [self._first_level(wavelet, reaches) for wavelet in self.psi1]
        self.levels2 = [self._level(wavelet, SECOND_POINTS) for wavelet in self.psi2]
        keep_freed_memory()
        self._cut_bands: dict[torch.dtype, _Bands] = {}

    def _design(self, name: str, wavelet: Wavelet) -> Band:
        band = find_band(wavelet, self.padded, THRESHOLD[torch.float64])
        self.register_filter(name, band.values)
        return band

    def _level(self, wavelet: Wavelet, points: float) -> int:
        """Subsampling exponent of a wavelet's output, never coarser than that of the frames."""
        level = wavelet.j
        if self.sampling == "reduced":
            level = max(level, math.floor(-math.log2(points * wavelet.sigma)))
        return min(level, self.log2_stride)

    def _first_level(self, wavelet: Wavelet, reaches: Sequence[int]) -> int:
        """Subsampling exponent of a first-order modulus, fine enough for all that is applied to it.

        Its half spectrum must hold every bin of the second-order wavelets with j1 < j2, whose bands
        have some reaches.
        """
        applied = zip(reaches, self.psi2, strict=True)
        reach = max((reach for reach, second in applied if wavelet.j < second.j), default=1)
        level = self._level(wavelet, FIRST_POINTS)
        while level > min(wavelet.j, self.log2_stride) and reach > (self.padded >> level + 1) + 1:
            level -= 1
        return level

    @property
    def stride(self) -> int:
        """Samples between output frames."""
        return 1 << self.log2_stride

    @property
    def frames(self) -> range:
        """Which frames of the padded signal are returned."""
        if not self.unpad:
            return range(self.padded // self.stride)
        return range(
            -(-self.pad_left // self.stride), -(-(self.pad_left + self.n_samples) // self.stride)
        )

    def pad(self, x: Tensor) -> Tensor:
        """Signals mirrored at both ends, up to the padded length."""
        return F.pad(x[:, None], (self.pad_left, self.pad_right), mode="reflect")[:, 0]

    def zeroth_order(self, x: Tensor) -> Tensor:
        """Averaged signals, shape (batch, frames)."""
        bands = self._bands(x.dtype)
        return self._low_pass(self._spectrum(x)[:, bands.below :], level=0)

    def first_layer(
        self,
        x: Tensor,
        rates: Mapping[int, Sequence[int]],
        averaged: Sequence[int] = (),
        others: Tensor | None = None,
        order: JetOrder | None = None,
    ) -> list[SpectrumLayer]:
        """The low bins of the spectra of first-order moduli that later steps need.

        Args:
            x: Signals, shape (batch, n_samples).
            rates: For each second-order wavelet n2 to be applied, the n1 that it is applied to.
            averaged: The n1 whose moduli will be averaged as they are.
            others: More signals, of which no gradient is wanted.
            order: Which derivatives there are, if the signals are components, jet after jet.
        """
        layout = self.layout(rates, averaged, x)
        plan = [
            (self._group(level, rows, x), self._low_bins(level, n_bins, x), below)
            for level, rows, n_bins, below in layout
        ]
        spectrum = self._spectrum(x)
        if order is not None:
            found = [(bins, bins) for bins in modulus_spectrum_jets(plan, spectrum, order)]
        else:
            found = modulus_spectra(
                plan, spectrum, None if others is None else self._spectrum(others)
            )
        return [
            SpectrumLayer(level, rows, below, *spectra, order)
            for (level, rows, _, below), spectra in zip(layout, found, strict=True)
        ]

    def layout(
        self, rates: Mapping[int, Sequence[int]], averaged: Sequence[int], like: Tensor
    ) -> list[tuple[int, tuple[int, ...], int, int]]:
        """Level, rows, number of bins from 0 on and number of negative bins of each layer."""
        bands = self._bands(like.dtype)
        reach = dict.fromkeys(averaged, bands.low_pass.reach)
        for n2, rows in rates.items():
            needed = bands.second[n2].reach
            reach.update((n1, max(needed, reach.get(n1, 0))) for n1 in rows)
        below = max([0, *(-bands.second[n2].start for n2 in rates)])
        return [
            (level, rows, n_bins, min(below, n_bins - 1))
            for level, rows, n_bins in self._groups(reach, like.device)
        ]

    def first_order(self, layer: SpectrumLayer) -> Tensor:
        """Averaged moduli of one layer, shape (batch, rows, frames), of the joint batch."""
        reach = self._bands(layer.joint.real.dtype).low_pass.reach
        spectra, bins = layer.spectra, slice(layer.below, layer.below + reach)
        low = spectra[..., bins]
        if len(layer.joint) > len(spectra):
            low = torch.cat([low, layer.joint[len(spectra) :, :, bins]])
        return self._low_pass(low, layer.level)

    def branch(
        self,
        layers: Sequence[SpectrumLayer],
        n2: int,
        rows: Sequence[int],
        mixing: Tensor | None = None,
    ) -> Branch:
        """What becomes of the first layer under the second-order wavelet n2.

        Args:
            layers: Layers from :meth:`first_layer`.
            n2: Index of the wavelet.
            rows: Which n1, increasing; all must satisfy j1 < j2.
            mixing: Filters along the rows, as in :class:`~.second_layer.Branch`.
        """
        wanted = frozenset(rows)
        like = layers[0].joint.real
        band = self._bands(like.dtype).second[n2]
        level = self.levels2[n2]
        parts = [
            Part(
                layer=number,
                rows=[i for i, n1 in enumerate(layer.rows) if n1 in wanted],
                bins=slice(layer.below + band.start, layer.below + band.stop),
                weights=self._second_filter(n2, layer.level, like),
            )
            for number, layer in enumerate(layers)
            if not wanted.isdisjoint(layer.rows)
        ]
        modulation = Modulation(parts, self.padded >> level)
        return Branch(modulation, self._averaging(level, like), mixing)

    def second_order(
        self, layers: Sequence[SpectrumLayer], branches: Sequence[Branch]
    ) -> list[Tensor]:
        """Averaged moduli of second-order wavelets.

        Returns:
            For each branch, shape (joint batch, rows out, frames).
        """
        if not branches:
            return []
        spectra = [layer.spectra for layer in layers]
        order = layers[0].order if layers else None
        if order is not None:
            return [averaged_modulus_jets(branch, spectra, order) for branch in branches]
        return averaged_moduli(branches, spectra, [layer.joint for layer in layers])

    def _low_pass(self, half_spectra: Tensor, level: int) -> Tensor:
        """Averages of signals kept at one sample in 2^level, from the bins of their spectra."""
        like = half_spectra.real
        n_bins = min(self._bands(like.dtype).low_pass.reach, (self.padded >> level + 1) + 1)
        n_frames = self.padded // self.stride
        # the filter reaches a little beyond the middle bin at the rate of the frames: transform at
        # a higher rate, then subsample
        step = 1
        while n_bins > step * n_frames // 2 + 1:
            step *= 2
        weights = self._low_pass_bins(level, n_bins, step * n_frames, like)
        frames: Tensor = torch.fft.irfft(half_spectra[..., :n_bins] * weights, n=step * n_frames)
        return frames[..., step * self.frames.start : step * self.frames.stop : step]

    def _bands(self, dtype: torch.dtype) -> _Bands:
        """Bands of the filters, cut for a precision."""
        if dtype not in self._cut_bands:
            threshold = THRESHOLD[dtype] if self.sampling == "exact" else REDUCED_THRESHOLD
            first = [band.above(threshold) for band in self._designs1]
            self._cut_bands[dtype] = _Bands(
                first=first,
                second=[band.above(threshold) for band in self._designs2],
                low_pass=self._design_phi.above(threshold),
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
        """Level, wavelets and number of bins of each layer, which is at most a tile."""
        for level, members in groupby(sorted(reach), key=self.levels1.__getitem__):
            rows = tuple(members)
            length = self.padded >> level
            n_bins = min(max(reach[n1] for n1 in rows), length // 2 + 1)
            size = tile_size(2 * length, device)
            for start in range(0, len(rows), size):
                yield level, rows[start : start + size], n_bins

    def _group(self, level: int, rows: Sequence[int], like: Tensor) -> WaveletGroup:
        members = [n1 for n1, other in enumerate(self.levels1) if other == level]
        bands = self._bands(like.dtype)
        group = self.derived(
            ("psi1", level),
            like,
            lambda like: WaveletGroup.design(
                [bands.first[n1] for n1 in members],
                like,
                bands.below,
                level,
                self.padded >> level,
            ),
        )
        return group.of([members.index(n1) for n1 in rows])

    def _low_bins(self, level: int, n_bins: int, like: Tensor) -> LowBins:
        length = self.padded >> level
        return self.derived(
            ("low bins", length, n_bins), like, lambda like: LowBins(length, n_bins, like)
        )

    def _second_filter(self, n2: int, level: int, like: Tensor) -> Tensor:
        """Weights of a :class:`~.modulation.Part` for spectra at one sample in 2^level."""

        def make(like: Tensor) -> Tensor:
            values = self._bands(like.dtype).second[n2].as_tensor(like)
            halves = values / (2 * (self.padded >> level))
            return torch.stack([halves + 0j, -1j * halves])[:, None, None]

        return self.derived(("psi2", n2, level), like, make)

    def _averaging(self, level: int, like: Tensor) -> StridedAverage:
        def make(like: Tensor) -> StridedAverage:
            spectrum = self._design_phi.folded(self.padded >> level)
            return StridedAverage(spectrum, self.stride >> level, self.frames, like)

        return self.derived(("phi", level), like, make)

    def _low_pass_bins(self, level: int, n_bins: int, length: int, like: Tensor) -> Tensor:
        """Bins of the low-pass filter, for an inverse transform that divides by ``length``."""

        def make(like: Tensor) -> Tensor:
            weights = self._design_phi.folded(self.padded >> level)[:n_bins]
            weights *= length / (self.padded >> level)
            return torch.as_tensor(weights, dtype=like.dtype, device=like.device)

        return self.derived(("phi bins", level, n_bins), like, make)
