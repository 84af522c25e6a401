"""Distances between coefficients: their formulas, compression, batches, and what is refused."""

import math

import pytest
import torch

from multipath import PathTable, TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import MultiResolutionSTFT, Transform
from tests.transforms.cases import N, noise, shared


class Halves(Transform):
    """A user's transform: the two halves of the signal."""

    def coefficients(self, x, indices):
        return [x[..., :4] if i == 0 else x[..., 4:] for i in indices]


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        ("squared_l2", [2 * 4.0, 2 * 36.0]),
        ("l2", [2.0, 6.0]),
        ("l1", [4.0, 12.0]),
        (lambda difference: difference.abs().amax(dim=1), [1.0, 3.0]),
    ],
)
def test_distances(distance, expected):
    loss = TransformLoss(Halves(2), distance=distance)
    x = torch.tensor([1.0] * 4 + [3.0] * 4)
    values = loss.path_losses(torch.stack([x, 0 * x]), torch.zeros(2, 8), [0, 1])
    assert values.tolist() == [[expected[0], 0.0], [expected[1], 0.0]]


def test_mean_over_paths_of_equation_3_is_the_squared_distance_of_the_transforms():
    transform = shared("jtfs")
    x, y = noise(2, N), noise(2, N, seed=1)
    whole = sum((a - b).square().sum() for a, b in zip(transform(x), transform(y), strict=True))
    torch.testing.assert_close(TransformLoss(transform)(x, y, reduction="sum"), whole)


def test_compression_is_applied_to_both_signals():
    loss = TransformLoss(Halves(2), rho="log1p", eps=0.5, distance="l1")
    x, y = torch.full((1, 8), 1.0), torch.full((1, 8), 2.0)
    expected = 4 * (math.log(1 + 2.0 / 0.5) - math.log(1 + 1.0 / 0.5))
    assert loss.path_losses(x, y, [1]).item() == pytest.approx(expected)


def test_loss_takes_any_batch_shape():
    loss = TransformLoss(shared("mrstft"))
    x, y = noise(2, 3, N), noise(2, 3, N, seed=1)
    flat = loss.path_losses(x.reshape(6, N), y.reshape(6, N), [0, 2])
    assert flat.shape == (2, 6)
    torch.testing.assert_close(loss.path_losses(x, y, [0, 2]), flat)
    torch.testing.assert_close(loss.path_losses(x[0, 0], y[0, 0], [0, 2]), flat[:, :1])


def test_batches_that_do_not_match_their_target():
    loss = TransformLoss(shared("jtfs"))
    x = torch.zeros(2, N)
    with pytest.raises(InputError, match=r"same batch size, got shapes \(2, 1024\) and \(3, 10"):
        loss(x, torch.zeros(3, N))
    with pytest.raises(InputError, match=r"same shape, got \(2, 1024\) and \(2, 1, 1024\)"):
        loss(x, torch.zeros(2, 1, N))
    with pytest.raises(InputError, match=r"same dtype, got torch\.float32 and torch\.float64"):
        loss(x, x.double())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distance": "cosine"}, '"squared_l2", "l2", "l1" or a function, got \'cosine\''),
        ({"rho": "sqrt"}, '"identity", "log1p" or a function, got \'sqrt\''),
        ({"rho": "log1p", "eps": 0.0}, "eps of log1p must lie in"),
    ],
)
def test_refused_settings(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        TransformLoss(Halves(2), **arguments)
    with pytest.raises(ConfigurationError, match=r"must be a multipath.transforms.Transform"):
        TransformLoss(torch.nn.Identity())


def test_a_filtered_table_is_not_the_table_of_a_transform():
    table = PathTable(4)
    with pytest.raises(ConfigurationError, match="numbered from 0 without gaps"):
        Halves(table[2:])


class ByScale(torch.nn.Module):
    def forward(self, difference, path):
        return difference.abs().flatten(1).sum(dim=1) * path.metadata["fft_size"]


def by_scale(difference, *, path):
    return ByScale()(difference, path)


@pytest.mark.parametrize("distance", [by_scale, ByScale()])
@pytest.mark.parametrize("sizes", [[16, 32], [32, 16]])
def test_a_distance_may_see_the_path_that_it_serves(distance, sizes):
    transform = MultiResolutionSTFT(sizes)  # of coefficients that differ in shape
    loss = TransformLoss(transform, distance=distance, rho="log1p")
    plain = TransformLoss(transform, distance="l1", rho="log1p")
    x, y = torch.randn(2, 3, 128, dtype=torch.float64)
    for paths in ([0, 1], [1], [1, 0, 1]):
        factors = torch.tensor([sizes[p] for p in paths])[:, None]
        expected = factors * plain.path_losses(x, y, paths)
        torch.testing.assert_close(loss.path_losses(x, y, paths), expected)
    x, y = x[:, :8], y[:, :8]
    halves = TransformLoss(Halves(2), distance=lambda d, path: (1 + path.index) * d.abs().sum(1))
    plain = TransformLoss(Halves(2), distance="l1").path_losses(x, y, [0, 1])
    expected = plain * torch.tensor([[1.0], [2.0]])
    torch.testing.assert_close(halves.path_losses(x, y, [0, 1]), expected)


def test_a_distance_must_keep_the_items_apart():
    loss = TransformLoss(Halves(2), distance=lambda difference: difference.square().mean())
    apart = TransformLoss(Halves(2), distance=lambda difference, path: difference.square().mean())
    with pytest.raises(InputError, match=r"one distance for each of the 2 differences, got shape"):
        apart.path_losses(torch.ones(2, 4), torch.ones(2, 4), [0, 1])
    with pytest.raises(InputError, match=r"one distance for each of the 4 differences, got shape"):
        loss(torch.ones(2, 8), torch.zeros(2, 8))
