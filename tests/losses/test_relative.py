"""Losses relative to the target: formula, units, silence, gradients, and everything around."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, jvp, vmap

from multipath import PathDecomposedLoss, StochasticLoss, TargetCache, TransformLoss
from multipath.errors import ConfigurationError
from multipath.jets import JetOrder
from multipath.samplers import Energy, Importance
from multipath.transforms import Transform
from tests.transforms.cases import SMALL, TRANSFORMS, N, fitting, shared, small_signal

pytestmark = pytest.mark.slow  # many pairs of sounds


def largest(difference):
    return difference.flatten(1).abs().amax(dim=1)


def steps(difference):
    """Ignores what is constant."""
    return difference.flatten(1).diff(dim=1).square().sum(dim=1)


DISTANCES = {"squared_l2": "squared_l2", "l2": "l2", "l1": "l1", "largest": largest}
RHOS = {"plain": None, "log1p": "log1p", "root": lambda s: (s.abs() + 0.1).sqrt()}


def relative(transform, distance="squared_l2", **options):
    return TransformLoss(transform, distance=distance, normalize="target", **options)


def flat(x):
    return x.flatten()


BY_HAND = {
    "squared_l2": lambda d: d.square().sum(),
    "l2": lambda d: d.square().sum().sqrt(),
    "l1": lambda d: d.abs().sum(),
    "largest": lambda d: d.abs().max(),
}


def by_hand(transform, rho, distance, x, y):
    """The formula, one path and one item at a time."""
    rho, d = rho or (lambda s: s), BY_HAND[distance]
    generator = torch.Generator().manual_seed(0)
    noise = transform(torch.randn(8, *x.shape[1:], generator=generator, dtype=torch.float64))
    rows = []
    for a, b, n in zip(transform(x), transform(y), noise, strict=True):
        items = []
        for i in range(len(x)):
            level = max(math.sqrt(float(y[i].square().mean())), 10**-2.5)
            size = math.sqrt(float(n.square().mean()))
            count = b[i].numel()
            steps = [math.sqrt(3) * (j + 0.5) / count for j in range(count)]
            ramp = torch.tensor(steps, dtype=torch.float64)
            zero = rho(torch.zeros(count).double())
            own = d(rho(flat(b[i])) - zero)
            floor = d(rho(level * size * ramp) - zero)
            items.append(d(rho(flat(a[i])) - rho(flat(b[i]))) / (own + floor / 3))
        rows.append(torch.stack(items))
    return torch.stack(rows)


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("name", SMALL)
def test_the_formula(name, distance, rho):
    transform = SMALL[name]()
    x, y = small_signal(name, 1, items=3), 0.2 * small_signal(name, 2, items=3)
    y[1] = 0.0
    loss = relative(transform, DISTANCES[distance], rho=RHOS[rho], eps=0.01)
    expected = by_hand(transform, loss.rho, distance, x, y)
    found = loss.path_losses(x, y, range(len(loss.paths)))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=10)
@given(
    scale=st.floats(0.02, 50.0), distance=st.sampled_from(sorted(DISTANCES)), seed=st.integers(0, 9)
)
def test_units_do_not_matter(name, scale, distance, seed):
    """L_p(a x, a y) = L_p(x, y) above 50 dB below 1, whatever the units of the transform."""
    loss = relative(SMALL[name](), DISTANCES[distance])
    x, y = small_signal(name, seed, items=2), small_signal(name, seed + 10, items=2)
    paths = range(len(loss.paths))
    values = loss.path_losses(x, y, paths)
    torch.testing.assert_close(
        loss.path_losses(scale * x, scale * y, paths), values, rtol=1e-9, atol=0
    )
    louder = TransformLoss(Louder(SMALL[name](), scale), distance=loss.distance, normalize="target")
    torch.testing.assert_close(louder.path_losses(x, y, paths), values, rtol=1e-9, atol=0)


class Louder(Transform):
    """Another transform's coefficients in other units."""

    def __init__(self, inner, factor):
        super().__init__(inner.paths)
        self.inner, self.factor, self.signal_ndim = inner, factor, inner.signal_ndim

    def coefficients(self, x, indices):
        return [self.factor * c for c in self.inner.coefficients(x, indices)]


def sounds(name, seed=0):
    """Noise, a tone, a pulse train and a chirp, all of RMS 0.1, that have nothing in common."""
    time = torch.arange(N) / N
    shapes = [
        torch.randn(N, generator=torch.Generator().manual_seed(seed)),
        torch.sin(2 * math.pi * 57 * time),
        (torch.arange(N) % 64 < 2).float(),
        torch.sin(2 * math.pi * 200 * time.square()),
    ]
    loud = [0.1 * s / s.square().mean().sqrt() for s in shapes]
    return fitting(shared(name), torch.stack(loud))


