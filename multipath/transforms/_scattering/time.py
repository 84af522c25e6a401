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
from .bands import Band, find_band
from .blocks import Blocks, Circle, Line
from .first_layer import Section, WaveletGroup, read_moduli
from .layers import FirstLayer, Layout, ReadRows, Request, SpectrumLayer
from .low_bins import LowBins, SignedBins
from .mixing import Mixing
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
# So many standard deviations from its middle, the envelope of a wavelet is negligible.
REACH = {torch.float32: 5.3, torch.float64: 8.3}
# Images pay off if no more than this part of the samples is computed.
WORTHWHILE = 0.9
# How torch pads signals that are mirrored, periodic or silent beyond their ends.
PADDING = {"reflect": "reflect", "periodic": "circular", "zero": "constant"}


@dataclass(frozen=True)
class _Bank:
    """Wavelets of the first layer that are kept at one sampling rate.

    Attributes:
        rows: Their indices n1.
        group: The wavelets.
        bins: The bins that they cover, in a block.
    """

    rows: list[int]
    group: WaveletGroup
    bins: range


@dataclass(frozen=True)
class _Bands:
    """Bands of the filters."""

    first: list[Band]
    second: list[Band]
    low_pass: Band


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
        last = self.pad_left + n_samples - 1
        mirrored = self.border == "reflect"
        self._circle = Circle(self.padded, (2 * self.pad_left, 2 * last) if mirrored else None)
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
        return self._low_pass(half_spectrum(self.pad(x)), level=0)

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
        plan = self._plan(layouts, x)
        of_x, *of_others = (
            [section.spectrum(padded) for section in plan]
            for padded in map(self.pad, [x] if others is None else [x, others])
        )
        if order is not None:
            found = [(read, read) for read in read_modulus_jets(plan, of_x, order)]
        else:
            found = read_moduli(plan, of_x, *of_others)
        remaining = iter(found)
        first = FirstLayer([], [])
        for layout in layouts:
            if layout.read:
                first.read.append(ReadRows(layout.read, *next(remaining)))
            if layout.n_bins:
                first.layers.append(
                    SpectrumLayer(layout.level, layout.rows, layout.below, *next(remaining), order)
                )
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
            for level, rows, n_bins in self._groups(reach, like)
        ]

    def _readings(self, layout: Layout, blocks: Blocks, like: Tensor) -> list[SignedBins | OfRows]:
        readings: list[SignedBins | OfRows] = []
        if layout.read:
            rows = [layout.rows.index(n1) for n1 in layout.read]
            averaging = self._averaging(layout.level, like)
            readings.append(OfRows(blocks, averaging, rows, n_rows=len(layout.rows)))
        if layout.n_bins:  # last, since it changes what it reads
            low_bins = self._low_bins(layout, blocks, like)
            readings.append(SignedBins(low_bins, layout.below))
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
            low = with_others(layer.spectra[..., bins], layer.joint[..., bins])
            yield layer.rows, self._low_pass(low, layer.level)

    def branch(
        self,
        layers: Sequence[SpectrumLayer],
        n2: int,
        rows: Sequence[int],
        mixing: Mixing | None = None,
    ) -> Branch:
        """What becomes of the first layer under the second-order wavelet n2.

        Args:
            layers: Layers from :meth:`first_layer`.
            n2: Index of the wavelet.
            rows: Which n1, increasing; all must satisfy j1 < j2.
            mixing: Filters along the rows.
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
        average = self._averaging(level, like)
        line = Line.all(modulation.length)
        if mixing is not None:  # to cut rows that are not mixed costs what their images save
            line = self._line(n2, rows, average.unit, like)
        return Branch(modulation, average, line, mixing)

    def _line(self, n2: int, rows: Sequence[int], unit: int, like: Tensor) -> Line:
        """Which samples to compute of the second moduli of some rows, whose images are known."""
        level = self.levels2[n2]
        slowest = min((self.psi1[n1] for n1 in rows), key=lambda wavelet: wavelet.sigma)
        # spreads in time add up by their squares
        spread = math.hypot(*(1 / wavelet.sigma for wavelet in (slowest, self.psi2[n2])))
        reach = math.ceil(REACH[like.dtype] * spread / (2 * math.pi * 2**level))
        line = Line.of(self._circle, level, reach, unit)
        fits = line.first % unit == 0 and line.width <= WORTHWHILE * line.length
        return line if fits else Line.all(line.length)

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
            threshold = self._threshold(dtype)
            first = [band.above(threshold) for band in self._designs1]
            self._cut_bands[dtype] = _Bands(
                first=first,
                second=[band.above(threshold) for band in self._designs2],
                low_pass=self._design_phi.above(threshold),
            )
        return self._cut_bands[dtype]

    def _groups(
        self, reach: Mapping[int, int], like: Tensor
    ) -> Iterator[tuple[int, tuple[int, ...], int]]:
        """Level, wavelets and number of bins of each layer, which is at most a tile."""
        for level, members in groupby(sorted(reach), key=self.levels1.__getitem__):
            rows = tuple(members)
            length = self.padded >> level
            n_bins = min(max(reach[n1] for n1 in rows), length // 2 + 1)
            blocks = self._bank(level, like).group.blocks
            size = tile_size(2 * blocks.n_blocks * blocks.size, like.device)
            for start in range(0, len(rows), size):
                yield level, rows[start : start + size], n_bins

    def _plan(self, layouts: Sequence[Layout], like: Tensor) -> list[Section]:
        """How to compute layouts: those of one level, or of one block, share a section."""
        pairs = [(layout, self._bank(layout.level, like)) for layout in layouts]
        plan = []
        for _, members in groupby(
            pairs, lambda pair: None if pair[1].group.blocks.whole else pair[0].level
        ):
            chosen = list(members)
            start = chosen[0][1].bins.start
            stop = max(bank.bins.stop for _, bank in chosen)
            groups = [
                (
                    bank.group.of([bank.rows.index(n1) for n1 in layout.rows]),
                    self._readings(layout, bank.group.blocks, like),
                )
                for layout, bank in chosen
            ]
            plan.append(Section(range(start, stop), groups))
        return plan

    def _bank(self, level: int, like: Tensor) -> _Bank:
        """The wavelets of the first layer whose outputs are kept at one sample in 2^level."""

        def make(like: Tensor) -> _Bank:
            rows = [n1 for n1, other in enumerate(self.levels1) if other == level]
            narrowest = min(self.psi1[n1].sigma for n1 in rows)
            reach = math.ceil(REACH[like.dtype] / (2 * math.pi * narrowest * 2**level))
            blocks = Blocks.design(self._circle, level, reach)
            if blocks.whole:
                bands = self._bands(like.dtype).first
                start = min(band.start for band in bands)  # the same for all levels
                bands = [bands[n1] for n1 in rows]
            else:
                threshold = self._threshold(like.dtype)
                size = blocks.size << level
                bands = [find_band(self.psi1[n1], size, threshold) for n1 in rows]
                start = min(band.start for band in bands)
            group = WaveletGroup.design(bands, like, start, blocks)
            return _Bank(rows, group, range(start, max(band.stop for band in bands)))

        return self.derived(("psi1", level), like, make)

    def _threshold(self, dtype: torch.dtype) -> float:
        return THRESHOLD[dtype] if self.sampling == "exact" else REDUCED_THRESHOLD

    def _low_bins(self, layout: Layout, blocks: Blocks, like: Tensor) -> LowBins:
        return self.derived(
            ("low bins", layout.level, layout.n_bins),
            like,
            lambda like: LowBins(blocks, layout.n_bins, like),
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
