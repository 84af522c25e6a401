r"""The dominant eigenvalues of the curvature matrices of all paths, in one shared subspace.

With :math:`g_{b,u} = \nabla_w E_{b,u}` and :math:`A_{b,u} = \nabla^2_w E_{b,u}` for item b of a
batch, the matrix of parameter u and path p is, by the chain rule,

.. math:: M_{u,p} = \frac{d}{dw}\Big(\sum_b s_{b,u,p}\, g_{b,u}\Big)
    = \sum_b \Big( s_{b,u,p} A_{b,u} + g_{b,u} \sum_{u'} H_{b,u,u',p}\, g_{b,u'}^T \Big).

Neither A nor g depends on the path, and s and H are a few numbers for each item: the matrices of
all paths are combinations of the same few. So one subspace, with orthonormal basis V, serves all
of them: :math:`V^T A_{b,u} V` and :math:`V^T g_{b,u}` are computed once, and
:math:`V^T M_{u,p} V` follows for every path by small sums. Its eigenvalue of largest magnitude
(Rayleigh-Ritz) is tested by its residual; the residuals of the paths where it is largest extend the
subspace, until all are small. Where a Krylov method for each path would take its products apart,
here a hundred products or so serve all paths.

M is not symmetric when U > 1, so its eigenvalues may be complex, and pairs of them then share the
largest magnitude, which is what is reported. Residuals are measured on a sketch of a few hundred
numbers in place of W (Nakatsukasa and Tropp, SIAM J. Matrix Anal. Appl. 45(2), 2024): norms come
out right within a few per cent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ._encoder_derivatives import EncoderDerivatives
from ._theta_derivatives import ThetaDerivatives

BLOCK = 8
"""Directions that a round adds at most."""
SKETCH = 512
"""Numbers that a residual is measured on."""
SMALLEST = 1e-300


class Eigenvalues(NamedTuple):
    """What is known of the matrices of one parameter.

    Attributes:
        magnitudes: Largest |eigenvalue| of each path, shape (P,).
        residuals: Of each, relative to it: ``|M y - λ y| / |λ|`` with a unit vector y.
        products: Hessian-vector products that it took, in batches.
    """

    magnitudes: Tensor
    residuals: Tensor
    products: int


def dominant_eigenvalues(
    encoder: EncoderDerivatives,
    gradients: Tensor,
    derivatives: ThetaDerivatives,
    u: int,
    *,
    weight: float,
    tolerance: float,
    max_products: int,
    generator: torch.Generator,
    report: Callable[[int], None] = lambda n_paths: None,
) -> Eigenvalues:
    """Largest magnitudes of the eigenvalues of M for one parameter and all paths.

    Args:
        encoder: Gives Hessian-vector products.
        gradients: Its gradients, shape (batch, U, W).
        derivatives: s and H.
        u: Which parameter.
        weight: What the reduction over the batch multiplies each item with.
        tolerance: Relative residual at which an eigenvalue is good enough.
        max_products: Largest dimension of the subspace.
        generator: Draws the sketch.
        report: Called after each round with the number of paths that are done.
    """
    family = _Family(encoder, gradients, derivatives, u, weight, generator)
    family.extend(gradients[:, u])
    n_paths = len(derivatives.first)
    values = torch.zeros(n_paths, dtype=torch.float64)
    residuals = torch.zeros(n_paths, dtype=torch.float64)
    # a path whose derivatives are all zero has the eigenvalue zero
    open_ = family.alive.nonzero().flatten()
    while len(open_):
        found, vectors = family.eigenpairs(open_)
        sketches = family.residual_sketches(open_, found, vectors)
        sizes = found.abs()
        relative = torch.linalg.vector_norm(sketches, dim=1) / sizes.clamp_min(SMALLEST)
        values[open_], residuals[open_] = sizes, relative
        left = relative > tolerance
        report(n_paths - int(left.sum()))
        if not left.any() or family.dimension >= max_products:
            break
        open_, found, vectors = open_[left], found[left], vectors[left]
        worst = _pivots(sketches[left] / sizes[left, None].clamp_min(SMALLEST), tolerance, BLOCK)
        room = max_products - family.dimension
        before = family.dimension
        family.extend(family.residual_vectors(open_[worst], found[worst], vectors[worst])[:room])
        if family.dimension == before:  # the subspace is invariant: nothing is missing
            break
    report(n_paths)
    return Eigenvalues(values, residuals, family.dimension)


class _Family:
    """The matrices M of one parameter, seen from a growing subspace."""

    def __init__(
        self,
        encoder: EncoderDerivatives,
        gradients: Tensor,
        derivatives: ThetaDerivatives,
        u: int,
        weight: float,
        generator: torch.Generator,
    ) -> None:
        self.encoder, self.gradients, self.u = encoder, gradients, u
        # small matrices are kept in double precision on the processor
        first = derivatives.first[..., u].double() * weight
        second = derivatives.second[..., u, :].double() * weight
        self.alive = first.flatten(1).any(dim=1) | second.flatten(1).any(dim=1)
        self.slopes, self.bends = first, second
        n_items, n_weights = gradients.shape[0], gradients.shape[2]
        width = min(SKETCH, n_weights)
        self.sketch = _Sketch(n_weights, width, generator, gradients)
        self.basis = gradients.new_zeros(0, n_weights)
        self.forms = torch.zeros(n_items, 0, 0, dtype=torch.float64)  # V^T A_b V
        self.projected = torch.zeros(n_items, gradients.shape[1], 0, dtype=torch.float64)  # V^T g
        self.image_sketches = torch.zeros(n_items, 0, width, dtype=torch.float64)
        self.basis_sketches = torch.zeros(0, width, dtype=torch.float64)
        self.gradient_sketches = self.sketch(gradients[:, u])

    @property
    def dimension(self) -> int:
        """Of the subspace."""
        return len(self.basis)

    def extend(self, directions: Tensor) -> None:
        """Add directions to the subspace, and what the matrices do to them."""
        old = self.dimension
        for direction in directions:
            self._orthonormalise(direction)
        new = self.basis[old:]
        if not len(new):
            return
        forms, sketches = [], []
        for images in self.encoder.products(self.u, new):
            forms.append((self.basis @ images.T).double().cpu())
            sketches.append(self.sketch(images))
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
        for b, images in enumerate(self.encoder.products(self.u, stacked)):
            pull = (bends[:, b] * (stacked @ self.gradients[b].T)).sum(dim=1)
            found += slopes[:, b, None] * images + pull[:, None] * self.gradients[b, self.u]
        growth, rotation = values.real.to(like)[:, None], values.imag.to(like)[turning, None]
        of_real, of_imaginary = found.split([len(paths), len(imaginary)])
        of_real -= growth * real
        of_real[turning] += rotation * imaginary
        of_imaginary -= growth[turning] * imaginary + rotation * real[turning]
        return found


class _Sketch:
    """Random signs and sums of random groups of numbers: keeps norms within a few per cent."""

    def __init__(self, size: int, width: int, generator: torch.Generator, like: Tensor) -> None:
        self.width = width
        self.signs: Tensor | None = None
        if size > width:
            self.groups = torch.randint(width, (size,), generator=generator).to(like.device)
            signs = 2 * torch.randint(2, (size,), generator=generator) - 1
            self.signs = signs.to(like)

    def __call__(self, rows: Tensor) -> Tensor:
        """Shape (n, size) to (n, width), in double precision on the CPU."""
        if self.signs is not None:
            rows = rows.new_zeros(len(rows), self.width).index_add_(
                1, self.groups, rows * self.signs
            )
        return rows.double().cpu()


def _pivots(rows: Tensor, least: float, most: int) -> Tensor:
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
    return torch.tensor(chosen)
