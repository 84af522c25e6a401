"""Eigenvalues that plain power iteration does not find."""

import logging

import pytest
import torch
from torch import nn

from multipath import PathDecomposedLoss
from multipath.importance import theta_importance
from multipath.testing import QuadraticLoss
from tests.reference import theta_importance_twin as twin

from .cases import DTYPE, problem


class Turning(PathDecomposedLoss):
    """With theta_1 = 1: M of theta_0 is A + g_0 g_1^T, for any A and g."""

    def path_losses(self, input, target, indices):
        a, b = input.unbind(dim=1)
        return torch.stack([a * b + b.square() / 2, input.square().sum(dim=1)])[list(indices)]


class Bilinear(nn.Module):
    """theta_0 = w^T A w / 2 + g_0 w, theta_1 = 1 + g_1 w, at w = 0."""

    def __init__(self, form, gradients):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(len(form), dtype=DTYPE))
        self.form, self.slopes = form, gradients

    def forward(self, x):
        first = (self.w @ self.form @ self.w) / 2 + self.slopes[0] @ self.w
        second = self.slopes[1] @ self.w + 1
        return torch.stack([first, second]).expand(len(x), 2)


X = torch.ones(1, 2, dtype=DTYPE)


def bilinear_case(form, gradients):
    encoder = Bilinear(torch.tensor(form, dtype=DTYPE), torch.tensor(gradients, dtype=DTYPE))
    return Turning(2), encoder, lambda theta: theta, [X], list(encoder.parameters())


def test_a_complex_pair_counts_by_its_magnitude():
    # [[0, 3], [-1, 0]]
    form = [[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.1]]
    *arguments, weights = bilinear_case(form, [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    (inputs,) = arguments[-1]
    dense = twin.matrix(*arguments[:3], weights, (inputs, inputs), 0, 0)
    values = torch.linalg.eigvals(dense)
    largest = values[values.abs().argmax()]
    assert abs(largest.imag) > 1  # the case is what it says
    curvature = theta_importance(*arguments).curvature
    torch.testing.assert_close(curvature[0, 0], largest.abs(), rtol=1e-8, atol=0)


def test_opposite_eigenvalues_of_one_size():
    form = [[0.0, 3.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.5]]  # 3, -3, 0.5
    *arguments, _ = bilinear_case(form, [[1e-9, 0.0, 1e-9], [0.0, 0.0, 1e-9]])
    torch.testing.assert_close(
        theta_importance(*arguments).curvature[0, 0],
        torch.tensor(3.0, dtype=DTYPE), rtol=1e-7, atol=0,
    )  # fmt: skip


def test_a_matrix_far_from_normal():
    # upper triangular but for A: eigenvalues 1, 2 and 0 behind a corner of 100
    form = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    *arguments, _ = bilinear_case(form, [[100.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    result = theta_importance(*arguments)
    torch.testing.assert_close(
        result.curvature[0, 0], torch.tensor(2.0, dtype=DTYPE), rtol=1e-7, atol=0
    )


def test_a_nilpotent_matrix_has_no_curvature():
    form = [[0.0] * 3] * 3
    *arguments, _ = bilinear_case(form, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    curvature = theta_importance(*arguments).curvature
    expected = torch.tensor([0.0, 2.0], dtype=DTYPE)
    torch.testing.assert_close(curvature[0], expected, rtol=1e-7, atol=1e-12)


class Hidden(nn.Module):
    """A part whose gradient vanishes at its weights, with far more curvature than the rest."""

    def __init__(self, size, strength):
        super().__init__()
        self.seen = nn.Parameter(torch.full((8,), 0.1, dtype=DTYPE))
        self.hidden = nn.Parameter(torch.zeros(size, dtype=DTYPE))
        self.direction = (
            torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=DTYPE) / size**0.5
        )
        self.strength = strength

    def forward(self, x):
        bend = self.strength * (self.hidden @ self.direction).square() / 2
        return (x[:, :8] @ self.seen + bend)[:, None]


@pytest.mark.parametrize("tolerance", [0.02, 1e-8])
def test_curvature_that_no_gradient_leads_to_is_found(tolerance):
    encoder = Hidden(3000, strength=200.0)
    x = torch.randn(2, 8, generator=torch.Generator().manual_seed(1), dtype=DTYPE)
    target = torch.full((2, 1), 2.0, dtype=DTYPE)
    loss = QuadraticLoss(3)
    result = theta_importance(
        loss, encoder, lambda theta: theta, [(x, target)], tolerance=tolerance
    )
    slopes = [
        2 * (p + 1) * (encoder(x) - target - p / 3).mean().abs() * 200.0 for p in range(3)
    ]  # of every item, times the form's eigenvalue; the direction has about unit length
    expected = torch.stack(slopes) * encoder.direction.square().sum()
    torch.testing.assert_close(
        result.curvature[0], expected.detach(), rtol=max(1e-7, tolerance), atol=0
    )


def test_a_subspace_that_does_not_suffice_is_logged(caplog):
    made = problem("spectral", "convolutions", 2, (2,))
    with caplog.at_level(logging.WARNING, "multipath"):
        result = theta_importance(*made.arguments, max_products=3)
    assert "residuals above 1e-08" in caplog.text
    assert "raise max_products" in caplog.text
    assert result.residuals.max() > 1e-8
    assert f"largest residual {float(result.residuals.max()):.2g}" in str(result)
