"""Filtering and subsampling of images in one step, on the bins of their spectra that matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from multipath._internal.tracing import is_traced
from multipath.transforms._numerics.adjoints import Gradients, by_hand


class Box(NamedTuple):
    """A rectangle of bins, where they fall when the image is subsampled, and a filter on them.

    Spectra are real tensors (..., rows, 2 * columns) in which real and imaginary parts alternate:
    a product of complex numbers with the real filter would make the filter complex first.
    """

    source: tuple[slice, slice]
    target: tuple[slice, slice]
    response: Tensor


Filter: TypeAlias = Sequence[Box]


def boxes(spectrum: Tensor, step: int, tolerance: float) -> list[Box]:
    """A filter as the rectangles outside of which it is zero.

    Args:
        spectrum: Spectrum of the filter, real of shape (rows, columns), both multiples of step.
        step: One pixel in so many is kept of a filtered image, along both axes, which adds up the
            step x step tiles of its spectrum.
        tolerance: What counts as zero, relative to the largest value.
    """
    threshold = tolerance * spectrum.abs().max()
    return list(_boxes(spectrum, step, float(threshold)))


def _boxes(spectrum: Tensor, step: int, threshold: float) -> Iterator[Box]:
    height, width = (size // step for size in spectrum.shape)
    for top in range(0, spectrum.shape[0], height):
        for left in range(0, spectrum.shape[1], width):
            tile = spectrum[top : top + height, left : left + width]
            rows, columns = torch.nonzero(tile.abs() > threshold, as_tuple=True)
            if not len(rows):
                continue
            first, last = int(rows.min()), int(rows.max()) + 1
            start, stop = int(columns.min()), int(columns.max()) + 1
            yield Box(
                (slice(top + first, top + last), slice(2 * (left + start), 2 * (left + stop))),
                (slice(first, last), slice(2 * start, 2 * stop)),
                (tile[first:last, start:stop] / step**2).repeat_interleave(2, dim=1),
            )


def fold(spectrum: Tensor, filters: Sequence[Filter], step: int) -> Tensor:
    """Spectra of images after some filters and subsampling.

    Args:
        spectrum: Spectra of the images, complex of shape (batch, rows, columns).
        filters: Filters from :func:`boxes`, for the same step.
        step: One pixel in so many is kept, along both axes.

    Returns:
        Spectra, complex of shape (batch, filters, rows / step, columns / step).
    """
    pairs = torch.view_as_real(spectrum).flatten(-2)
    return torch.view_as_complex(_fold(pairs, filters, step).unflatten(-1, (-1, 2)))


def _fold(spectrum: Tensor, filters: Sequence[Filter], step: int) -> Tensor:
    fold = _folded if is_traced(spectrum) else _Fold.apply
    folded: Tensor = fold(spectrum, filters, step)
    return folded


def _unfold(folded: Tensor, filters: Sequence[Filter], step: int) -> Tensor:
    unfold = _unfolded if is_traced(folded) else _Unfold.apply
    spectrum: Tensor = unfold(folded, filters, step)
    return spectrum


def _folded(spectrum: Tensor, filters: Sequence[Filter], step: int) -> Tensor:
    batch, height, width = spectrum.shape
    folded = spectrum.new_zeros(batch, len(filters), height // step, width // step)
    for number, rectangles in enumerate(filters):
        for box in rectangles:
            folded[:, number, *box.target].addcmul_(spectrum[:, *box.source], box.response)
    return folded


def _unfolded(folded: Tensor, filters: Sequence[Filter], step: int) -> Tensor:
    """The adjoint of :func:`_folded`."""
    batch, _, height, width = folded.shape
    spectrum = folded.new_zeros(batch, step * height, step * width)
    for number, rectangles in enumerate(filters):
        for box in rectangles:
            spectrum[:, *box.source].addcmul_(folded[:, number, *box.target], box.response)
    return spectrum


class _Fold(torch.autograd.Function):
    """A fold, whose adjoint's adjoint is the fold again: gradients of any order exist."""

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, filters: Sequence[Filter], step: int) -> Tensor:
        ctx.filters, ctx.step = filters, step
        return _folded(spectrum, filters, step)

    @staticmethod
    @by_hand
    def backward(ctx: Any, _: Any, gradient: Tensor) -> Gradients:
        return _unfold(gradient, ctx.filters, ctx.step), None, None


class _Unfold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, folded: Tensor, filters: Sequence[Filter], step: int) -> Tensor:
        ctx.filters, ctx.step = filters, step
        return _unfolded(folded, filters, step)

    @staticmethod
    @by_hand
    def backward(ctx: Any, _: Any, gradient: Tensor) -> Gradients:
        return _fold(gradient, ctx.filters, ctx.step), None, None
