"""Complex filters along the rows of signals, as products of real matrices."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .products import add_product, product


@dataclass(frozen=True)
class Mixing:
    """Filters along the rows.

    Where the signals are mirrored, so are the moduli of what real filters give; those of a filter
    and of its complex conjugate are images of one another. Hence the order of the rows out: first
    those whose images are not computed, then pairs of a filter and its conjugate, one after the
    other, and last those of real filters.

    Attributes:
        matrix: The filters as a real matrix of shape (2 * rows out, 2 * rows), from real rows
            followed by imaginary ones to the same.
        n_single: How many rows out have no image among them.
        n_paired: How many are in pairs.
    """

    matrix: Tensor
    n_single: int
    n_paired: int

    @property
    def rows(self) -> int:
        """Number of rows out."""
        return len(self.matrix) // 2

    def of(self, rows: slice) -> Tensor:
        """The part of the matrix that gives some of the rows."""
        part: Tensor = self.matrix.unflatten(0, (2, -1))[:, rows].flatten(0, 1)
        return part

    def __call__(self, planes: Tensor, rows: slice) -> Tensor:
        """Filter planes (2, rows, ..., samples) along the rows, giving some of the rows out."""
        mixed = product(self.of(rows), planes.flatten(2).flatten(0, 1))
        return mixed.view(2, -1, *planes.shape[2:])

    def add_adjoint(self, gradient: Tensor, rows: slice, planes: Tensor) -> None:
        """Add to the gradient with respect to the planes, from that of some of the rows out."""
        into = planes.flatten(2).flatten(0, 1)
        add_product(into, self.of(rows).mT, gradient.flatten(2).flatten(0, 1))