@pytest.mark.parametrize("distance", ["squared_l2", "l2", "l1"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_sounds_with_nothing_in_common_are_near_one(name, distance):
    signals = sounds(name)
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    x, y = (signals[[pair[side] for pair in pairs]] for side in (0, 1))
    values = relative(shared(name), distance)(x, y, reduction="none")
    low, high = (0.1, 20.0) if distance == "squared_l2" else (0.2, 4.0)
    assert low < values.min() < values.max() < high, values
    assert 0.5 < values.median() < 3, values


@pytest.mark.parametrize("distance", [*DISTANCES.values(), steps], ids=[*DISTANCES, "steps"])
@pytest.mark.parametrize("name", SMALL)
def test_silent_targets_have_a_loss_and_a_gradient(name, distance):
    loss = relative(SMALL[name](), distance)
    x, y = small_signal(name, 1, items=3), small_signal(name, 2, items=3)
    y[1] = 0.0
    x[2], y[2] = 0.0, 0.0
    x.requires_grad_()
    values = loss.path_losses(x, y, range(len(loss.paths)))
    assert torch.isfinite(values).all()
    assert values[:, 2].eq(0).all()
    (gradient,) = torch.autograd.grad(values.mean(), x)
    assert torch.isfinite(gradient).all()
    assert (gradient[1] * x[1]).sum() > 0  # a step makes it more silent
    alone = loss.path_losses(x[:1], y[:1], range(len(loss.paths)))
    torch.testing.assert_close(values[:, :1], alone, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_flow_through_the_denominator_if_the_target_requires_any(name):
    loss = relative(SMALL[name](), "l2")
    x, y = small_signal(name, 1, items=1), small_signal(name, 2, items=1)
    direction = small_signal(name, 3, items=1)
    step = 1e-5
    ends = [loss(x, y + sign * step * direction) for sign in (1, -1)]
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x, y), y)
    slope = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-9)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", SMALL)
