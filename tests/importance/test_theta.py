"""Theta-importance against its definition: dense matrices, ARPACK, and laws of scale and order."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, eigs
from torch import nn

from multipath import PathDecomposedLoss, TermLoss
from multipath.errors import ConfigurationError
from multipath.importance import theta_importance
from multipath.testing import QuadraticLoss
from tests.reference import theta_importance_twin as twin

from .cases import DTYPE, chirp, mlp, problem, seeded

CASES = [
    ("quadratic", "mlp", 1, (1,)),
    ("quadratic", "linear", 2, (3,)),
    ("quadratic, sum", "shared", 3, (2, 1)),
    ("quadratic", "convolutions", 2, (2,)),
    ("spectral", "convolutions", 3, (2,)),
    ("spectral", "shared", 1, (3,)),
    ("spectral, l2, log", "convolutions", 2, (1, 2)),
    ("jtfs", "shared", 2, (2,)),
    ("grouped", "shared", 2, (2,)),
    ("opaque", "shared", 2, (2,)),
]


def few(made):
    """Without the first layer of the perceptron, which makes dense matrices slow."""
    names = dict(made.encoder.named_parameters())
    return {n: w for n, w in names.items() if w.numel() < 100}


@pytest.mark.parametrize(("loss", "encoder", "n_parameters", "sizes"), CASES)
@pytest.mark.slow
def test_dense_eigenvalues(loss, encoder, n_parameters, sizes):
    made = problem(loss, encoder, n_parameters, sizes)
    weights = few(made)
    result = theta_importance(*made.arguments, params=weights)
    expected = twin.curvature(*made.arguments, list(weights.values()))
    torch.testing.assert_close(result.curvature, expected, rtol=1e-6, atol=1e-9 * expected.max())
    assert result.residuals.max() < 1e-8
    assert result.settings["derivatives"] == ("reverse" if loss == "opaque" else "forward")


@pytest.mark.slow
def test_all_weights_of_an_encoder_are_the_default():
    made = problem("quadratic", "shared")
    weights = list(made.encoder.parameters())
    expected = twin.curvature(*made.arguments, weights)
    for params in (None, weights, list(made.encoder.named_parameters()), [*weights, *weights]):
        found = theta_importance(*made.arguments, params=params).curvature
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.slow
def test_functions_with_params_are_encoders():
    made = problem("quadratic", "shared")
    weights = dict(made.encoder.named_parameters())
    function = made.with_(encoder=lambda x: made.encoder(x))
    found = theta_importance(*function.arguments, params=weights)
    assert torch.equal(found.curvature, theta_importance(*made.arguments).curvature)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.slow
def test_channels_are_reduced_as_items_are(reduction):
    class Stereo(QuadraticLoss):
        def path_losses(self, input, target, indices):
            return super().path_losses(input.flatten(0, 1), target.flatten(0, 1), indices)

    made = problem("quadratic", "shared")
    x, y, shift = made.batches[0]
    stereo = made.with_(
        loss=Stereo(3, reduction=reduction),
        decoder=lambda theta, shift: torch.stack([chirp(theta, shift), -chirp(theta)], dim=1),
        batches=[(x, torch.stack([y, y.flip(1)], dim=1), shift)],
    )
    expected = twin.curvature(*stereo.arguments, list(made.encoder.parameters()))
    found = theta_importance(*stereo.arguments).curvature
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.slow
def test_reverse_and_forward_agree():
    made = problem("spectral", "shared", 3, (3,))
    forward, reverse = (
        theta_importance(*made.arguments, derivatives=mode, items_at_once=2).curvature
        for mode in ("forward", "reverse")
    )
    torch.testing.assert_close(forward, reverse, rtol=1e-9, atol=0)


@pytest.mark.parametrize("joint", [torch.mean, torch.sum], ids=lambda f: f.__name__)
@pytest.mark.parametrize("derivatives", ["auto", "reverse"])
@pytest.mark.parametrize("items_at_once", [1, 2, 8])
def test_a_term_that_is_one_number_for_the_batch(joint, derivatives, items_at_once):
    made = problem("quadratic", "shared", 2, (3, 2))
    loss = TermLoss(
        {"each": lambda u, v: (u - v).square().mean(1), "all": lambda u, v: joint(u.square())}
    )
    found = theta_importance(
        loss, *made.arguments[1:], method="gradient", derivatives=derivatives,
        items_at_once=items_at_once,
    )  # fmt: skip
    expected = []
    for x, y, *context in made.batches:
        theta = made.encoder(x).detach().requires_grad_()
        sound = made.decoder(theta, *context)
        gradients = [
            torch.autograd.grad(loss.path_losses(sound, y, [p]).mean(), theta, retain_graph=True)
            for p in (0, 1)
        ]
        expected.append(torch.stack([gradient.norm(dim=0) for (gradient,) in gradients], dim=1))
    expected = torch.stack(expected).mean(dim=0)
    torch.testing.assert_close(found.curvature, expected, rtol=1e-7, atol=0)
    with pytest.raises(ConfigurationError, match="must treat the items of a batch one by one"):
        theta_importance(loss, *made.arguments[1:], derivatives="forward")


@pytest.mark.parametrize("u", [0, 1])
@pytest.mark.slow
def test_arpack_on_a_larger_encoder(u):
    made = problem("spectral", "mlp", 2, (3,))
    encoder = seeded(
        lambda: nn.Sequential(
            nn.Linear(64, 60), nn.Tanh(), nn.Linear(60, 30), nn.Tanh(), nn.Linear(30, 2),
            nn.Sigmoid(),
        ).to(DTYPE)
    )  # fmt: skip
    made = made.with_(encoder=encoder)
    weights = list(encoder.parameters())
    size = sum(w.numel() for w in weights)
    assert size > 5000
    result = theta_importance(*made.arguments, tolerance=1e-6)
    for p in (0, 2):
        vector = twin.weighted_gradient(*made.arguments[:3], weights, made.batches[0], u, p)
        product = twin.products(vector, weights)  # of the transpose, whose eigenvalues are the same
        operator = LinearOperator(
            (size, size), lambda v, f=product: f(torch.from_numpy(v.ravel())).numpy(), dtype=float
        )
        start = np.random.default_rng(0).standard_normal(size)
        values = eigs(operator, k=1, v0=start, tol=1e-6, return_eigenvectors=False)
        assert float(result.curvature[u, p]) == pytest.approx(np.abs(values).max(), rel=1e-5)


@pytest.mark.slow
def test_single_precision_is_good_to_its_tolerance():
    made = problem("spectral", "convolutions", 2, (3,))
    exact = theta_importance(*made.arguments).curvature
    single = made.with_(
        encoder=made.encoder.float(),
        batches=[tuple(t.float() if t.is_floating_point() else t for t in made.batches[0])],
    )
    found = theta_importance(*single.arguments)
    assert found.settings["tolerance"] == 0.02
    torch.testing.assert_close(found.curvature, exact, rtol=0.02, atol=0)


class Scaled(PathDecomposedLoss):
    def __init__(self, loss, factor, order):
        super().__init__(len(order))
        self.loss, self.factor, self.order = loss, factor, order

    def path_losses(self, input, target, indices):
        return self.factor * self.loss.path_losses(input, target, [self.order[i] for i in indices])


@cache
def plain_result():
    made = problem("quadratic", "shared", 2, (3,))
    return made, theta_importance(*made.arguments).curvature


@settings(max_examples=5)
@given(st.floats(1e-12, 1e12), st.permutations(range(3)), st.permutations(range(3)))
@pytest.mark.slow
def test_scale_and_order(factor, paths, items):
    made, plain = plain_result()
    changed = made.with_(
        loss=Scaled(made.loss, factor, paths),
        batches=[tuple(t[list(items)] for t in made.batches[0])],
    )
    found = theta_importance(*changed.arguments).curvature
    torch.testing.assert_close(found, factor * plain[:, list(paths)], rtol=1e-6, atol=0)


@pytest.mark.slow
def test_twice_the_same_items_have_the_same_mean():
    made = problem("spectral", "shared", 2, (2,))
    twice = made.with_(batches=[tuple(torch.cat([t, t]) for t in made.batches[0])])
    torch.testing.assert_close(
        theta_importance(*twice.arguments).curvature,
        theta_importance(*made.arguments).curvature, rtol=1e-6, atol=0,
    )  # fmt: skip


@pytest.mark.slow
def test_the_order_of_the_weights_does_not_matter():
    made = problem("spectral", "convolutions", 2, (2,))
    named = dict(made.encoder.named_parameters())
    backwards = dict(reversed(named.items()))
    torch.testing.assert_close(
        theta_importance(*made.arguments, params=backwards).curvature,
        theta_importance(*made.arguments).curvature, rtol=1e-6, atol=0,
    )  # fmt: skip


@pytest.mark.slow
def test_results_do_not_depend_on_how_many_items_are_differentiated_at_once():
    made = problem("spectral", "mlp", 2, (5,))
    one, two = (
        theta_importance(*made.arguments, items_at_once=n, method="gradient").curvature
        for n in (1, 5)
    )
    torch.testing.assert_close(one, two, rtol=1e-10, atol=0)


def test_a_perfect_match_still_has_curvature():
    encoder = mlp(1, inputs=4)
    x = torch.ones(2, 4, dtype=DTYPE)
    target = encoder(x).detach()
    result = theta_importance(QuadraticLoss(1), encoder, lambda theta: theta, [(x, target)])
    (gradient,) = torch.autograd.grad(encoder(x[:1]).sum(), [encoder[2].bias])
    assert result.curvature[0, 0] > 2 * gradient.square().sum() * 0.99
