"""Moduli of filtered images and their averages, tile by tile, with a gradient written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from multipath._internal.tracing import is_traced
from multipath.transforms._numerics.adjoints import (
    Gradients,
    by_hand,
    must_be_plain,
    through_plain,
)
from multipath.transforms._numerics.analytic import modulus_and_inverse
from multipath.transforms._numerics.tiles import tile_size

from .fold import Filter, fold, unfold

Part: TypeAlias = tuple[int, slice]  # a bank and some of its filters


class Average(NamedTuple):
    """Weighted sums along both axes of images, as matrices (averages, pixels)."""

    rows: Tensor
    columns: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Averages of images (..., rows, columns)."""
        return self.rows @ (x @ self.columns.mT)

    def adjoint(self, gradient: Tensor) -> Tensor:
        """The adjoint of averaging."""
        return self.rows.mT @ (gradient @ self.columns)


class Bank(NamedTuple):
    """Filters after which one pixel in ``step`` is kept, along both axes, and what follows.

    Without an average, what follows is the modulus alone.
    """

    filters: Sequence[Filter]
    step: int
    average: Average | None = None


def moduli(images: Tensor, banks: Sequence[Bank]) -> Sequence[Tensor]:
    """Moduli of filtered images, or their averages.

    Args:
        images: Real, shape (batch, rows, columns), with squares within the range of the precision.
        banks: What to compute.

    Returns:
        For each bank a tensor of shape (batch, filters, ...).
    """
    if is_traced(images):
        return _plain(images, banks)
    found: Sequence[Tensor] = _Moduli.apply(images, banks)  # type: ignore[no-untyped-call]
    return found


def _plain(images: Tensor, banks: Sequence[Bank]) -> list[Tensor]:
    """The same in operations that torch sees through."""
    spectrum = torch.fft.fft2(images)
    found = []
    for bank in banks:
        # torch's modulus of complex numbers has a slope of zero at zero, which is what is wanted
        values = torch.fft.ifft2(fold(spectrum, bank.filters, bank.step)).abs()
        found.append(values if bank.average is None else bank.average(values))
    return found


def _parts(images: Tensor, banks: Sequence[Bank]) -> Iterator[tuple[slice, list[Part]]]:
    """Which images to take at once, and which filters of which bank.

    Images that are taken together share the looking up of bins, filters that are taken together
    stay in the cache of a processor.
    """
    _, height, width = images.shape
    size = tile_size(height * width, images.device)
    for start in range(0, len(images), size):
        stop = min(start + size, len(images))
        parts = []
        for number, (filters, step, _) in enumerate(banks):
            pixels = height * width // step**2
            n_filters = tile_size(8 * (stop - start) * pixels, images.device)
            for first in range(0, len(filters), n_filters):
                parts.append((number, slice(first, min(first + n_filters, len(filters)))))
        yield slice(start, stop), parts


class _Moduli(torch.autograd.Function):
    """Keeps the direction of each filtered pixel, which is all that its gradient needs."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, banks: Sequence[Bank]) -> tuple[Tensor, ...]:
        outputs = []
        for filters, step, average in banks:
            shape = [size // step for size in images.shape[1:]]
            if average is not None:
                shape = [len(average.rows), len(average.columns)]
            outputs.append(images.new_empty(len(images), len(filters), *shape))
        directions = []
        for tile, parts in _parts(images, banks):
            spectrum = torch.fft.fft2(images[tile])
            for bank, some in parts:
                filters, step, average = banks[bank]
                filtered = torch.fft.ifft2(fold(spectrum, filters[some], step))
                pair = torch.view_as_real(filtered).unbind(-1)
                size, inverse = modulus_and_inverse(*pair)
                outputs[bank][tile, some] = size if average is None else average(size)
                if ctx.needs_input_grad[0]:
                    for plane in pair:
                        plane.mul_(inverse)
                    directions.append(filtered)
        ctx.set_materialize_grads(False)
        ctx.banks = banks
        ctx.save_for_backward(images, *directions)
        return tuple(outputs)

    @staticmethod
    @by_hand
    def backward(ctx: Any, saved: Sequence[Tensor], *gradients: Tensor | None) -> Gradients:
        images, *directions = saved
        banks = ctx.banks
        if must_be_plain(*gradients):
            return *through_plain(lambda x: _plain(x, banks), [images], gradients), None
        found = torch.empty_like(images)
        remaining = iter(directions)
        for tile, parts in _parts(images, banks):
            spectrum = images.new_zeros(images[tile].shape, dtype=images.dtype.to_complex())
            for bank, some in parts:
                direction, gradient = next(remaining), gradients[bank]
                if gradient is None:
                    continue
                filters, _, average = banks[bank]
                gradient = gradient[tile, some]
                if average is not None:
                    gradient = average.adjoint(gradient)
                product = torch.empty_like(direction)
                torch.mul(direction.real, gradient, out=product.real)
                torch.mul(direction.imag, gradient, out=product.imag)
                # the adjoint of an inverse transform is a transform, with the same scale
                unfold(torch.fft.fft2(product, norm="forward"), filters[some], spectrum)
            found[tile] = torch.fft.ifft2(spectrum, norm="forward").real
        return found, None
