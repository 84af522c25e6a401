"""Wavelet analysis along time, shared by the scattering transforms.

The first layer holds moduli of band-passed signals; the second layer band-passes those moduli and
takes moduli again. Either is averaged by a low-pass filter, which keeps one sample in
2^floor(log2(T)), or over the whole signal, or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from multipath._internal.settings import choice, switch, whole
from multipath.errors import ConfigurationError
from multipath.jets import JetOrder
from multipath.transforms._numerics.analytic import half_spectrum
from multipath.transforms._numerics.filters import FilterBuffers, vanishing_tails
from multipath.transforms._numerics.settings import check_scattering, log2_stride, window
from multipath.transforms._numerics.tiles import keep_freed_memory, tile_size

from .average import StridedAverage
from .bands import Band, extend, find_band
from .first_layer import WaveletGroup, read_moduli
from .low_bins import LowBins, SignedBins
from .modulation import Modulation, Part
from .modulus_jets import averaged_modulus_jets, read_modulus_jets
from .readings import Mean, OfRows, Reading, Samples
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
# How torch pads signals that are mirrored, periodic or silent beyond their ends.
PADDING = {"reflect": "reflect", "periodic": "circular", "zero": "constant"}


@dataclass(frozen=True)
class Request:
    """What is wanted of the first layer.

    Attributes:
        rates: For each second-order wavelet n2 to be applied, the n1 that it is applied to.
        averaged: The n1 whose moduli will be averaged over the window.
        read: The n1 whose moduli are wanted themselves, or their means over the signal.
    """

    rates: Mapping[int, Sequence[int]]
    averaged: Sequence[int] = ()
    read: Sequence[int] = ()


@dataclass(frozen=True)
class Layout:
    """What is computed of some first-order moduli that are kept at one sampling rate.

    Attributes:
        level: One sample in 2^level is kept.
        rows: Indices n1 of the wavelets.
        n_bins: How many bins of their spectra, from bin 0 on.
        below: How many negative bins.
        read: The n1 that are read themselves.
    """

    level: int
    rows: tuple[int, ...]
    n_bins: int
    below: int
    read: tuple[int, ...]


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
class ReadRows:
    """First-order moduli at their own rate, or their means over the signal.

    Attributes:
        rows: Indices n1 of the wavelets.
        values: Shape (batch, len(rows), samples), with gradient.
        joint: The values, without gradient, followed by those of signals that want none.
    """

    rows: tuple[int, ...]
    values: Tensor
    joint: Tensor


@dataclass(frozen=True)
class FirstLayer:
    """All that was computed of first-order moduli.

    Attributes:
        layers: Low bins of spectra.
        read: The moduli that are wanted themselves.
    """

    layers: list[SpectrumLayer]
    read: list[ReadRows]

    @property
    def joint(self) -> list[Tensor]:
        """All tensors, without gradient."""
        return [*(layer.joint for layer in self.layers), *(rows.joint for rows in self.read)]


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
        T: Averaging window in samples, None for 2^J; ``"global"`` to average over the signal, or
            ``"none"`` to average nothing.
        unpad: Whether to keep only the output frames that lie within the signal.
        sampling: ``"exact"`` for the sampling rates of kymatio, or ``"reduced"``.
        border: How the signal goes on beyond its ends: ``"reflect"``, ``"periodic"`` or ``"zero"``.
        stride: Samples between frames, None for 2^floor(log2(T)).

    Raises:
        ConfigurationError: If a setting is out of range or the signal is too short for it.
    """

    @vanishing_tails
    def __init__(
        self,
        n_samples: int,
        J: int,
        Q: tuple[int, int],
        T: Any,
        unpad: bool,
        sampling: str = "exact",
        border: str = "reflect",
        stride: Any = None,
    ) -> None:
        super().__init__()
        n_samples, T = whole("n_samples", n_samples), window("T", T, 2**J)
        self.windowed = not isinstance(T, str)
        check_scattering(n_samples, J, Q, T)
        self.n_samples, self.J, self.Q, self.T = n_samples, J, Q, T
        self.unpad = switch("unpad", unpad)
        self.sampling = choice("sampling", sampling, "exact", "reduced")
        self.border = choice("border", border, *PADDING)
        # what is averaged even where coefficients are not, such as the first order of a JTFS; no
        # wavelet is coarser than 2^J
        self.window = T if not isinstance(T, str) else 2**J
        self.log2_stride = log2_stride("stride", stride, "T", T, 2**J, n_samples)
        self.padded = self.circle(n_samples)
        if self.padded < 2**J:
            raise ConfigurationError(
                f"signals of {n_samples} samples are too short for J={J}: wavelets of 2^{J} "
                f"samples do not fit in the {self.padded} samples there are after padding; use "
                f"J <= {int(math.log2(self.padded))}"
            )
        self.pad_left = (self.padded - n_samples) // 2
        self.pad_right = self.padded - n_samples - self.pad_left
        self.psi1 = wavelet_bank(J, Q[0])
        self.psi2 = wavelet_bank(J, Q[1])
        self._designs1 = [self._design(f"psi1_{n1}", psi) for n1, psi in enumerate(self.psi1)]
        self._designs2 = [self._design(f"psi2_{n2}", psi) for n2, psi in enumerate(self.psi2)]
        self._design_phi = self._design("phi", low_pass(self.window))
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

    def circle(self, n_samples: int) -> int:
        """Length of signals of ``n_samples`` samples with their padding, which is circular."""
        deepest = 2 ** (max(self.J, self.log2_stride) + 1)
        if self.border == "periodic" and n_samples % deepest == 0:
            return n_samples  # one period is all that is needed
        return padded_length(n_samples, self.window)

    @property
    def stride(self) -> int:
        """Samples between output frames."""
        return 1 << self.log2_stride

    @property
    def frames(self) -> range:
        """Which frames of the padded signal are returned, of those that the window averages."""
        return self._kept(self.log2_stride)

    def _kept(self, level: int) -> range:
        """Which samples to keep of a padded signal that holds one sample in 2^level."""
        if not self.unpad:
            return range(self.padded >> level)
        first, last = self.pad_left, self.pad_left + self.n_samples
        return range(-(-first >> level), -(-last >> level))

    def pad(self, x: Tensor) -> Tensor:
        """Signals continued beyond both ends, up to the padded length."""
        margins = self.pad_left, self.pad_right
        return F.pad(x[:, None], margins, mode=PADDING[self.border])[:, 0]

    def zeroth_order(self, x: Tensor) -> Tensor:
        """Averaged signals, shape (batch, frames)."""
        if not self.windowed:
            return self._averaging(0, x)(self.pad(x))
        bands = self._bands(x.dtype)
        return self._low_pass(self._spectrum(x)[:, bands.below :], level=0)

    def first_layer(
        self,
        x: Tensor,
        request: Request,
        others: Tensor | None = None,
        order: JetOrder | None = None,
    ) -> FirstLayer:
        """What later steps need of first-order moduli.

        Args:
            x: Signals, shape (batch, n_samples).
            request: What they need.
            others: More signals, of which no gradient is wanted.
            order: Which derivatives there are, if the signals are components, jet after jet.
        """
        layouts = self.layouts(request, x)
        plan = [
            (self._group(layout.level, layout.rows, x), self._readings(layout, x))
            for layout in layouts
        ]
        spectrum = self._spectrum(x)
        if order is not None:
            found = [(read, read) for read in read_modulus_jets(plan, spectrum, order)]
        else:
            found = read_moduli(plan, spectrum, None if others is None else self._spectrum(others))
        remaining = iter(found)
        first = FirstLayer([], [])
        for layout in layouts:
            if layout.n_bins:
                first.layers.append(
                    SpectrumLayer(layout.level, layout.rows, layout.below, *next(remaining), order)
                )
            if layout.read:
                first.read.append(ReadRows(layout.read, *next(remaining)))
        return first

    def kept_layer(self, request: Request, joint: Sequence[Tensor]) -> FirstLayer:
        """The first layer, without gradient, from all its tensors."""
        layouts = self.layouts(request, joint[0].real)
        with_bins = [layout for layout in layouts if layout.n_bins]
        return FirstLayer(
            [
                SpectrumLayer(layout.level, layout.rows, layout.below, spectra, spectra)
                for layout, spectra in zip(with_bins, joint, strict=False)
            ],
            [
                ReadRows(layout.read, values, values)
                for layout, values in zip(
                    [layout for layout in layouts if layout.read],
                    joint[len(with_bins) :],
                    strict=True,
                )
            ],
        )

    def layouts(self, request: Request, like: Tensor) -> list[Layout]:
        """What is computed of which first-order moduli, tile by tile."""
        bands = self._bands(like.dtype)
        reach = dict.fromkeys(request.read, 0)
        reach.update(dict.fromkeys(request.averaged, bands.low_pass.reach))
        for n2, rows in request.rates.items():
            needed = bands.second[n2].reach
            reach.update((n1, max(needed, reach.get(n1, 0))) for n1 in rows)
        below = max([0, *(-bands.second[n2].start for n2 in request.rates)])
        read = frozenset(request.read)
        return [
            Layout(
                level,
                rows,
                n_bins,
                max(0, min(below, n_bins - 1)),
                tuple(n1 for n1 in rows if n1 in read),
            )
            for level, rows, n_bins in self._groups(reach, like.device)
        ]

    def _readings(self, layout: Layout, like: Tensor) -> list[SignedBins | OfRows]:
        readings: list[SignedBins | OfRows] = []
        if layout.n_bins:
            low_bins = self._low_bins(layout.level, layout.n_bins, like)
            readings.append(SignedBins(low_bins, layout.below))
        if layout.read:
            rows = [layout.rows.index(n1) for n1 in layout.read]
            readings.append(
                OfRows(self._averaging(layout.level, like), rows, n_rows=len(layout.rows))
            )
        return readings

    def first_order(
        self, first: FirstLayer, wanted: Collection[int]
    ) -> Iterator[tuple[tuple[int, ...], Tensor]]:
        """Rows n1 and first-order moduli that the window averages, (joint batch, rows, frames).

        Args:
            first: From :meth:`first_layer`.
            wanted: Rows to yield; others may come with them.
        """
        for layer in first.layers:
            if frozenset(wanted).isdisjoint(layer.rows):
                continue
            reach = self._bands(layer.joint.real.dtype).low_pass.reach
            bins = slice(layer.below, layer.below + reach)
            low = with_others(layer.spectra, layer.joint)[..., bins]
            yield layer.rows, self._low_pass(low, layer.level)

    def frame(self, n2: int, like: Tensor) -> int:
        """Samples of a second modulus that one step of the averaging reads."""
        return self._averaging(self.levels2[n2], like).stride

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

    def _averaging(self, level: int, like: Tensor) -> Reading:
        """What makes coefficients of moduli at one sample in 2^level."""

        def make(like: Tensor) -> Reading:
            if self.T == "none":
                return Samples(self.padded >> level, self._kept(level))
            if self.T == "global":
                return Mean(self.padded >> level, self._kept(level), like)
            spectrum = self._design_phi.folded(self.padded >> level)
            return StridedAverage(spectrum, self.stride >> level, self.frames, like)

        return self.derived(("averaging", level), like, make)

    def _low_pass_bins(self, level: int, n_bins: int, length: int, like: Tensor) -> Tensor:
        """Bins of the low-pass filter, for an inverse transform that divides by ``length``."""

        def make(like: Tensor) -> Tensor:
            weights = self._design_phi.folded(self.padded >> level)[:n_bins]
            weights *= length / (self.padded >> level)
            return torch.as_tensor(weights, dtype=like.dtype, device=like.device)

        return self.derived(("phi bins", level, n_bins), like, make)


def with_others(values: Tensor, joint: Tensor) -> Tensor:
    """The joint batch, with the gradient of those of its signals that have one."""
    return torch.cat([values, joint[len(values) :]]) if len(joint) > len(values) else values
