"""The curvature matrices of one parameter and all paths, seen from one growing subspace."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ._derivatives import EncoderDerivatives, ThetaDerivatives

SMALLEST = 1e-300
SEARCH_ROUNDS = 8
"""How often a search multiplies its random directions."""


WIDTH = 512
"""Numbers that a vector is reduced to."""


class Family:
    """The matrices M of one parameter, see :mod:`multipath.importance._curvature`.

    Args:
        encoder: Gives Hessian-vector products.
        gradients: Its gradients, shape (batch, U, W).
        derivatives: s and H.
        u: Which parameter.
        weight: What the reduction over the batch multiplies each item with.
        generator: Draws the sketch and where a search starts.
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
        # small matrices are kept in double precision on the processor
        first = derivatives.first[..., u].double() * weight
        second = derivatives.second[..., u, :].double() * weight
        # losses may be so small that single precision would lose their products with vectors
        sizes = torch.maximum(first.abs().amax(dim=1), second.abs().amax(dim=(1, 2)))
        self.scale = torch.where(sizes > 0, sizes, 1.0)
        self.alive = sizes > 0
        self.slopes, self.bends = first / self.scale[:, None], second / self.scale[:, None, None]
        n_items, n_parameters, n_weights = gradients.shape
        self.sketch = Sketch(n_weights, generator, gradients)
        self.basis = gradients.new_zeros(0, n_weights)
        self.forms = torch.zeros(n_items, 0, 0, dtype=torch.float64)  # V^T A_b V
        self.projected = torch.zeros(n_items, n_parameters, 0, dtype=torch.float64)  # V^T g
        self.image_sketches = torch.zeros(n_items, 0, self.sketch.width, dtype=torch.float64)
        self.basis_sketches = torch.zeros(0, self.sketch.width, dtype=torch.float64)
        self.gradient_sketches = self.sketch(gradients[:, u])
        self.products = 0

    @property
    def dimension(self) -> int:
        """Of the subspace."""
        return len(self.basis)

    def extend(self, directions: Tensor, mix: Tensor | None = None) -> Tensor:
        """Add directions to the subspace, and what the matrices do to them.

        Args:
            directions: Shape (n, W).
            mix: Shape (n, batch); asks for what a mixture of the A_b makes of each new direction.

        Returns:
            That, shape (up to n, W); zeros without a mix.
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
            forms.append((self.basis @ images.T).double().cpu())
            sketches.append(self.sketch(images))
            if mix is not None:
                mixed += mix[: len(new), b, None].to(images) * images
        # symmetric: what old directions see of new images is what new ones see of old images
        columns = torch.stack(forms)  # (items, dimension, new)
        grown = torch.zeros(len(columns), self.dimension, self.dimension, dtype=torch.float64)
        grown[:, :old, :old] = self.forms
        grown[:, :, old:] = columns
        grown[:, old:, :old] = columns[:, :old].mT
        inner = grown[:, old:, old:]
        grown[:, old:, old:] = (inner + inner.mT) / 2
        self.forms = grown
        seen = (self.gradients @ new.T).double().cpu()
        self.projected = torch.cat([self.projected, seen], dim=2)
        self.image_sketches = torch.cat([self.image_sketches, torch.stack(sketches)], dim=1)
        self.basis_sketches = torch.cat([self.basis_sketches, self.sketch(new)])
        return mixed

    def search(self, most: int) -> None:
        """Extend the subspace from random directions, which anything dominant shows up in.

        One is multiplied with the mixture of the A_b that the slopes of the paths have most in
        common, the other with one in which no item cancels another. As the subspace is left out, a
        few steps lead to what is large outside of it.
        """
        lengths = torch.linalg.vector_norm(self.slopes, dim=1, keepdim=True).clamp_min(SMALLEST)
        shares = self.slopes / lengths
        signs = 2 * torch.randint(2, (shares.shape[1],), generator=self.generator) - 1
        common = torch.linalg.svd(shares, full_matrices=False).Vh[0]
        mix = torch.stack([common, signs * shares.square().mean(dim=0).sqrt()])
        size = (2, self.basis.shape[1])
        directions = torch.randn(size, generator=self.generator).to(self.basis)
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
        for _ in range(2):  # once more removes what rounding has left
            rest = rest - (self.basis @ rest) @ self.basis
        size = torch.linalg.vector_norm(rest)
        if size > 100 * torch.finfo(rest.dtype).eps:
            rest = rest / size
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
        # of a complex pair, always the same one
        order = values.abs() * (1 + 1e-12 * (values.imag >= 0))
        rows = torch.arange(len(paths))
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
        """M y - λ y in full, real parts and then imaginary parts where there are any."""
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
    """Random signs and sums of random groups of numbers: keeps norms within a few per cent.

    Args:
        size: Of the vectors; up to ``WIDTH`` they are kept as they are.
        generator: Draws signs and groups.
        like: Says on which device and in which precision.
    """

    def __init__(self, size: int, generator: torch.Generator, like: Tensor) -> None:
        self.width = min(WIDTH, size)
        self.signs: Tensor | None = None
        if size > self.width:
            self.groups = torch.randint(self.width, (size,), generator=generator).to(like.device)
            self.signs = (2 * torch.randint(2, (size,), generator=generator) - 1).to(like)

    def __call__(self, rows: Tensor) -> Tensor:
        """Shape (n, size) to (n, width), in double precision on the CPU."""
        if self.signs is not None:
            rows = rows.new_zeros(len(rows), self.width).index_add_(
                1, self.groups, rows * self.signs
            )
        return rows.double().cpu()


def pivots(rows: Tensor, least: float, most: int) -> Tensor:
    """Rows that span the others best: the longest, then what is longest of the rest of each."""
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
    return torch.tensor(chosen, dtype=torch.long)
