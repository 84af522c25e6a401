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
subspace, until all are small. A Krylov method would need products of its own for each path; here a
hundred products or so serve all paths.

The subspace starts with the gradients, and residuals never leave the space that the matrices span
from there: a part of the encoder whose gradient vanishes, or nearly so, would stay unseen, whatever
its curvature. So when all residuals are small, a search from random directions follows, and the
paths are tested once more.

M is not symmetric when U > 1, so its eigenvalues may be complex, and pairs of them then share the
largest magnitude, which is what is reported. The residual then says that the value is an eigenvalue
of a matrix which differs from M by that much; where M is far from normal, the eigenvalues of M
itself may differ by more.

Residuals are measured on a sketch of a few hundred numbers in place of W (Nakatsukasa and Tropp,
SIAM J. Matrix Anal. Appl. 45(2), 2024), which preserves norms within a few per cent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from multipath._internal.bookkeeping import widened

from ._derivatives import EncoderDerivatives, ThetaDerivatives
from ._subspace import SMALLEST, Subspace, pivots

logger = logging.getLogger(__name__)

BLOCK = 8
"""Most directions that one round adds to the subspace."""

DECAY = 0.9
"""Decay of the moving average of gradient norms."""


class Eigenvalues(NamedTuple):
    """The dominant eigenvalues of the matrices of one parameter.

    Attributes:
        magnitudes: Largest |eigenvalue| of each path, shape (P,).
        residuals: Relative residual of each, ``|M y - λ y| / |λ|`` with a unit vector y.
        products: How many Hessian-vector products with the whole batch were taken.
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
        gradients: Gradients of the encoder, shape (batch, U, W).
        derivatives: The derivatives s and H of the losses.
        u: Index of the parameter.
        weight: What the reduction over the batch multiplies each item by.
        tolerance: Relative residual at which an eigenvalue is good enough.
        max_products: Largest dimension of the subspace.
        generator: Draws the sketch and the directions that the search starts from.
        report: Called after each round with the number of paths that are done.
    """
    subspace = Subspace(encoder, gradients, derivatives, u, weight, generator)
    subspace.extend(gradients[:max_products, u])
    n_paths = len(subspace.scale)
    values = torch.zeros(n_paths, dtype=torch.float64, device="cpu")
    residuals = torch.zeros(n_paths, dtype=torch.float64, device="cpu")
    # a path whose derivatives are all zero has the eigenvalue zero
    alive = subspace.alive.nonzero().flatten()
    for searched in (False, True):
        open_ = alive
        while len(open_) and subspace.dimension:
            found, vectors = subspace.eigenpairs(open_)
            sketches = subspace.residual_sketches(open_, found, vectors)
            lengths = torch.linalg.vector_norm(sketches, dim=1)
            sizes = torch.maximum(found.abs(), 1e-16 * lengths).clamp_min(SMALLEST)
            relative = lengths / sizes
            values[open_], residuals[open_] = found.abs(), relative
            left = relative > tolerance
            report(n_paths - int(left.sum()))
            if not left.any() or subspace.dimension >= max_products:
                break
            open_, found, vectors = open_[left], found[left], vectors[left]
            worst = pivots(sketches[left] / sizes[left, None], tolerance, BLOCK)
            room = max_products - subspace.dimension
            before = subspace.dimension
            subspace.extend(
                subspace.residual_vectors(open_[worst], found[worst], vectors[worst])[:room]
            )
            if subspace.dimension == before:  # the subspace is invariant: nothing is missing
                break
        if not searched:
            subspace.search(max_products)
    report(n_paths)
    short = int((residuals > tolerance).sum())
    if short:
        logger.warning(
            "theta[:, %d]: the eigenvalues of %d of %d paths have residuals above %g, at most "
            "%.2g, with a subspace of %d dimensions; raise max_products or the tolerance",
            *(u, short, n_paths, tolerance, float(residuals.max()), subspace.dimension),
        )
    return Eigenvalues(values * subspace.scale, residuals, subspace.products)


def gradient_norms(derivatives: ThetaDerivatives, weight: float) -> Tensor:
    """Norm of each path's gradient along each parameter of a batch, shape (U, P)."""
    norms: Tensor = torch.linalg.vector_norm(derivatives.first.double() * weight, dim=1)
    return norms.T.contiguous()


def gradient_average(norms: Sequence[Tensor]) -> Tensor:
    """Exponential moving average over batches, corrected for its start at zero."""
    average = torch.zeros_like(norms[0])
    for values in norms:
        average = DECAY * average + (1 - DECAY) * values
    return average / (1 - DECAY ** len(norms))


def one_product(
    encoder: EncoderDerivatives,
    gradients: Tensor,
    derivatives: ThetaDerivatives,
    u: int,
    *,
    weight: float,
    generator: torch.Generator,
) -> Tensor:
    """Norm of the matrix of each path times one vector of random signs, shape (P,).

    Its square is an unbiased estimate of the squared Frobenius norm (Hutchinson, 1990). All paths
    need the same products, one for each item: their norms follow from inner products of those.
    """
    signs = 2 * torch.randint(2, (gradients.shape[2],), generator=generator, device="cpu") - 1
    vector = signs.to(gradients)
    images = torch.cat(list(encoder.products(u, [vector])))
    rows = widened(torch.cat([images, gradients[:, u]]))
    inner = (rows @ rows.T).cpu()
    towards = (gradients @ vector).cpu().double()  # (batch, U)
    pull = (derivatives.second[..., u, :].double() * towards).sum(dim=2)
    parts = weight * torch.cat([derivatives.first[..., u].double(), pull], dim=1)
    return torch.einsum("pi,ij,pj->p", parts, inner, parts).clamp_min(0).sqrt()
