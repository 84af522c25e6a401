"""Laws that scattering over time obeys, whatever computes it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multipath import TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import JTFS, Scattering1D

from .cases import noise, random_subset

N = 512


# Between them: frames kept and dropped, mixing along log-frequency by wide and by narrow filters,
# wavelets of one and of many per octave.
TRANSFORMS = {
    "scattering1d": lambda: Scattering1D(N, J=5, Q=(4, 1), T=32),
    "scattering1d, one per octave": lambda: Scattering1D(N, J=5, Q=(1, 1), T=48, unpad=False),
    "jtfs": lambda: JTFS(N, J=5, Q=(4, 1), J_fr=2, Q_fr=1, T=32, F=4),
    "jtfs, frames kept": lambda: JTFS(N, J=5, Q=(3, 2), J_fr=2, Q_fr=2, T=64, F=2, unpad=False),
}


SHARED = {name: make() for name, make in TRANSFORMS.items()}


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return SHARED[request.param]


def joined(coefficients):
    return torch.cat([c.ravel() for c in coefficients])


def assert_all_close(actual, expected, tolerance):
    """Entry by entry, against the largest of each path."""
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * b.abs().max()


CONTRACTIONS = {  # the second constant is measured: 0.1005 at the loudest of impulses
    "scattering1d": (lambda: Scattering1D(N, J=5, Q=(4, 1), T=32, unpad=False), 1.0),
    "jtfs": (lambda: JTFS(N, J=5, Q=(4, 1), J_fr=2, Q_fr=1, T=32, F=4, unpad=False), 0.11),
}


CONTRACTING = {name: (make(), bound) for name, (make, bound) in CONTRACTIONS.items()}


DISTURBANCES = {
    "noise": lambda seed: noise(N, seed=seed + 1000, dtype=torch.float64),
    "tone": lambda seed: torch.sin(0.01 * (seed + 1) * torch.arange(N, dtype=torch.float64)),
    "impulse": lambda seed: torch.eye(N, dtype=torch.float64)[seed],
    "constant": lambda seed: torch.ones(N, dtype=torch.float64),
}


@settings(max_examples=15)
@example(seed=49, kind="impulse", size=1e4)
@example(seed=0, kind="constant", size=1.0)
@given(
    seed=st.integers(0, 100),
    kind=st.sampled_from(list(DISTURBANCES)),
    size=st.floats(-4, 4).map(lambda exponent: 10**exponent),
)
@pytest.mark.slow
def test_transforms_do_not_expand_distances(seed, kind, size):
    x = noise(N, seed=seed, dtype=torch.float64)
    y = x + size * DISTURBANCES[kind](seed)
    for transform, bound in CONTRACTING.values():
        far = transform.time.pad((x - y)[None]).norm()  # the mirrored ends belong to the signal
        differences = joined(transform(x)) - joined(transform(y))
        gain = transform.time.stride**0.5 * differences.norm() / far
        assert gain <= bound * (1 + 1e-6)
        if kind == "constant" and transform.paths[0].key == ():
            assert gain == pytest.approx(1, rel=1e-6)  # the bound is reached


MOVING = {
    "scattering1d": lambda: Scattering1D(4096, J=5, Q=(4, 1), T=64),
    "jtfs": lambda: JTFS(4096, J=5, Q=(4, 1), J_fr=2, Q_fr=1, T=64, F=4),
}


def burst(dtype=torch.float64):
    x = torch.zeros(4096, dtype=dtype)
    x[1800:2300] = torch.hann_window(500, dtype=dtype) * noise(500, dtype=dtype)
    return x


@pytest.mark.parametrize("kind", MOVING)
@pytest.mark.slow
def test_shift_by_a_frame_shifts_the_coefficients_by_a_frame(kind):
    transform = MOVING[kind]()
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-5)):
        x = burst(dtype)
        for frames in (1, 5):
            moved = transform(x.roll(frames * 64))
            for a, b in zip(transform(x), moved, strict=True):
                error = (a[..., :-frames] - b[..., frames:]).abs().max()
                assert error <= tolerance * a.abs().max()
                assert (a - b).abs().max() > 0.1 * a.abs().max()  # there is something to see


@pytest.mark.parametrize("kind", MOVING)
@pytest.mark.slow
def test_the_smaller_the_shift_the_less_it_shows(kind):
    transform = MOVING[kind]()
    still = joined(transform(burst()))
    shifts = [1, 2, 4, 8, 16, 32, 64]
    change = [
        ((joined(transform(burst().roll(shift))) - still).norm() / still.norm()).item()
        for shift in shifts
    ]
    assert change == sorted(change)
    assert 0 < change[0] < 0.01  # a 64th of T
    for shift, size in zip(shifts, change, strict=True):
        assert size == pytest.approx(shift * change[0], rel=0.05)  # a smooth dependence


@pytest.mark.slow
def test_translation_is_forgotten_up_to_T():
    burst = torch.zeros(4096, dtype=torch.float64)
    burst[1500:1756] = torch.hann_window(256, dtype=torch.float64) * noise(256)
    for make in (
        lambda T: Scattering1D(4096, J=6, Q=(4, 1), T=T),
        lambda T: JTFS(4096, J=6, Q=(4, 1), J_fr=2, Q_fr=1, T=T, F=4),
    ):
        change = []
        for T in (64, 512, 2048):
            transform = make(T)
            a, b = (torch.cat([c.ravel() for c in transform(x)]) for x in (burst, burst.roll(64)))
            change.append(((a - b).norm() / a.norm()).item())
        assert change[0] > 2 * change[1] > 4 * change[2]
        assert change[2] < 0.1


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
    for a, b in zip(transform(2.0**exponent * x), transform(x), strict=True):
        assert torch.equal(a, 2.0**exponent * b)
        assert b.abs().max() > 0


@settings(max_examples=10)
@given(sign=st.sampled_from([-1, 1]), exponent=st.floats(-18, 18))
@pytest.mark.slow
def test_moduli_scale_with_the_absolute_gain(sign, exponent):
    gain = sign * 10**exponent
    x = noise(N)
    for transform in SHARED.values():
        scaled = transform((gain * x.double()).float())
        for path, a, b in zip(transform.paths, scaled, transform(x), strict=True):
            factor = gain if path.metadata["order"] == 0 else abs(gain)
            assert (a - factor * b).abs().max() <= 1e-5 * (factor * b).abs().max()


def test_items_do_not_know_of_one_another(transform):
    x = noise(2, 3, N) * torch.tensor([[1e-20, 1.0, 1e10], [1e-5, 3e15, 0.0]])[..., None]
    for chosen in ([0], random_subset(transform, 6, seed=1)):
        batch = transform.coefficients(x, chosen)
        for i, j in np.ndindex(2, 3):
            alone = transform.coefficients(x[i, j], chosen)
            assert_all_close([c[i, j] for c in batch], alone, 1e-6)


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
        assert_all_close(together, apart, tolerance)
        backwards = transform.coefficients(x, requested[::-1])
        assert_all_close(backwards[::-1], together, tolerance)


@pytest.mark.parametrize("kind", [Scattering1D, JTFS])
def test_wavelets_must_fit_the_padded_signal(kind):
    with pytest.raises(ConfigurationError, match=r"100 samples are too short for J=9.*use J <= 8"):
        kind(100, J=9, T=32)
    assert kind(100, J=8, T=32).time.padded == 256  # what the message advises works


@pytest.mark.parametrize("n_samples", [N - 1, N + 1, 1])
def test_signals_of_another_length_are_refused(transform, n_samples):
    message = f"expected signals of {N} samples, got {n_samples} in shape"
    with pytest.raises(InputError, match=message):
        transform.coefficients(torch.zeros(2, n_samples), [0])
    with pytest.raises(InputError, match=message):
        transform.coefficient_pairs(torch.zeros(2, N), torch.zeros(2, n_samples), [0])


LAYOUTS = {
    "transposed": lambda: noise(N, 3).t(),
    "every other sample": lambda: noise(3, 2 * N)[:, ::2],
    "part of a longer signal": lambda: noise(3, N + 9)[:, 4:-5],
    "expanded": lambda: noise(1, N).expand(3, N),
    "permuted batch": lambda: noise(3, N, 2).permute(2, 0, 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(transform, layout):
    x = LAYOUTS[layout]()
    assert not x.is_contiguous()
    chosen = random_subset(transform, 5, seed=0)

    def values_and_gradient(x):
        x = x.requires_grad_()
        values = transform.coefficients(x, chosen)
        (gradient,) = torch.autograd.grad(joined(values).square().sum(), x)
        return [*values, gradient]

    for a, b in zip(values_and_gradient(x), values_and_gradient(x.contiguous()), strict=True):
        assert torch.equal(a, b)