def test_under_torch_func_as_outside(name):
    """Also where the size of noise is measured there for the first time."""
    x, y, v = (small_signal(name, seed) for seed in range(3))
    first, second = relative(SMALL[name]()), relative(SMALL[name]())
    slope = grad(lambda x: first(x, y))(x)
    (along,) = jvp(lambda x: first(x, y), (x,), (v,))[1:]
    towards = grad(lambda y: first(x, y))(y)
    leaves = x.clone().requires_grad_(), y.clone().requires_grad_()
    expected = torch.autograd.grad(second(*leaves), leaves)
    torch.testing.assert_close((slope, towards), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(along, (expected[0] * v).sum(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(first(x, y), second(x, y))
    items = vmap(lambda x, y: relative(first.transform)(x[None], y[None]))(x, y)
    torch.testing.assert_close(items, second(x, y, reduction="none"))


@pytest.mark.parametrize("name", SMALL)
def test_jets(name):
    loss, order = relative(SMALL[name](), "squared_l2"), JetOrder(n_parameters=2)
    x, u, v, y = (small_signal(name, seed) for seed in range(4))
    shape = [2, *[1] * (x.ndim - 1)]

    def signals(theta):
        a, b = (theta[:, i].reshape(shape) for i in (0, 1))
        return x + a * u + a * b * v

    jets = order.of(signals, torch.full((2, 2), 0.3).double())
    paths = [len(loss.paths) - 1, 0]
    found = loss.path_loss_jets(jets, y, paths, order)
    expected = PathDecomposedLoss.path_loss_jets(loss, jets, y, paths, order)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_cached_targets_have_the_same_loss():
    x, y = small_signal("jtfs", 1), small_signal("jtfs", 2)
    cache = TargetCache(max_bytes=2**22)
    cached, plain = relative(SMALL["jtfs"](), cache=cache), relative(SMALL["jtfs"]())
    for hits in (0, 2):
        with cache.keyed(["a", "b"]):
            torch.testing.assert_close(cached(x, y), plain(x, y), rtol=1e-12, atol=0)
        assert cache.hits == hits


def test_estimates_are_unbiased_whatever_is_drawn_and_grouped():
    x, y = small_signal("scattering1d", 1), small_signal("scattering1d", 2)
    loss = relative(SMALL["scattering1d"](), "l1", rho="log1p")
    some = loss.subset([5, 2, 0])
    torch.testing.assert_close(some(x, y), loss.path_losses(x, y, [5, 2, 0]).mean())
    grouped = loss.grouped("order")
    torch.testing.assert_close(grouped(x, y), loss(x, y))
    for one in (some, grouped):
        law = torch.arange(1, len(one.paths) + 1).double()
        for sampler in (Importance(law / law.sum()), Energy.from_targets(one, y)):
            criterion = StochasticLoss(one, sampler, n_draws=2)
            expected = sum(
                probability * criterion.estimate(x, y, criterion.make_draw(paths))
                for paths, probability in sampler.enumerate(2)
            )
            torch.testing.assert_close(expected, one(x, y), rtol=1e-12, atol=0)


@pytest.mark.parametrize("distance", DISTANCES)
def test_target_norms_tell_loud_paths_from_silent_ones(distance):
    """Differences count for more where the target is silent: up to three times, of losses."""
    loss = relative(shared("wavelet packet"), DISTANCES[distance])
    signals = sounds("wavelet packet")[:2]
    paths = range(len(loss.paths))
    norms = loss.target_norms(torch.cat([signals, 0 * signals[:1]]), paths)
    noise, tone, silence = norms.unbind(dim=1)
    assert norms.requires_grad is False
    torch.testing.assert_close(silence, torch.full_like(silence, 3**0.5), rtol=1e-6, atol=0)
    assert 1 <= tone.min() < 1.25
    assert 1.4 < tone.max() <= 3**0.5
    assert 1.05 < noise.min() < noise.max() < 1.45
    law = Energy.from_targets(loss, signals[1:], floor=0.0).probabilities
    assert 1.3 * law.min() < law.max() <= 1.8 * law.min()


@pytest.mark.parametrize("distance", ["squared_l2", "l1"])
@pytest.mark.parametrize("name", ["scattering1d", "mrstft"])
def test_energy_draws_of_a_relative_loss_vary_less_than_uniform_ones(name, distance):
    """The mean square of w / pi |g| over draws, from noise and close to the target."""
    loss = relative(shared(name), distance)
    paths = range(len(loss.paths))
    noise, *targets = sounds(name)
    for y in targets:
        law = Energy.from_targets(loss, y[None], floor=0.0).probabilities
        for x in (noise, y + 0.1 * noise):
            leaf = x[None].clone().requires_grad_()
            values = loss.path_losses(leaf, y[None], paths)[:, 0]
            squares = torch.stack(
                [
                    torch.autograd.grad(value, leaf, retain_graph=True)[0].square().sum()
                    for value in values
                ]
            ).double()
            assert (squares / law).sum() < 1.03 * len(paths) * squares.sum()


def test_a_transform_that_is_trained_is_measured_anew():
    class Gain(Transform):
        def __init__(self):
            super().__init__(2)
            self.gain = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))

        def coefficients(self, x, indices):
            return [self.gain[i] * x for i in indices]

    x, y = small_signal("stft", 1), small_signal("stft", 2)
    loss = relative(Gain())
    before = loss(x, y)
    with torch.no_grad():
        loss.transform.gain.mul_(7.0)
    torch.testing.assert_close(loss(x, y), before, rtol=1e-12, atol=0)


def test_each_length_has_its_own_noise():
    loss, fresh = (relative(SMALL["stft"]()) for _ in range(2))
    x, y = small_signal("stft", 1), small_signal("stft", 2)
    loss(x[:, :96], y[:, :96])
    assert torch.equal(loss(x, y), fresh(x, y))


def test_a_path_that_noise_does_not_reach_is_no_division_by_zero():
    class Blind(Transform):
        def coefficients(self, x, indices):
            return [x * i for i in indices]

    loss = relative(Blind(2))
    x, y = small_signal("stft", 1).requires_grad_(), torch.zeros(2, 128).double()
    values = loss.path_losses(x, y, [0, 1])
    values.sum().backward()
    assert values[0].eq(0).all()
    assert torch.isfinite(x.grad).all()


def test_half_precision_is_widened():
    loss = relative(SMALL["stft"]())
    x, y = (small_signal("stft", seed).half() for seed in (1, 2))
    torch.testing.assert_close(loss(x, y), loss(x.float(), y.float()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_compiled():
    torch.compiler.reset()
    loss = relative(SMALL["stft"](), "l1")
    compiled = torch.compile(loss, backend="eager")
    for seed, items in ((0, 2), (1, 5)):
        x, y = small_signal("stft", seed, items), small_signal("stft", seed + 2, items)
        torch.testing.assert_close(compiled(x, y), loss(x, y))


def test_what_there_is_to_normalize_by():
    with pytest.raises(
        ConfigurationError, match="normalize must be None or \"target\", got 'input'"
    ):
        TransformLoss(shared("mrstft"), normalize="input")
    assert "normalize='target'" in repr(relative(shared("mrstft")))
