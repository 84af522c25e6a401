"""Proxies of the curvature: one product with the Hessian, and gradients."""

import pytest
import torch

from multipath.importance import theta_importance
from multipath.importance._curvature import one_product
from multipath.importance._derivatives import EncoderDerivatives, theta_derivatives
from multipath.importance._problem import Batch, named_weights
from multipath.importance._problem import Problem as Within
from tests.reference import theta_importance_twin as twin

from .cases import problem


def norms(made, weights, u, p):
    return [
        torch.linalg.matrix_norm(twin.matrix(*made.arguments[:3], weights, batch, u, p)).square()
        for batch in made.batches
    ]


@pytest.mark.slow
def test_one_product_estimates_the_frobenius_norm():
    made = problem("quadratic", "shared", 2, (2,))
    weights = list(made.encoder.parameters())
    batch = Batch(made.batches[0][0], made.batches[0][1], made.batches[0][2:])
    within = Within(made.loss, made.encoder, made.decoder, named_weights(made.encoder, None))
    encoder, derivatives = (
        EncoderDerivatives(within, batch),
        theta_derivatives(within, batch, range(3), "forward"),
    )
    found = encoder.gradients()
    generator = torch.Generator().manual_seed(0)
    squares = torch.stack(
        [
            one_product(encoder, found, derivatives, 1, weight=0.5, generator=generator).square()
            for _ in range(300)
        ]
    )
    expected = torch.stack([norms(made, weights, 1, p)[0] for p in range(3)])
    error = squares.std(dim=0) / len(squares) ** 0.5
    assert ((squares.mean(dim=0) - expected).abs() < 4 * error).all()
    assert (error < 0.2 * expected).all()


def gradients(made, batch):
    inputs, target, *context = batch
    theta = made.encoder(inputs).detach().requires_grad_()
    rows = []
    for p in range(len(made.loss.paths)):
        value = made.loss.path_losses(made.decoder(theta, *context), target, [p]).mean()
        rows.append(torch.autograd.grad(value, theta)[0].square().sum(dim=0).sqrt())
    return torch.stack(rows, dim=1)


def test_gradient_proxies():
    made = problem("quadratic", "mlp", 2, (2, 3, 1))
    first, second, third = (gradients(made, batch) for batch in made.batches)
    plain = theta_importance(*made.arguments, method="gradient")
    torch.testing.assert_close(plain.curvature, (first + second + third) / 3)
    average = theta_importance(*made.arguments, method="gradient_ema")
    weighted = 0.1 * (0.81 * first + 0.9 * second + third)
    torch.testing.assert_close(average.curvature, weighted / (1 - 0.9**3))
    assert plain.residuals is None
