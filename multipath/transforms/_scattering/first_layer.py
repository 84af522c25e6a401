"""The first layer of a scattering transform: from spectra of signals to spectra of moduli.

Nearly all the time of a path is spent here, so forward and adjoint are written by hand, tile by
tile: what a tile needs stays in the larger caches. Only the low bins of the moduli's spectra leave
a tile (second-order wavelets see no others), and, for the gradient, the direction of each analytic
sample. Derivatives of the gradient go through the same steps in differentiable form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import groupby
from operator import add
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from multipath._internal.tracing import is_traced
from multipath.transforms._numerics.adjoints import (
    Gradients,
    by_hand,
    must_be_plain,
    through_plain,
)
from multipath.transforms._numerics.analytic import (
    half_spectrum,
    modulus,
    oversampling,
)
from multipath.transforms._numerics.rows import take
from multipath.transforms._numerics.tiles import signal_tiles, tile_size

from .bands import Band, unwrapped
from .blocks import Blocks
from .low_bins import SignedBins
from .readings import OfRows


@dataclass(frozen=True)
class WaveletGroup:
    """Wavelets whose outputs are kept at the same rate, applied together.

    Neighbours are shifted down in frequency by the same number of bins, so that one product fills
    the spectra of as many as fit: most often of all of them, since they rarely span more than the
    octave that their rate leaves room for.

    Attributes:
        blocks: Which samples are computed, in which blocks.
        step: The inverse transform is longer by this factor, to make room for a wide wavelet, and
            its output is subsampled by it.
        values: Shape (wavelets, 2 * bins). Each value appears twice, for the real and the imaginary
            part of a bin: torch would multiply real by complex numbers after making both complex.
        firsts: For each wavelet, the bin that its values start from.
        extents: For each wavelet, the first and the last of its values that is not zero.
    """

    blocks: Blocks
    step: int
    values: Tensor
    firsts: tuple[int, ...]
    extents: tuple[range, ...]

    @classmethod
    def design(
        cls, bands: Sequence[Band], like: Tensor, start: int, blocks: Blocks
    ) -> WaveletGroup:
        """Make a group from the bands of some wavelets, highest frequency first.

        Args:
            bands: Bands of the wavelets, on the bins of a block.
            like: A tensor of the precision and device wanted.
            start: The bin that the spectra to be filtered start from.
            blocks: Which samples are computed, in which blocks.
        """
        length = blocks.size
        step = oversampling(max(len(band.values) for band in bands), length)
        runs: list[list[Band]] = []
        for band in bands:
            if runs and oversampling(_span(runs[-1] + [band]), length) <= step:
                runs[-1].append(band)
            else:
                runs.append([band])
        width = max(_span(run) for run in runs)
        # all runs have the width of the widest: start none so late that it ends past the last band
        latest = max(band.stop for band in bands) - width
        firsts = [min(latest, *(band.start for band in run)) for run in runs for _ in run]
        values = like.new_zeros(len(bands), width)
        extents = tuple(
            range(band.start - first, band.stop - first)
            for first, band in zip(firsts, bands, strict=True)
        )
        for row, extent, band in zip(values, extents, bands, strict=True):
            row[extent.start : extent.stop] = band.as_tensor(like)
        # the inverse transform is unscaled, and counts each bin twice, for its mirror image
        values = values.repeat_interleave(2, dim=1) / (2 * length << blocks.level)
        return cls(blocks, step, values, tuple(first - start for first in firsts), extents)

    def of(self, rows: Sequence[int]) -> WaveletGroup:
        """Some of the wavelets."""
        firsts = tuple(self.firsts[row] for row in rows)
        extents = tuple(self.extents[row] for row in rows)
        return replace(self, values=take(self.values, rows, dim=0), firsts=firsts, extents=extents)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def numbers(self) -> int:
        """How many real numbers are computed of each signal."""
        return 2 * len(self) * self.blocks.n_blocks * self.blocks.size

    def scratch(self, n_signals: int, like: Tensor) -> Tensor:
        """Buffer for the half spectra of real and imaginary planes, zero except where bands go.

        One buffer serves all tiles, so that the zeros are written once.
        """
        n_items = n_signals * self.blocks.n_blocks
        halves = like.new_empty(n_items, 2, len(self), self.step * self.blocks.size + 2)
        halves[..., :2].zero_()
        halves[..., 2 + self.values.shape[1] :].zero_()
        return halves

    def analyse(self, sources: Tensor, scratch: Tensor) -> Tensor:
        """Planes (signals, blocks, 2, wavelets, samples) of band-passed signals.

        Args:
            sources: Spectra from :func:`as_sources`.
            scratch: Buffer from :meth:`scratch` for as many signals.
        """
        blocks = sources.flatten(0, 1)
        for rows, source, place in self._spans():
            torch.mul(blocks[:, :, None, source], self.values[rows], out=scratch[:, :, rows, place])
        n = self.step * self.blocks.size
        planes: Tensor = torch.fft.irfft(as_complex(scratch), n=n, norm="forward")
        apart: Tensor = planes.unflatten(0, sources.shape[:2])
        return self.blocks.valid(apart[..., :: self.step])

    def plain_analyse(self, spectrum: Tensor) -> Tensor:
        """:meth:`analyse` of a spectrum, in plain operations."""
        n = self.step * self.blocks.size
        values, sources = self.values[:, ::2], torch.stack([spectrum, -1j * spectrum], dim=2)
        width = values.shape[1]
        bands = torch.cat(
            [
                sources[..., None, first : first + width] * values[rows]
                for rows, first in self._runs()
            ],
            dim=3,
        )
        planes: Tensor = torch.fft.irfft(pad(bands, (1, n // 2 - width)), n=n, norm="forward")
        return self.blocks.valid(planes[..., :: self.step])

    def synthesise(self, planes: Tensor, sources: Tensor) -> None:
        """Add the adjoint of :meth:`analyse` to gradients with respect to the sources.

        Args:
            planes: Gradients with respect to whole blocks, (signals, blocks, 2, wavelets, samples).
            sources: Where to add.
        """
        # the adjoint of an unscaled real inverse transform is a real transform whose inner bins,
        # the only ones used, count twice
        bins, blocks = as_pairs(torch.fft.rfft(planes.flatten(0, 1))), sources.flatten(0, 1)
        # wavelet by wavelet, since the bands of several add up in the same bins
        for row, (first, extent) in enumerate(zip(self.firsts, self.extents, strict=True)):
            start, stop = 2 * extent.start, 2 * extent.stop
            into = blocks[..., 2 * first + start : 2 * first + stop]
            values = self.values[row, start:stop]
            into.addcmul_(bins[:, :, row, 2 + start : 2 + stop], values, value=2)

    def _spans(self) -> Iterator[tuple[slice, slice, slice]]:
        """Rows that start from the same bin, and their places in the sources and in half spectra.

        Half spectra are filled from bin 1 on: bin 0 cannot hold an imaginary part.
        """
        width = self.values.shape[1]
        for rows, first in self._runs():
            yield rows, slice(2 * first, 2 * first + width), slice(2, 2 + width)

    def _runs(self) -> Iterator[tuple[slice, int]]:
        """Rows that start from the same bin, and that bin."""
        row = 0
        for first, run in groupby(self.firsts):
            rows = slice(row, row + len(list(run)))
            yield rows, first
            row = rows.stop


def _span(bands: Sequence[Band]) -> int:
    return max(band.stop for band in bands) - min(band.start for band in bands)


def as_complex(pairs: Tensor) -> Tensor:
    """Complex numbers from real and imaginary parts that alternate along the last dimension."""
    return torch.view_as_complex(pairs.unflatten(-1, (-1, 2)))


def as_pairs(numbers: Tensor) -> Tensor:
    """Real and imaginary parts, alternating along the last dimension."""
    return torch.view_as_real(numbers.contiguous()).flatten(-2)


def as_sources(spectrum: Tensor) -> Tensor:
    """A spectrum, and -i times it, as pairs: what real and imaginary planes are made from.

    The real part of -i z is the imaginary part of z, so that real inverse transforms make both
    planes.
    """
    return as_pairs(torch.stack([spectrum, -1j * spectrum], dim=2))


def no_sources(spectrum: Tensor) -> Tensor:
    """Zeros like :func:`as_sources` of a spectrum."""
    n_signals, n_blocks, n_bins = spectrum.shape
    return spectrum.real.new_zeros(n_signals, n_blocks, 2, 2 * n_bins)


def from_sources(gradient: Tensor) -> Tensor:
    """The adjoint of :func:`as_sources`."""
    real, imaginary = as_complex(gradient).unbind(dim=2)
    return real + 1j * imaginary


@dataclass(frozen=True)
class Section:
    """Wavelets that are applied to the same blocks of signals.

    Attributes:
        bins: The bins of the blocks' spectra that the wavelets cover.
        groups: Groups of wavelets, and what to read from the moduli of each.
    """

    bins: range
    groups: Sequence[tuple[WaveletGroup, Sequence[SignedBins | OfRows]]]

    def spectrum(self, x: Tensor) -> Tensor:
        """Spectra (batch, blocks, bins) of padded signals."""
        group, _ = self.groups[0]
        return unwrapped(half_spectrum(group.blocks.blocks(x)), self.bins)


Plan = Sequence[Section]


def read_moduli(
    plan: Plan, spectra: Sequence[Tensor], others: Sequence[Tensor] | None = None
) -> list[tuple[Tensor, Tensor]]:
    """What is read from first-order moduli, most often low bins of their spectra.

    Args:
        plan: What to compute.
        spectra: For each section, spectra of the signals.
        others: Spectra of more signals, of which no gradient is wanted.

    Returns:
        For each reading of each group, two tensors of shape (batch, wavelets, ...): that of the
        signals, with gradient, and that of the signals followed by the others, without.
    """
    if not plan:  # of the averaged signal, no moduli are read
        return []
    if any(map(is_traced, spectra)):
        traced = differentiably_read_moduli(plan, spectra)
        return list(zip(traced, traced, strict=True))
    found: tuple[Tensor, ...] = _ReadModuli.apply(plan, others, *spectra)  # type: ignore[no-untyped-call]
    half = len(found) // 2
    return list(zip(found[:half], found[half:], strict=True))


class _ReadModuli(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: Plan, others: Sequence[Tensor] | None, *spectra: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.plan = plan
        n_signals = len(spectra[0])
        wanted = n_signals if any(ctx.needs_input_grad) else 0
        largest = torch.finfo(spectra[0].dtype).tiny ** -0.5
        joint: list[Tensor] = []
        directions = []
        for number, section in enumerate(plan):
            spectrum = spectra[number]
            sources = as_sources(
                spectrum if others is None else torch.cat([spectrum, others[number]])
            )
            for group, readings in section.groups:
                size = tile_size(group.numbers, spectrum.device)
                scratch = group.scratch(min(size, len(sources)), sources)
                read = [r.empty(len(sources), len(group), spectrum) for r in readings]
                for tile, n_kept in signal_tiles(len(sources), size, wanted):
                    part = sources[tile]
                    planes = group.analyse(part, scratch[: len(part) * group.blocks.n_blocks])
                    real, imaginary = planes.unbind(dim=2)
                    # zero goes by infinity back to zero
                    inverse = torch.mul(real, real).addcmul_(imaginary, imaginary).rsqrt_()
                    moduli = group.blocks.line(inverse, reciprocal=True)
                    if n_kept:
                        kept = planes[:n_kept]
                        # in place only if all of it is kept: a part would keep all its memory
                        out = planes if n_kept == len(planes) and group.blocks.whole else None
                        finite = inverse[:n_kept, :, None].clamp_max_(largest)
                        directions.append(torch.mul(kept, finite, out=out))
                        del kept, out, finite
                    # free it before anything is read, which allocates
                    del planes, real, imaginary, inverse
                    for reading, into in zip(readings, read, strict=True):
                        reading.read(moduli, into[tile])
                    del moduli
                del scratch
                joint += [r.gather(found) for r, found in zip(readings, read, strict=True)]
        ctx.save_for_backward(*spectra, *directions)
        ctx.mark_non_differentiable(*joint)
        ctx.set_materialize_grads(False)
        return (*(found[:n_signals] for found in joint), *joint)

    @staticmethod
    @by_hand
    def backward(ctx: Any, saved: Sequence[Tensor], *gradients: Tensor | None) -> Gradients:
        plan: Plan = ctx.plan
        spectra, directions = saved[: len(plan)], iter(saved[len(plan) :])
        wanted = gradients[: len(gradients) // 2]
        if must_be_plain(*wanted):
            result = through_plain(
                lambda *spectra: differentiably_read_moduli(plan, spectra), spectra, wanted
            )
            return None, None, *result
        remaining = iter(wanted)
        found = []
        for section, spectrum in zip(plan, spectra, strict=True):
            sources = no_sources(spectrum)
            for group, readings in section.groups:
                gathered = [
                    (reading, reading.gather_adjoint(gradient))
                    for reading, gradient in zip(readings, remaining, strict=False)
                    if gradient is not None
                ]
                tiles: list[Tensor] = []
                while sum(len(tile) for tile in tiles) < len(spectrum):
                    tiles.append(next(directions))
                if not gathered:
                    continue
                largest = max(len(tile) for tile in tiles)
                room = group.blocks.room(largest, len(group), group.step, sources)
                start = 0
                for direction in tiles:
                    signals = slice(start, start + len(direction))
                    moduli = reduce(add, (r.adjoint(g[signals]) for r, g in gathered))
                    # the derivative of |z| is the direction z / |z|
                    planes = group.blocks.line_adjoint(direction, moduli, room)
                    group.synthesise(planes, sources[signals])
                    del planes, moduli
                    start = signals.stop
            found.append(from_sources(sources))
        return None, None, *found


def differentiably_read_moduli(plan: Plan, spectra: Sequence[Tensor]) -> list[Tensor]:
    """:func:`read_moduli` in plain operations, for further derivatives and ``torch.func``."""
    found: list[Tensor] = []
    for section, spectrum in zip(plan, spectra, strict=True):
        for group, readings in section.groups:
            size = tile_size(group.numbers, spectrum.device)
            parts = []
            for tile in spectrum.split(size):
                planes = group.plain_analyse(tile)
                moduli = modulus(planes.flatten(0, 1)).unflatten(0, planes.shape[:2])
                moduli = group.blocks.line(moduli)
                parts.append([reading(moduli) for reading in readings])
            found += map(torch.cat, zip(*parts, strict=True))
    return found
