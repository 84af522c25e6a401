"""Laws that scattering transforms obey, whatever computes them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multipath import TransformLoss
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import JTFS, Scattering1D
from tests.reference.jtfs_twin import jtfs_path
from tests.reference.scattering1d_twin import scalogram, scattering1d_paths

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
BANKS = [
    (8, (8, 2), 256),
    (6, (4, 1), 128),
    (8, (1, 1), 256),
    (10, (8, 2), 1024),
    (6, (16, 4), 64),
    (9, (12, 3), 512),
]


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return SHARED[request.param]


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_subset(transform, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(len(transform.paths), generator=generator)[:size].tolist()


def joined(coefficients):
    return torch.cat([c.ravel() for c in coefficients])


def assert_all_close(actual, expected, tolerance):
    """Entry by entry, against the largest of each path."""
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * b.abs().max()


def energies(transform, indices):
    """A differentiable summary, one number a path."""

    def of(x):
        return torch.stack([c.square().sum() for c in transform.coefficients(x, indices)])

    return of


# Energy


@pytest.mark.parametrize(("J", "Q", "T"), BANKS, ids=str)
def test_littlewood_paley_sums(J, Q, T):
    time = Scattering1D(2048, J=J, Q=Q, T=T).time
    frequency = np.fft.rfftfreq(time.padded)
    smooth = time.phi.numpy()[: len(frequency)] ** 2
    for bank in (time.psi1, time.psi2):
        power = sum(wavelet.spectrum(time.padded) ** 2 for wavelet in bank)
        both_sides = (power + np.roll(power[::-1], 1))[: len(frequency)]
        # of real signals, half the energy of each band is found at negative frequencies
        assert np.max(smooth + both_sides / 2) <= 1 + 1e-12
        # where wavelets have constant quality, they cover frequencies evenly: alpha <= 0.31
        even = [w.xi for w in bank if w.xi / w.sigma == pytest.approx(bank[0].xi / bank[0].sigma)]
        covered = both_sides[(frequency >= min(even)) & (frequency <= max(even))]
        assert covered.max() == both_sides.max()
        assert 1.1 < covered.max() < 1.25
        assert covered.min() >= (1 - 0.31) * covered.max()


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


# Translations

MOVING = {
    "scattering1d": lambda: Scattering1D(4096, J=5, Q=(4, 1), T=64),
    "jtfs": lambda: JTFS(4096, J=5, Q=(4, 1), J_fr=2, Q_fr=1, T=64, F=4),
}


def burst(dtype=torch.float64):
    x = torch.zeros(4096, dtype=dtype)
    x[1800:2300] = torch.hann_window(500, dtype=dtype) * noise(500, dtype=dtype)
    return x


@pytest.mark.parametrize("kind", MOVING)
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


# Scale


@pytest.mark.parametrize("exponent", [-60, -20, -1, 1, 7, 60])
def test_powers_of_two_pass_through_without_rounding(transform, exponent):
    x = noise(2, N)
    for a, b in zip(transform(2.0**exponent * x), transform(x), strict=True):
        assert torch.equal(a, 2.0**exponent * b)
        assert b.abs().max() > 0


@settings(max_examples=10)
@given(sign=st.sampled_from([-1, 1]), exponent=st.floats(-18, 18))
def test_moduli_scale_with_the_absolute_gain(sign, exponent):
    gain = sign * 10**exponent
    x = noise(N)
    for transform in SHARED.values():
        scaled = transform((gain * x.double()).float())
        for path, a, b in zip(transform.paths, scaled, transform(x), strict=True):
            factor = gain if path.metadata["order"] == 0 else abs(gain)
            assert (a - factor * b).abs().max() <= 1e-5 * (factor * b).abs().max()


# Items of a batch


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


# Requests


@settings(max_examples=8)
@given(seed=st.integers(0, 1000), size=st.integers(1, 12), double=st.booleans())
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


# Gradients

HARD = {
    "silence": lambda: torch.zeros(N),
    "barely audible": lambda: 1e-12 * noise(N),
    "impulse": lambda: torch.eye(N)[N // 2],
    "impulse at the end": lambda: torch.eye(N)[-1],
    "constant": lambda: torch.ones(N),
    "constant and silence": lambda: torch.cat([torch.zeros(N // 2), torch.ones(N - N // 2)]),
    "square wave": lambda: torch.sign(torch.sin(0.1 * torch.arange(N))),
}


@pytest.mark.parametrize("signal", HARD)
@pytest.mark.parametrize("distance", ["squared_l2", "l2", "l1"])
@pytest.mark.parametrize("rho", [None, "log1p"])
def test_gradients_are_finite_at_hard_signals(transform, signal, distance, rho):
    x = HARD[signal]().expand(2, N).clone()
    loss = TransformLoss(transform, distance=distance, rho=rho)
    chosen = random_subset(transform, 4, seed=2)
    for y in (x.clone(), torch.zeros(2, N), noise(2, N)):
        moving = x.clone().requires_grad_()
        loss.path_losses(moving, y, chosen).sum().backward()
        assert torch.isfinite(moving.grad).all()
    if signal not in ("silence", "constant"):  # where moduli vanish, nothing pulls
        assert moving.grad.abs().max() > 0


TINY = {
    "order 0": (Scattering1D, {"Q": (2, 1)}, {"order": 0}),
    "order 1": (Scattering1D, {"Q": (2, 1)}, {"order": 1}),
    "order 2": (Scattering1D, {"Q": (2, 1)}, {"order": 2}),
    "spin -1": (JTFS, {"Q": (2, 1), "J_fr": 1, "Q_fr": 1, "F": 2}, {"spin": -1}),
    "spin 0": (JTFS, {"Q": (2, 1), "J_fr": 1, "Q_fr": 1, "F": 2}, {"spin": 0}),
    "spin +1": (JTFS, {"Q": (2, 1), "J_fr": 1, "Q_fr": 1, "F": 2}, {"spin": 1}),
}


@pytest.mark.parametrize("name", TINY)
def test_derivatives_are_those_of_the_coefficients(name):
    kind, bank, wanted = TINY[name]
    transform = kind(48, J=3, T=8, **bank)
    indices = transform.paths.filter(**wanted).indices[::2][:3]
    x = noise(2, 48, dtype=torch.float64).requires_grad_()
    of = energies(transform, indices)
    assert of(x).min() > 0
    assert torch.autograd.gradcheck(of, (x,))
    assert torch.autograd.gradgradcheck(of, (x[:1].detach().requires_grad_(),))


# Lengths


@pytest.mark.parametrize("n_samples", [997, 1021, 2053, 333])
def test_odd_and_prime_lengths_of_scattering(n_samples):
    x = noise(n_samples, dtype=torch.float64)
    expected = scattering1d_paths(x.numpy(), J=6, Q=(3, 1), T=64)
    transform = Scattering1D(n_samples, J=6, Q=(3, 1), T=64)
    keys = list(expected)
    chosen = range(0, len(keys), 5)
    for index, actual in zip(chosen, transform.coefficients(x, chosen), strict=True):
        wanted = torch.from_numpy(expected[keys[index]])
        assert_all_close([actual], [wanted], 1e-10)


@pytest.mark.parametrize("n_samples", [997, 1021, 4097])
def test_odd_and_prime_lengths_of_joint_scattering(n_samples):
    bank = {"J": 6, "Q": (3, 1), "J_fr": 2, "Q_fr": 1, "T": 64, "F": 4}
    transform = JTFS(n_samples, **bank)
    x = noise(n_samples, dtype=torch.float64)
    layer = scalogram(x.numpy(), 6, 3, 64)
    chosen = random_subset(transform, 6, seed=0)
    for index, actual in zip(chosen, transform.coefficients(x, chosen), strict=True):
        wanted = jtfs_path(
            x.numpy(), *transform.paths[index].key, {"n_samples": n_samples, **bank}, True, layer
        )
        assert_all_close([actual], [torch.from_numpy(wanted.copy())], 1e-10)


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


# Memory layout and precision

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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(transform, dtype):
    x = noise(2, N).to(dtype).requires_grad_()
    chosen = random_subset(transform, 5, seed=0)
    values = transform.coefficients(x, chosen)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = transform.coefficients(x, chosen)
    single = x.detach().float().requires_grad_()
    expected = transform.coefficients(single, chosen)
    for a, b, c in zip(values, cast, expected, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, c)
        assert torch.equal(b, c)
    (half,) = torch.autograd.grad(joined(values).sum(), x)
    (full,) = torch.autograd.grad(joined(expected).sum(), single)
    assert half.dtype == dtype
    assert torch.equal(half, full.to(dtype))
