"""Band-pass of first-order moduli with one second-order wavelet, from their spectra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from multipath.transforms._numerics.analytic import (
    half_spectra,
    inverse_planes,
    oversampling,
    stuffed,
)
from multipath.transforms._numerics.rows import take

ALL = slice(None)


@dataclass(frozen=True)
class Part:
    """What one layer of spectra contributes to the band-pass.

    Attributes:
        layer: Index of the layer.
        rows: Which rows of the layer.
        bins: The bins under the wavelet.
        weights: Factors that make the half spectra of the real and the imaginary plane, complex of
            shape (2, 1, 1, bins): half the wavelet in these bins, and -i times that.
    """

    layer: int
    rows: Sequence[int]
    bins: slice
    weights: Tensor

    def of(self, spectra: Sequence[Tensor], signals: slice = ALL) -> Tensor:
        """The bins that the wavelet is applied to, rows first."""
        return take(spectra[self.layer][signals, :, self.bins], self.rows, dim=1).transpose(0, 1)


@dataclass(frozen=True)
class Modulation:
    """Band-pass from spectra of layers to real and imaginary planes (2, rows, batch, samples).

    Attributes:
        parts: What the layers contribute, in the order of the rows; the wavelet has the same number
            of bins in each part.
        length: Number of samples out.
    """

    parts: Sequence[Part]
    length: int

    @property
    def rows(self) -> int:
        """Number of rows out."""
        return sum(len(part.rows) for part in self.parts)

    @property
    def width(self) -> int:
        """Number of bins under the wavelet."""
        return self.parts[0].weights.shape[-1]

    def scratch(self, spectra: Sequence[Tensor], n_signals: int) -> Tensor:
        """Buffer for the half spectra of so many signals, zero except where the band goes."""
        step = oversampling(self.width, self.length)
        shape = (2, self.rows, n_signals, step * self.length // 2 + 1)
        return half_spectra(spectra[self.parts[0].layer], shape, self.width)

    def __call__(
        self, spectra: Sequence[Tensor], signals: slice, scratch: Tensor | None = None
    ) -> Tensor:
        """Band-pass some of the signals, without gradient.

        Args:
            spectra: Spectra of all layers.
            signals: Which signals.
            scratch: Buffer from :meth:`scratch` for as many signals or more: one for all tiles, so
                that its zeros are written once. By default it is made and freed here.
        """
        step = oversampling(self.width, self.length)
        n_signals = len(spectra[self.parts[0].layer][signals])
        if scratch is None:
            scratch = self.scratch(spectra, n_signals)
        halves = scratch[:, :, :n_signals]
        for part, rows in self._rows():
            out = halves[:, rows, :, 1 : self.width + 1]
            torch.mul(part.of(spectra, signals), part.weights, out=out)
        planes: Tensor = torch.fft.irfft(halves, n=step * self.length, norm="forward")
        return planes[..., ::step]

    def differentiable(self, spectra: Sequence[Tensor]) -> Tensor:
        """Band-pass all signals, in steps that can be differentiated twice."""
        bands = [part.of(spectra) * (2 * part.weights[0]) for part in self.parts]
        return inverse_planes(torch.cat(bands, dim=0), self.length)

    def add_adjoint(
        self, gradient: Tensor, spectra: Sequence[Tensor], signals: slice = ALL
    ) -> None:
        """Add to gradients with respect to the spectra, from that of the planes of some signals."""
        step = oversampling(self.width, self.length)
        bins: Tensor = torch.fft.rfft(stuffed(gradient, step))
        real, imaginary = bins[..., 1 : self.width + 1]
        band = torch.add(real, imaginary, alpha=1j)  # the adjoint of the factors 1 and -i
        for part, rows in self._rows():
            half, (first, *_, last) = part.weights[0], (part.rows[0], *part.rows)
            into = spectra[part.layer][signals, :, part.bins]
            # twice, since a real transform counts inner bins for their mirror images as well
            if last - first + 1 == len(part.rows):
                into[:, first : last + 1].transpose(0, 1).addcmul_(band[rows], half, value=2)
            else:
                for place, row in zip(part.rows, band[rows], strict=True):
                    into[:, place].addcmul_(row, half[0], value=2)

    def _rows(self) -> Iterator[tuple[Part, slice]]:
        """Each part and the rows out that come from it."""
        first = 0
        for part in self.parts:
            yield part, slice(first, first + len(part.rows))
            first += len(part.rows)
