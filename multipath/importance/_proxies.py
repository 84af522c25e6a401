"""Cheaper stand-ins for the curvature."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._derivatives import ThetaDerivatives
from ._encoder_derivatives import EncoderDerivatives

DECAY = 0.9
"""Of the moving average."""


def gradient_norms(derivatives: ThetaDerivatives, weight: float) -> Tensor:
    """Norm of each path's gradient along each parameter of a batch, shape (U, P)."""
    norms: Tensor = torch.linalg.vector_norm(derivatives.first.double() * weight, dim=1)
    return norms.T.contiguous()


def gradient_average(norms: Sequence[Tensor]) -> Tensor:
    """Exponential moving average, corrected for its start at zero."""
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
    signs = 2 * torch.randint(2, (gradients.shape[2],), generator=generator) - 1
    vector = signs.to(gradients)
    images = torch.cat(list(encoder.products(u, [vector])))
    rows = torch.cat([images, gradients[:, u]]).double()
    inner = (rows @ rows.T).cpu()
    towards = (gradients @ vector).double().cpu()  # (batch, U)
    pull = (derivatives.second[..., u, :].double() * towards).sum(dim=2)
    parts = weight * torch.cat([derivatives.first[..., u].double(), pull], dim=1)
    return torch.einsum("pi,ij,pj->p", parts, inner, parts).clamp_min(0).sqrt()
