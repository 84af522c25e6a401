"""The first layer of a scattering transform: from spectra of signals to spectra of moduli.

Nearly all the time of a path is spent here, so forward and adjoint are written by hand, tile by
tile: what a tile needs stays in the cache. Only the low bins of the moduli's spectra leave a tile
(second-order wavelets see no others), and, for the gradient, the direction of each analytic sample.
Derivatives of the gradient go through the same steps in differentiable form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
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
    modulus,
    modulus_and_inverse,
    oversampling,
    quick_modulus,
    stuffed,
)
from multipath.transforms._numerics.rows import take
from multipath.transforms._numerics.tiles import signal_tiles, tile_size

from .bands import Band
from .low_bins import SignedBins
from .readings import OfRows


@dataclass(frozen=True)
class WaveletGroup:
    """Wavelets whose outputs are kept at the same rate, applied together.

    Neighbours are shifted down in frequency by the same number of bins, so that one product fills
    the spectra of as many as fit: most often of all of them, since they rarely span more than the
    octave that their rate leaves room for.

    Attributes:
        length: Number of samples kept.
        step: The inverse transform is longer by this factor, to make room for a wide wavelet, and
            its output is subsampled by it.
        values: Shape (wavelets, 2 * bins). Each value appears twice, for the real and the imaginary
            part of a bin: torch would multiply real by complex numbers after making both complex.
        firsts: For each wavelet, the bin that its values start from.
    """

    length: int
    step: int
    values: Tensor
    firsts: tuple[int, ...]

    @classmethod
    def design(
        cls, bands: Sequence[Band], like: Tensor, below: int, level: int, length: int
    ) -> WaveletGroup:
        """Make a group from the bands of some wavelets, highest frequency first.

        Args:
            bands: Bands of the wavelets.
            like: A tensor of the precision and device wanted.
            below: Number of negative bins at the start of the spectra to be filtered.
            level: One sample in 2^level is kept.
            length: Number of samples kept.
        """
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
        for row, first, band in zip(values, firsts, bands, strict=True):
            row[band.start - first : band.stop - first] = band.as_tensor(like)
        # the inverse transform is unscaled, and counts each bin twice, for its mirror image
        values = values.repeat_interleave(2, dim=1) / (length * 2 ** (level + 1))
        return cls(length, step, values, tuple(first + below for first in firsts))

    def of(self, rows: Sequence[int]) -> WaveletGroup:
        """Some of the wavelets."""
        firsts = tuple(self.firsts[row] for row in rows)
        return replace(self, values=take(self.values, rows, dim=0), firsts=firsts)

    def __len__(self) -> int:
        return len(self.values)

    def scratch(self, n_signals: int, like: Tensor) -> Tensor:
        """Buffer for the half spectra of real and imaginary planes, zero except where bands go.

        One buffer serves all tiles, so that the zeros are written once.
        """
        halves = like.new_empty(n_signals, 2, len(self), self.step * self.length + 2)
        halves[..., :2].zero_()
        halves[..., 2 + self.values.shape[1] :].zero_()
        return halves

    def analyse(self, sources: Tensor, scratch: Tensor) -> Tensor:
        """Planes (signals, 2, wavelets, length) of band-passed signals.

        Args:
            sources: Spectra from :func:`as_sources`.
            scratch: Buffer from :meth:`scratch` for as many signals.
        """
        for rows, source, place in self._spans():
            torch.mul(
                sources[:, :, None, source], self.values[rows], out=scratch[:, :, rows, place]
            )
        n = self.step * self.length
        planes: Tensor = torch.fft.irfft(as_complex(scratch), n=n, norm="forward")
        return planes[..., :: self.step]

    def plain_analyse(self, spectrum: Tensor) -> Tensor:
        """:meth:`analyse` of a spectrum, in plain operations."""
        n = self.step * self.length
        values, sources = self.values[:, ::2], torch.stack([spectrum, -1j * spectrum], dim=1)
        width = values.shape[1]
        bands = torch.cat(
            [
                sources[:, :, None, first : first + width] * values[rows]
                for rows, first in self._runs()
            ],
            dim=2,
        )
        planes: Tensor = torch.fft.irfft(pad(bands, (1, n // 2 - width)), n=n, norm="forward")
        return planes[..., :: self.step]

    def synthesise(self, planes: Tensor, sources: Tensor) -> None:
        """Add the adjoint of :meth:`analyse` to gradients with respect to the sources."""
        # the adjoint of an unscaled real inverse transform is a real transform whose inner bins,
        # the only ones used, count twice
        bins = as_pairs(torch.fft.rfft(stuffed(planes, self.step)))
        for rows, source, place in self._spans():
            into = sources[..., source]
            # row by row, since the bands of a run add up in the same bins
            for row in range(rows.start, rows.stop):
                into.addcmul_(bins[:, :, row, place], self.values[row], value=2)

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
    return as_pairs(torch.stack([spectrum, -1j * spectrum], dim=1))


def from_sources(gradient: Tensor) -> Tensor:
    """The adjoint of :func:`as_sources`."""
    real, imaginary = as_complex(gradient).unbind(dim=1)
    return real + 1j * imaginary


# Groups of wavelets, and what to read from the moduli of each.
Plan = Sequence[tuple[WaveletGroup, Sequence[SignedBins | OfRows]]]


def read_moduli(
    plan: Plan, spectrum: Tensor, others: Tensor | None = None
) -> list[tuple[Tensor, Tensor]]:
    """What is read from first-order moduli, most often low bins of their spectra.

    Args:
        plan: What to compute.
        spectrum: Spectra of signals, shape (batch, bins), from :func:`~.bands.extend`.
        others: Spectra of more signals, of which no gradient is wanted.

    Returns:
        For each reading of each group, two tensors of shape (batch, wavelets, ...): that of the
        signals, with gradient, and that of the signals followed by the others, without.
    """
    if is_traced(spectrum):
        traced = differentiably_read_moduli(plan, spectrum)
        return list(zip(traced, traced, strict=True))
    found: tuple[Tensor, ...] = _ReadModuli.apply(plan, spectrum, others)  # type: ignore[no-untyped-call]
    half = len(found) // 2
    return list(zip(found[:half], found[half:], strict=True))


class _ReadModuli(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: Plan, spectrum: Tensor, others: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.plan = plan
        wanted = len(spectrum) if ctx.needs_input_grad[1] else 0
        sources = as_sources(spectrum if others is None else torch.cat([spectrum, others]))
        joint: list[Tensor] = []
        directions = []
        for group, readings in plan:
            size = tile_size(2 * len(group) * group.length, spectrum.device)
            scratch = group.scratch(min(size, len(sources)), sources)
            outputs = [r.empty(len(sources), len(group), spectrum) for r in readings]
            for tile, n_kept in signal_tiles(len(sources), size, wanted):
                planes = group.analyse(sources[tile], scratch[: tile.stop - tile.start])
                if n_kept:
                    moduli, inverse = modulus_and_inverse(*planes.unbind(dim=1))
                    # in place only if the whole tile is kept: a part would keep all its memory
                    kept, out = planes[:n_kept], planes if n_kept == len(planes) else None
                    directions.append(torch.mul(kept, inverse[:n_kept, None], out=out))
                    del inverse
                else:
                    moduli = quick_modulus(*planes.unbind(dim=1))
                del planes  # free it before anything is read, which allocates
                for output, reading in zip(outputs, readings, strict=True):
                    reading.read(moduli, output[tile])
                del moduli
            del scratch
            joint += outputs
        ctx.save_for_backward(spectrum, *directions)
        ctx.mark_non_differentiable(*joint)
        ctx.set_materialize_grads(False)
        return (*(found[: len(spectrum)] for found in joint), *joint)

    @staticmethod
    @by_hand
    def backward(ctx: Any, saved: Sequence[Tensor], *gradients: Tensor | None) -> Gradients:
        spectrum, *directions = saved
        wanted = gradients[: len(gradients) // 2]
        if must_be_plain(*wanted):
            result = through_plain(
                partial(differentiably_read_moduli, ctx.plan), [spectrum], wanted
            )
            return None, *result, None
        found = torch.zeros_like(as_sources(spectrum))
        remaining, remaining_gradients = iter(directions), iter(wanted)
        for group, readings in ctx.plan:
            read = [
                (reading, gradient)
                for reading, gradient in zip(readings, remaining_gradients, strict=False)
                if gradient is not None
            ]
            start = 0
            while start < len(spectrum):
                direction = next(remaining)
                tile = slice(start, start + len(direction))
                if read:
                    moduli = reduce(add, (r.adjoint(gradient[tile]) for r, gradient in read))
                    # the derivative of |z| is the direction z / |z|
                    planes = direction * moduli[:, None]
                    group.synthesise(planes, found[tile])
                    del planes
                start = tile.stop
        return None, from_sources(found), None


def differentiably_read_moduli(plan: Plan, spectrum: Tensor) -> list[Tensor]:
    """:func:`read_moduli` in plain operations, for further derivatives and ``torch.func``."""
    found: list[Tensor] = []
    for group, readings in plan:
        size = tile_size(2 * len(group) * group.length, spectrum.device)
        tiles = (modulus(group.plain_analyse(tile)) for tile in spectrum.split(size))
        parts = [[reading(tile) for reading in readings] for tile in tiles]
        found += map(torch.cat, zip(*parts, strict=True))
    return found
