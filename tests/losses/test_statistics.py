"""Given coefficients and means: their formula, what is averaged, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import (
    BalancedLoss,
    PathDecomposedLoss,
    StatisticsLoss,
    StochasticLoss,
    TransformLoss,
)
from multipath.errors import ConfigurationError, InputError
from multipath.jets import JetOrder
from multipath.samplers import AdaptiveImportance, Energy
from multipath.transforms import MultiResolutionSTFT, Transform
from tests.transforms.cases import SMALL, small_signal


class Plane(Transform):
    """Coefficients of shape (3, 4) and of shape (4,), which may be negative."""

    def coefficients(self, x, indices):
        return [x[..., :12].unflatten(-1, (3, 4)) if i == 0 else x[..., 12:] for i in indices]


@pytest.mark.parametrize("distance", ["squared_l2", "l2", "l1"])
@pytest.mark.parametrize("rho", [None, "log1p"])
@pytest.mark.parametrize("name", SMALL)
def test_with_all_coefficients_of_a_target_it_is_the_loss_of_the_transform(name, rho, distance):
    x, y = small_signal(name, 1, items=2), small_signal(name, 2, items=1)
    usual = TransformLoss(SMALL[name](), rho=rho, distance=distance, eps=0.1)
    compressed = [c if rho is None else usual.rho(c) for c in usual.transform(y)]
    loss = StatisticsLoss(usual.transform, compressed, rho=rho, distance=distance, eps=0.1)
    paths = [len(loss.paths) - 1, 0]
    expected = usual.path_losses(x, y.expand_as(x), paths)
    torch.testing.assert_close(loss.path_losses(x, None, paths), expected)
    torch.testing.assert_close(loss(x), usual(x, y.expand_as(x)))
    once = StatisticsLoss(usual.transform, [c[0] for c in compressed], rho=rho, eps=0.1)
    assert once.statistics_of(x, [0])[0].shape == (2, *compressed[0].shape[1:])


@settings(max_examples=30)
@given(
    sizes=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    rho_of=st.sampled_from(["coefficients", "means"]),
    wide=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_formula(sizes, rho_of, wide, seed):
    """Means over each dimension of size 1, compressed before or after, divided by the scale."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 16, generator=generator, dtype=torch.float64)
    shapes = [tuple(1 if one else n for one, n in zip(sizes, (3, 4), strict=False)), ()]
    if not sizes[2]:
        shapes[1] = (4,)
    wanted, scales = (
        [torch.rand(s, generator=generator, dtype=torch.float64) + 0.1 for s in shapes]
        for _ in range(2)
    )
    scale = [float(s.flatten()[0]) for s in scales] if wide else scales
    loss = StatisticsLoss(
        Plane(2), wanted, scale, rho=torch.tanh, rho_of=rho_of, distance="squared_l2"
    )
    rows = []
    for path, target in enumerate(wanted):
        for item in x.numpy():
            c = item[:12].reshape(3, 4) if path == 0 else item[12:]
            axes = tuple(i for i in range(c.ndim) if i >= target.ndim or target.shape[i] == 1)
            if rho_of == "means":
                value = np.tanh(c.mean(axis=axes, keepdims=True))
            else:
                value = np.tanh(c).mean(axis=axes, keepdims=True)
            divisor = scale[path] if wide else scale[path].numpy()
            value = (value.reshape(target.shape) - target.numpy()) / divisor
            rows.append(2 * (value**2).sum())
    expected = torch.tensor(rows).reshape(2, 5).to(torch.float64)
    torch.testing.assert_close(loss.path_losses(x, None, [0, 1]), expected, rtol=1e-12, atol=1e-14)


def test_one_tensor_holds_the_means_of_all_paths():
    x = small_signal("scattering1d", 0, items=2)
    transform = SMALL["scattering1d"]()
    means = torch.stack([c.mean() for c in transform(x[:1])])
    loss = StatisticsLoss(transform, means, scale=means.numpy() + 0.5, distance="l1")
    assert loss(x[:1]) == 0
    columns = StatisticsLoss(transform, means[:, None].numpy(), distance="l1")
    assert columns(x[:1]) == 0
    values = loss.path_losses(x, None, range(len(loss.paths)))
    found = torch.stack([c.mean(dim=-1) for c in transform(x)])
    expected = (found - means[:, None]).abs() / (means + 0.5)[:, None]
    torch.testing.assert_close(values, expected)


@pytest.mark.parametrize("name", ["scattering1d", "jtfs", "stft"])
def test_jets(name):
    transform, order = SMALL[name](), JetOrder(n_parameters=2)
    x, u, v = (small_signal(name, seed) for seed in range(3))
    means = [c.mean() for c in transform(x)]
    loss = StatisticsLoss(transform, means, 0.3, rho="log1p", rho_of="means", eps=0.1)
    shape = [2, *[1] * (x.ndim - 1)]

    def signals(theta):
        a, b = (theta[:, i].reshape(shape) for i in (0, 1))
        return x + a * u + a * b * v

    jets = order.of(signals, torch.full((2, 2), 0.3).double())
    paths = [len(loss.paths) - 1, 0]
    found = loss.path_loss_jets(jets, None, paths, order)
    expected = PathDecomposedLoss.path_loss_jets(loss, jets, None, paths, order)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("sampler", [AdaptiveImportance(), Energy.running(), None])
