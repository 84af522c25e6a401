"""Losses of signals of any size are those of float64, rounded; what is too large is infinite."""

from itertools import product

import pytest
import torch

from multipath import TransformLoss
from tests.transforms.cases import SMALL, small_signal

pytestmark = pytest.mark.slow

GAINS = (1e-30, 1e-15, 1e15, 1e30)
SETTINGS = list(product(("l1", "l2", "squared_l2"), (None, "log1p"), (None, "target")))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("gain", GAINS)
def test_losses_of_signals_of_any_size(name, gain):
    transform = SMALL[name]()
    x, y = (gain * small_signal(name, seed, dtype=torch.float32) for seed in (0, 1))
    for distance, rho, normalize in SETTINGS:
        loss = TransformLoss(transform, distance=distance, rho=rho, normalize=normalize)
        paths = range(0, len(loss.paths), 1 + len(loss.paths) // 8)
        found = loss.evaluate(x, y, paths)
        expected = loss.evaluate(x.double(), y.double(), paths).float()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-36)
        norms = loss.target_norms(y, paths)
        expected = loss.target_norms(y.double(), paths).float()
        torch.testing.assert_close(norms, expected, rtol=1e-3, atol=1e-36)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_gradients_of_signals_of_any_size(name, gain, distance):
    transform = SMALL[name]()
    loss = TransformLoss(transform, distance=distance)
    x, y = (gain * small_signal(name, seed, dtype=torch.float32) for seed in (0, 1))
    found, expected = (
        torch.autograd.grad(loss(leaf, y.to(leaf.dtype)), leaf)[0]
        for leaf in (x.clone().requires_grad_(), x.double().requires_grad_())
    )
    error = torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected)
    assert error < 1e-3
