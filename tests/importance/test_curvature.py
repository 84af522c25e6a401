"""Proxies of the curvature: one product with the Hessian, and gradients."""

import pytest
import torch

from multipath.importance import theta_importance
from multipath.importance._curvature import one_product
from multipath.importance._derivatives import EncoderDerivatives, theta_derivatives
from multipath.importance._problem import Problem as Within
from multipath.importance._problem import as_batches, named_weights
from tests.reference import theta_importance_twin as twin

from .cases import gradients, problem


@pytest.mark.slow
def test_one_product_estimates_the_frobenius_norm():
    made = problem("quadratic", "shared", 2, (2,))
    weights = list(made.encoder.parameters())
    (batch,) = as_batches(made.batches)
    within = Within(made.loss, made.encoder, made.decoder, named_weights(made.encoder, None))
    encoder = EncoderDerivatives(within, batch)
    derivatives = theta_derivatives(within, batch, range(3), "forward")
    found = encoder.gradients()
    generator = torch.Generator().manual_seed(0)
    squares = torch.stack(
        [
            one_product(encoder, found, derivatives, 1, weight=0.5, generator=generator).square()
            for _ in range(300)
        ]
    )
    dense = [twin.matrix(*made.arguments[:3], weights, made.batches[0], 1, p) for p in range(3)]
    expected = torch.stack([torch.linalg.matrix_norm(matrix).square() for matrix in dense])
    error = squares.std(dim=0) / len(squares) ** 0.5
    assert ((squares.mean(dim=0) - expected).abs() < 4 * error).all()
    assert (error < 0.2 * expected).all()


def test_gradient_proxies():
    made = problem("quadratic", "mlp", 2, (2, 3, 1))
    first, second, third = (gradients(made, batch) for batch in made.batches)
    plain = theta_importance(*made.arguments, method="gradient")
    torch.testing.assert_close(plain.curvature, (first + second + third) / 3)
    average = theta_importance(*made.arguments, method="gradient_ema")
    weighted = 0.1 * (0.81 * first + 0.9 * second + third)
    torch.testing.assert_close(average.curvature, weighted / (1 - 0.9**3))
    assert plain.residuals is None
