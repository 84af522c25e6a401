"""Laws that scattering over time obeys, whatever computes it."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import TransformLoss
from multipath.errors import ConfigurationError
from multipath.transforms import JTFS, Scattering1D

from .cases import SCATTERINGS, assert_near, noise, random_subset

N = 512
SHARED = {name: make() for name, make in SCATTERINGS.items()}


@pytest.fixture(params=SHARED)
def transform(request):
    return SHARED[request.param]


@pytest.mark.parametrize(
    "transform",
    [
        Scattering1D(4096, J=5, Q=(4, 1), T=64),
        JTFS(4096, J=5, Q=(4, 1), J_fr=2, Q_fr=1, T=64, F=4),
    ],
    ids=["scattering1d", "jtfs"],
)
@pytest.mark.slow
def test_shift_by_a_frame_shifts_the_coefficients_by_a_frame(transform):
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-5)):
        x = torch.zeros(4096, dtype=dtype)
        x[1800:2300] = torch.hann_window(500, dtype=dtype) * noise(500, dtype=dtype)
        for frames in (1, 5):
            moved = transform(x.roll(frames * 64))
            for a, b in zip(transform(x), moved, strict=True):
                error = (a[..., :-frames] - b[..., frames:]).abs().max()
                assert error <= tolerance * a.abs().max()
                assert (a - b).abs().max() > 0.1 * a.abs().max()  # there is something to see


@pytest.mark.slow
def test_rates_and_frequencies_are_where_the_table_says():
    rate, carrier, sample_rate = 16.0, 500.0, 4096.0
    t = torch.arange(8192, dtype=torch.float64) / sample_rate
    x = (1 + torch.cos(2 * math.pi * rate * t)) * torch.sin(2 * math.pi * carrier * t)
    transform = Scattering1D(8192, J=9, Q=(8, 2), T=2048, sample_rate=sample_rate)
    loudest = {
        order: max(
            transform.paths.filter(order=order),
            key=lambda path: transform.coefficients(x, [path.index])[0].norm().item(),
        ).metadata
        for order in (1, 2)
    }
    assert loudest[1]["frequency"] == pytest.approx(carrier, rel=0.1)
    assert loudest[2]["rate"] == pytest.approx(rate, rel=0.25)
    joint = JTFS(8192, J=9, Q=(8, 2), J_fr=3, Q_fr=2, T=2048, F=8, sample_rate=sample_rate)
    norms = [c.norm().item() for c in joint(x)]
    best = joint.paths[norms.index(max(norms))].metadata
    assert best["rate"] == pytest.approx(rate, rel=0.25)


@pytest.mark.parametrize("exponent", [-60, -20, -1, 1, 7, 60])
@pytest.mark.slow
def test_powers_of_two_pass_through_without_rounding(transform, exponent):
    x = noise(2, N)
    for gain in (2.0**exponent, -(2.0**exponent)):
        for path, a, b in zip(transform.paths, transform(gain * x), transform(x), strict=True):
            assert torch.equal(a, (gain if path.metadata["order"] == 0 else abs(gain)) * b)
            assert b.abs().max() > 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_item_spoils_no_other(transform, bad):
    x, y = noise(3, N), noise(3, N, seed=1)
    expected = torch.autograd.grad(
        TransformLoss(transform)(x.requires_grad_(), y, reduction="sum"), x
    )[0]
    broken = x.detach().clone()
    broken[1, 100] = bad
    broken.requires_grad_()
    values = TransformLoss(transform)(broken, y, reduction="none")
    assert torch.isfinite(values[[0, 2]]).all()
    assert not torch.isfinite(values[1])  # nor is it hushed up
    (gradient,) = torch.autograd.grad(values[[0, 2]].sum(), broken)
    torch.testing.assert_close(gradient[[0, 2]], expected[[0, 2]], rtol=1e-4, atol=1e-6)


@settings(max_examples=8)
@given(seed=st.integers(0, 1000), size=st.integers(1, 12), double=st.booleans())
@pytest.mark.slow
def test_any_request_gives_each_path_as_if_asked_alone(seed, size, double):
    dtype, tolerance = (torch.float64, 1e-14) if double else (torch.float32, 1e-6)
    x = noise(2, N, seed=seed, dtype=dtype)
    for transform in SHARED.values():
        chosen = random_subset(transform, size, seed)
        requested = [*chosen, chosen[0], chosen[-1]]
        together = transform.coefficients(x, requested)
        apart = [transform.coefficients(x, [index])[0] for index in requested]
        backwards = transform.coefficients(x, requested[::-1])
        for a, b, c in zip(together, apart, backwards[::-1], strict=True):
            assert_near(a, b, tolerance)
            assert_near(c, a, tolerance)


@pytest.mark.parametrize("kind", [Scattering1D, JTFS])
def test_wavelets_must_fit_the_padded_signal(kind):
    with pytest.raises(ConfigurationError, match=r"100 samples are too short for J=9.*use J <= 8"):
        kind(100, J=9, T=32)
    assert kind(100, J=8, T=32).time.padded == 256  # what the message advises works


@pytest.fixture(
    params=[
        partial(Scattering1D, 4096, J=8, Q=(8, 2), T=512),
        partial(JTFS, 4096, J=8, Q=(8, 2), J_fr=2, Q_fr=1, T=512, F=4),
    ],
    ids=["scattering1d", "jtfs"],
)
def pair(request):
    """A transform that keeps all samples, and one that keeps fewer."""
    return request.param(), request.param(sampling="reduced")


@pytest.mark.slow
def test_coefficients_of_audible_paths_are_near_the_exact_ones(pair):
    x = noise(2, 4096, dtype=torch.float64)
    exact, reduced = (transform(x) for transform in pair)
    norms = torch.stack([b.norm() for b in exact])
    errors = torch.stack([(a - b).norm() for a, b in zip(reduced, exact, strict=True)]) / norms
    audible = errors[norms > 1e-3 * norms.max()]
    assert audible.median() < 5e-4
    assert audible.max() < 4e-2
    assert audible.max() > 1e-6  # something is left out


@pytest.mark.slow
def test_fewer_samples_and_the_same_paths(pair):
    exact, reduced = pair
    assert exact.paths.keys == reduced.paths.keys
    points = [sum(2.0**-level for level in t.time.levels1) for t in pair]
    assert points[1] < 0.6 * points[0]
    for ours, theirs in zip(reduced.time.levels1, exact.time.levels1, strict=True):
        assert theirs <= ours <= exact.time.log2_stride