def test_estimates_need_no_target_and_are_unbiased(sampler, caplog):
    x = small_signal("stft", 0, items=2)
    transform = SMALL["stft"]()
    loss = StatisticsLoss(transform, [0.3] * len(transform.paths), 0.1)
    criterion = StochasticLoss(loss, sampler, n_draws=2, generator=0)
    for _ in range(3):
        criterion(x.requires_grad_()).backward()
    expected = sum(
        probability * criterion.estimate(x, None, criterion.make_draw(paths))
        for paths, probability in criterion.sampler.enumerate(2)
    )
    torch.testing.assert_close(expected, loss(x))
    torch.testing.assert_close(criterion.eval()(x), loss(x))
    grouped = loss.grouped([list(range(1, len(loss.paths))), [0]])
    torch.testing.assert_close(grouped(x), loss(x))
    assert not caplog.records  # it is meant to be used so


def test_statistics_keep_their_precision_through_casts():
    x = small_signal("stft", 0)
    transform = SMALL["stft"]()
    means = [c.mean() for c in transform(x[:1])]
    loss = StatisticsLoss(transform, means, 1e-3)
    expected = loss(x)
    torch.testing.assert_close(loss.half().double()(x), expected, rtol=1e-12, atol=0)
    assert loss(x[:1]) < 1e-20


def test_no_target_is_silently_ignored():
    x = small_signal("stft", 0)
    loss = StatisticsLoss(SMALL["stft"](), [0.1] * len(SMALL["stft"]().paths))
    for call in (lambda: loss(x, x), lambda: loss.path_losses(x, x, [0])):
        with pytest.raises(InputError, match=r"takes no target: .* as loss\(input\), got a target"):
            call()
    for measured in (
        lambda: Energy.from_targets(loss, x),
        lambda: BalancedLoss.from_targets(loss, x),
        lambda: StochasticLoss.for_training(loss, x),
        lambda: StochasticLoss.for_training(loss, [x], power=0.5),
        lambda: StochasticLoss.for_training(loss.subset([0]), x),
    ):
        with pytest.raises(
            InputError,
            match=r"takes no target: .* for_training .* use StochasticLoss\(loss, Energy",
        ):
            measured()
    with pytest.raises(InputError, match=r"target: expected a torch\.Tensor, got None"):
        TransformLoss(SMALL["stft"]())(x)


@pytest.mark.parametrize(
    ("statistics", "options", "message"),
    [
        ([0.0], {}, "statistics must have one entry for each of the 2 paths, got 1"),
        (3.0, {}, "statistics must be a sequence, got 3.0"),
        ([0.0, torch.nan], {}, "statistics of path 1 must be finite and not empty, got nan"),
        ([0.0, torch.zeros(0)], {}, "statistics of path 1 must be finite and not empty, got torch"),
        ([0.0, "a"], {}, "statistics of path 1 must be numbers"),
        ([0.0, 0.0], {"scale": 0.0}, "scale of path 0 must be positive, got 0"),
        ([0.0, 0.0], {"scale": [1.0, -2.0]}, "scale of path 1 must be positive, got -2"),
        ([0.0, 0.0], {"scale": [1.0]}, "scale must have one entry for each of the 2 paths"),
        ([0.0, torch.zeros(4)], {"scale": [1.0, torch.ones(3)]}, r"scale of path 1 has shape \(3,"),
        ([0.0, 0.0], {"rho_of": "sums"}, 'rho_of must be "coefficients" or "means", got'),
        ([0.0, 0.0], {"distance": "cosine"}, "distance must be"),
    ],
)
def test_what_is_refused(statistics, options, message):
    with pytest.raises(ConfigurationError, match=message):
        StatisticsLoss(Plane(2), statistics, **options)


def test_statistics_must_fit_their_coefficients():
    with pytest.raises(ConfigurationError, match=r"must be a multipath\.transforms\.Transform"):
        StatisticsLoss(torch.nn.Identity(), [0.0])
    x = torch.ones(2, 16)
    for wrong in (torch.zeros(3), torch.zeros(2, 4), torch.zeros(2, 3, 4)):
        loss = StatisticsLoss(Plane(2), [wrong, 0.0])
        with pytest.raises(InputError, match=r"path 0 has coefficients of shape \(3, 4\) and its"):
            loss(x)
    with pytest.raises(InputError, match=r"input: expected a torch\.Tensor, got None"):
        loss(None)


def test_it_is_printed_with_its_settings():
    loss = StatisticsLoss(MultiResolutionSTFT([16]), [0.0], rho="log1p", rho_of="means")
    assert "rho=Log1p(eps=0.001), rho_of='means', distance='squared_l2'" in repr(loss)
