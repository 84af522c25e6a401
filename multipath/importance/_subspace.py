"""A growing subspace of weight space, and the curvature matrices of all paths projected on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ._derivatives import EncoderDerivatives, ThetaDerivatives

SMALL: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
"""What is small is kept in float64 on the CPU: only products with W weights are expensive."""

SMALLEST = 1e-300
"""Lower bound of what is divided by."""

SEARCH_ROUNDS = 8
"""How often a search multiplies its random directions."""

WIDTH = 512
"""Numbers that a sketch reduces a vector to."""


class Subspace:
    """A subspace of weight space and what the matrices M of one parameter do in it.

    The matrices are those of :mod:`multipath.importance._curvature`, one for each path.

    Args:
        encoder: Gives Hessian-vector products.
        gradients: Gradients of the encoder, shape (batch, U, W).
        derivatives: The derivatives s and H of the losses.
        u: Index of the parameter.
        weight: What the reduction over the batch multiplies each item by.
        generator: Draws the sketch and the directions that a search starts from.
    """

    def __init__(
        self,
        encoder: EncoderDerivatives,
        gradients: Tensor,
        derivatives: ThetaDerivatives,
        u: int,
        weight: float,
        generator: torch.Generator,
    ) -> None:
        self.encoder, self.gradients, self.u, self.generator = encoder, gradients, u, generator
        first = derivatives.first[..., u].double() * weight
        second = derivatives.second[..., u, :].double() * weight
        # losses may be so small that products with vectors would underflow in single precision
        sizes = torch.maximum(first.abs().amax(dim=1), second.abs().amax(dim=(1, 2)))
        self.scale = torch.where(sizes > 0, sizes, 1.0)
        self.alive = sizes > 0
        self.slopes, self.bends = first / self.scale[:, None], second / self.scale[:, None, None]
        n_items, n_parameters, n_weights = gradients.shape
        self.sketch = Sketch(n_weights, generator, gradients)
        self.basis = gradients.new_zeros(0, n_weights)
        self.forms = torch.zeros(n_items, 0, 0, **SMALL)  # V^T A_b V
        self.projected = torch.zeros(n_items, n_parameters, 0, **SMALL)  # V^T g
        self.image_sketches = torch.zeros(n_items, 0, self.sketch.width, **SMALL)
        self.basis_sketches = torch.zeros(0, self.sketch.width, **SMALL)
        self.gradient_sketches = self.sketch(gradients[:, u])
        self.products = 0

    @property
    def dimension(self) -> int:
        """Dimension of the subspace."""
        return len(self.basis)

    def extend(self, directions: Tensor, mix: Tensor | None = None) -> Tensor:
        """Add directions to the subspace, and what the matrices make of them.

        Args:
            directions: Shape (n, W).
            mix: Weights of the A_b in the mixture that multiplies each direction, shape (n, batch).

        Returns:
            The mixtures times the new basis vectors, shape (up to n, W); zeros without a mix.
        """
        old = self.dimension
        for direction in directions:
            self._orthonormalise(direction)
        new = self.basis[old:]
        mixed = torch.zeros_like(new)
        if not len(new):
            return mixed
        forms, sketches = [], []
        for b, images in enumerate(self._images(new)):
            forms.append((self.basis @ images.T).cpu().double())
            sketches.append(self.sketch(images))
            if mix is not None:
                mixed += mix[: len(new), b, None].to(images) * images
        # A_b is symmetric: the products of old directions with new images fill both corners
        columns = torch.stack(forms)  # (items, dimension, new)
        grown = torch.zeros(len(columns), self.dimension, self.dimension, **SMALL)
        grown[:, :old, :old] = self.forms
        grown[:, :, old:] = columns
        grown[:, old:, :old] = columns[:, :old].mT
        inner = grown[:, old:, old:]
        grown[:, old:, old:] = (inner + inner.mT) / 2
        self.forms = grown
        seen = (self.gradients @ new.T).cpu().double()
        self.projected = torch.cat([self.projected, seen], dim=2)
        self.image_sketches = torch.cat([self.image_sketches, torch.stack(sketches)], dim=1)
        self.basis_sketches = torch.cat([self.basis_sketches, self.sketch(new)])
        return mixed

    def search(self, most: int) -> None:
        """Extend the subspace from two random directions, as a power iteration would.

        One is multiplied by the mixture of the A_b that the slopes of the paths have most in
        common, the other by one of random signs, in which items do not cancel systematically. What
        lies in the subspace is projected out, so that a few rounds find what is large outside.

        Args:
            most: Largest dimension of the subspace.
        """
        lengths = torch.linalg.vector_norm(self.slopes, dim=1, keepdim=True).clamp_min(SMALLEST)
        shares = self.slopes / lengths
        signs = 2 * torch.randint(2, (shares.shape[1],), generator=self.generator, device="cpu") - 1
        common = torch.linalg.svd(shares, full_matrices=False).Vh[0]
        mix = torch.stack([common, signs * shares.square().mean(dim=0).sqrt()])
        size = (2, self.basis.shape[1])
        directions = torch.randn(
            size, generator=self.generator, dtype=torch.float32, device="cpu"
        ).to(self.basis)
        for _ in range(SEARCH_ROUNDS):
            directions = self.extend(directions[: max(0, most - self.dimension)], mix)

    def _images(self, vectors: Tensor) -> Iterator[Tensor]:
        self.products += len(vectors)
        return self.encoder.products(self.u, vectors)

    def _orthonormalise(self, direction: Tensor) -> None:
        size = torch.linalg.vector_norm(direction)
        if not size > 0:
            return
        rest = direction / size
        for _ in range(2):  # the second pass removes what rounding has left
            rest = rest - (self.basis @ rest) @ self.basis
        size = torch.linalg.vector_norm(rest)
        if size > 100 * torch.finfo(rest.dtype).eps:
            rest = rest / size  # a small rest is mostly rounding: normalised, it needs another pass
            rest = rest - (self.basis @ rest) @ self.basis
            rest = rest / torch.linalg.vector_norm(rest)
            self.basis = torch.cat([self.basis, rest[None]])

    def eigenpairs(self, paths: Tensor) -> tuple[Tensor, Tensor]:
        """Eigenvalue of largest magnitude of each projected matrix, and its unit vector."""
        small = torch.einsum("pb,bij->pij", self.slopes[paths], self.forms)
        column = torch.einsum("pbu,bui->pbi", self.bends[paths], self.projected)
        small += torch.einsum("bi,pbj->pij", self.projected[:, self.u], column)
        scale = small.abs().amax(dim=(1, 2)).clamp_min(SMALLEST)
        values, vectors = torch.linalg.eig(small / scale[:, None, None])
        # both of a complex pair have one magnitude: always take the same one
        order = values.abs() * (1 + 1e-12 * (values.imag >= 0))
        rows = torch.arange(len(paths), device="cpu")
        largest = order.argmax(dim=1)
        return values[rows, largest] * scale, vectors[rows, :, largest]

    def residual_sketches(self, paths: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
        """Sketches of M y - λ y, shape (paths, sketch)."""
        images = torch.einsum(
            "pb,bik,pi->pk",
            self.slopes[paths].to(vectors),
            self.image_sketches.to(vectors),
            vectors,
        )
        towards = torch.einsum("bui,pi->pbu", self.projected.to(vectors), vectors)
        pull = (self.bends[paths].to(vectors) * towards).sum(dim=2)
        images += pull @ self.gradient_sketches.to(vectors)
        return images - values[:, None] * (vectors @ self.basis_sketches.to(vectors))

    def residual_vectors(self, paths: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
        """M y - λ y in full: all real parts, then the imaginary parts of complex pairs.

        The encoder multiplies real vectors only, so that a complex y takes two products.
        """
        turning = vectors.imag.abs().amax(dim=1) > 0
        like = self.basis
        real, imaginary = vectors.real.to(like) @ like, vectors.imag[turning].to(like) @ like
        wanted = torch.cat([paths, paths[turning]])
        slopes, bends = self.slopes[wanted].to(like), self.bends[wanted].to(like)
        stacked = torch.cat([real, imaginary])
        found = torch.zeros_like(stacked)
        for b, images in enumerate(self._images(stacked)):
            pull = (bends[:, b] * (stacked @ self.gradients[b].T)).sum(dim=1)
            found += slopes[:, b, None] * images + pull[:, None] * self.gradients[b, self.u]
        growth, rotation = values.real.to(like)[:, None], values.imag.to(like)[turning, None]
        of_real, of_imaginary = found.split([len(paths), len(imaginary)])
        of_real -= growth * real
        of_real[turning] += rotation * imaginary
        of_imaginary -= growth[turning] * imaginary + rotation * real[turning]
        return found


class Sketch:
    """Sums of random groups of numbers with random signs: keeps norms within a few per cent.

    Args:
        size: Length of the vectors; those of at most ``WIDTH`` numbers are kept as they are.
        generator: Draws signs and groups.
        like: A tensor of the device and precision wanted.
    """

    def __init__(self, size: int, generator: torch.Generator, like: Tensor) -> None:
        self.width = min(WIDTH, size)
        self.signs: Tensor | None = None
        if size > self.width:
            groups = torch.randint(self.width, (size,), generator=generator, device="cpu")
            signs = 2 * torch.randint(2, (size,), generator=generator, device="cpu") - 1
            self.groups, self.signs = groups.to(like.device), signs.to(like)

    def __call__(self, rows: Tensor) -> Tensor:
        """Sketch vectors of shape (n, size), giving (n, width) in float64 on the CPU."""
        if self.signs is not None:
            rows = rows.new_zeros(len(rows), self.width).index_add_(
                1, self.groups, rows * self.signs
            )
        return rows.cpu().double()


def pivots(rows: Tensor, least: float, most: int) -> Tensor:
    """Indices of rows that span the others best, by Gram-Schmidt with pivoting.

    Args:
        rows: Vectors, shape (n, width).
        least: Stop once what is left of every row is at most this long.
        most: How many rows to choose at most.
    """
    chosen: list[int] = []
    rest = rows.clone()
    while len(chosen) < most:
        sizes = torch.linalg.vector_norm(rest, dim=1)
        longest = int(sizes.argmax())
        if sizes[longest] <= least:
            break
        chosen.append(longest)
        direction = rest[longest] / sizes[longest]
        rest = rest - (rest @ direction.conj())[:, None] * direction
    return torch.tensor(chosen, dtype=torch.long, device="cpu")
