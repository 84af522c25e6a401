"""Filtering and subsampling of images in one step, on the bins of their spectra that matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from multipath._internal.tracing import is_traced


class Box(NamedTuple):
    """Where a rectangle of bins begins, where it falls by subsampling, and a filter on it.

    Spectra are real tensors (..., rows, 2 * columns) in which real and imaginary parts alternate:
    a product of complex numbers with the real filter would make the filter complex first.
    """

    source: tuple[int, int]
    target: tuple[int, int]
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
                (top + first, 2 * (left + start)),
                (first, 2 * start),
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
    batch, height, width = spectrum.shape
    folded = spectrum.new_zeros(batch, len(filters), height // step, width // step)
    for target, source, response in _meetings(spectrum, filters, folded):
        target.addcmul_(source, response)
    return folded


def unfold(folded: Tensor, filters: Sequence[Filter], spectrum: Tensor) -> None:
    """Add the adjoint of :func:`fold` to spectra."""
    for target, source, response in _meetings(spectrum, filters, folded):
        source.addcmul_(target, response)


def _meetings(
    spectrum: Tensor, filters: Sequence[Filter], folded: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Where folded spectra and spectra meet, and what they are multiplied by there."""
    bins, places = (torch.view_as_real(each).flatten(-2) for each in (spectrum, folded))
    traced, batch = is_traced(spectrum), spectrum.shape[0]
    (image, row, _), (some, number, place, _) = bins.stride(), places.stride()
    for n, rectangles in enumerate(filters):
        for (top, left), (first, start), response in rectangles:
            height, width = response.shape
            if traced:
                target = places[:, n, first : first + height, start : start + width]
                source = bins[:, top : top + height, left : left + width]
            else:  # the same in a third of the time, which on small images is more than products
                shape = batch, height, width
                at = places.storage_offset() + n * number + first * place + start
                target = places.as_strided(shape, (some, place, 1), at)
                at = bins.storage_offset() + top * row + left
                source = bins.as_strided(shape, (image, row, 1), at)
            yield target, source, response
