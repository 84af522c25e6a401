"""Band-pass of first-order moduli with one second-order wavelet, from their spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ._analytic import inverse_planes, inverse_planes_adjoint
from ._first_layer import take


@dataclass(frozen=True)
class Part:
    """What one layer of spectra gives to the band-pass.

    Attributes:
        rows: Which rows of the layer.
        bins: The bins under the wavelet.
        weights: The wavelet there.
    """

    rows: Sequence[int]
    bins: slice
    weights: Tensor


@dataclass(frozen=True)
class Modulation:
    """Spectra of layers in, real and imaginary plane (batch, 2, rows, samples) out.

    Attributes:
        parts: One for each layer; their rows follow one another.
        length: Samples out.
    """

    parts: Sequence[Part]
    length: int

    @property
    def rows(self) -> int:
        """Rows out."""
        return sum(len(part.rows) for part in self.parts)

    def __call__(self, spectra: Sequence[Tensor]) -> Tensor:
        """Apply; differentiable twice."""
        bands = [
            take(spectrum, part.rows, dim=1)[..., part.bins] * part.weights
            for spectrum, part in zip(spectra, self.parts, strict=True)
        ]
        return inverse_planes(torch.cat(bands, dim=1), self.length)

    def adjoint(self, gradient: Tensor, spectra: Sequence[Tensor]) -> list[Tensor]:
        """Gradients with respect to spectra of the shapes given, from that of the planes."""
        band = inverse_planes_adjoint(gradient, len(self.parts[0].weights))
        bands = band.split([len(part.rows) for part in self.parts], dim=1)
        found = []
        for spectrum, part, rows in zip(spectra, self.parts, bands, strict=True):
            back = torch.zeros_like(spectrum, memory_format=torch.contiguous_format)
            first, last = part.rows[0], part.rows[-1]
            if last - first + 1 == len(part.rows):
                torch.mul(rows, part.weights, out=back[:, first : last + 1, part.bins])
            else:
                for place, row in zip(part.rows, rows.unbind(1), strict=True):
                    torch.mul(row, part.weights, out=back[:, place, part.bins])
            found.append(back)
        return found
