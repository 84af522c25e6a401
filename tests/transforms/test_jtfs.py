"""JTFS equals its reference and its readable twin, and spins tell directions."""

import math

import numpy as np
import pytest
import torch

from multipath import TransformLoss
from multipath.transforms import JTFS
from tests.golden import load, noise
from tests.reference.jtfs_twin import jtfs_keys, jtfs_path
from tests.reference.scattering1d_twin import scalogram

from .cases import SCATTERING_CASES, assert_close, assert_near

N_PATHS = {"small": 255, "granular": 315, "tr808": 483}
TOLERANCE = 1e-5


@pytest.fixture(
    scope="module",
    params=[
        "small",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("granular", "tr808")),
    ],
)
def jtfs(request):
    """Golden values of a setting, with our padded coefficients of the stored paths."""
    golden = load(f"jtfs_{request.param}")
    transform = JTFS(**golden.settings, unpad=False)
    with torch.no_grad():
        padded = transform.coefficients(torch.from_numpy(golden.x), golden.stored.tolist())
    return request.param, golden, transform, [path.numpy() for path in padded]


def test_jtfs_has_the_same_paths_in_the_same_order(jtfs):
    name, golden, transform, _ = jtfs
    assert len(transform.paths) == N_PATHS[name]
    assert transform.paths.keys == golden.keys
    np.testing.assert_allclose(transform.paths.column("rate"), golden.xi2, rtol=1e-9)
    scales = np.abs(golden.xi_fr) * golden.settings["Q"][0]  # per wavelet -> per octave
    np.testing.assert_allclose(transform.paths.column("scale"), scales, rtol=1e-9)
    assert transform.paths.column("spin") == golden.spin.tolist()


def test_padded_jtfs_equals_the_reference(jtfs):
    _, golden, _, padded = jtfs
    for row, path in enumerate(padded):
        key = golden.keys[golden.stored[row]]
        assert path.shape == tuple(golden.padded_shape)
        assert_close(path.ravel()[:: golden.entry_stride], golden.values[row], key)
        assert np.linalg.norm(path) == pytest.approx(golden.norms[row], rel=TOLERANCE), key


def test_unpadded_jtfs_is_the_reference_s_slice(jtfs):
    _, golden, _, padded = jtfs
    transform = JTFS(**golden.settings, unpad=True)
    with torch.no_grad():
        actual = transform.coefficients(torch.from_numpy(golden.x), golden.stored.tolist())
    kept = slice(int(golden.time_start), int(golden.time_stop))
    for row, (path, whole) in enumerate(zip(actual, padded, strict=True)):
        key = golden.keys[golden.stored[row]]
        assert_close(path.numpy(), whole[:, kept], key)
        norm = golden.array_norms[golden.stored[row]]
        assert np.linalg.norm(path) == pytest.approx(norm, rel=TOLERANCE), key


@pytest.mark.parametrize(("rho", "field"), [(None, "distances"), ("log1p", "log1p_distances")])
@pytest.mark.slow
def test_distances_equal_the_reference_loss(rho, field):
    golden = load("jtfs_small")
    loss = TransformLoss(JTFS(**golden.settings, unpad=False), rho=rho, distance="l2")
    x, target = torch.from_numpy(golden.x), torch.from_numpy(noise(golden.target_seed, 4096))
    with torch.no_grad():
        distances = loss.path_losses(x[None], target[None], range(255))
    # looser than the coefficients: a distance is a difference of them
    np.testing.assert_allclose(distances[:, 0].numpy(), getattr(golden, field), rtol=2e-5)


@pytest.mark.slow
def test_gradients_equal_the_reference_loss():
    golden = load("jtfs_small")
    loss = TransformLoss(JTFS(**golden.settings, unpad=False), distance="l2")
    x = torch.from_numpy(golden.x)[None].requires_grad_()
    target = torch.from_numpy(noise(golden.target_seed, 4096))[None]
    for p, expected in zip(golden.gradient_paths.tolist(), golden.gradients, strict=True):
        (gradient,) = torch.autograd.grad(loss.path_losses(x, target, [p]).sum(), x)
        difference = gradient[0, ::16].numpy() - expected
        assert np.linalg.norm(difference) <= TOLERANCE * np.linalg.norm(expected), golden.keys[p]


FREQUENTIAL_CASES = [
    {"J_fr": 3, "Q_fr": 2, "F": 8},
    {"J_fr": 2, "Q_fr": 1, "F": 1},
    {"J_fr": 3, "Q_fr": 1, "F": 2},
    {"J_fr": 1, "Q_fr": 2, "F": 2},
    {"J_fr": 2, "Q_fr": 1, "F": 4},
    {"J_fr": 2, "Q_fr": 1, "F": 4},
]


@pytest.mark.parametrize("unpad", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{**a, **b} for a, b in zip(SCATTERING_CASES, FREQUENTIAL_CASES, strict=True)],
    ids=str,
)
@pytest.mark.slow
def test_jtfs_equals_its_twin(settings, unpad):
    x = noise(0, settings["n_samples"]).astype(np.float64)
    layer = scalogram(x, settings["J"], settings["Q"][0], settings["T"])
    transform = JTFS(**settings, unpad=unpad)
    keys = jtfs_keys(settings)
    assert transform.paths.keys == keys
    actual = transform.coefficients(torch.from_numpy(x), range(len(keys)))
    for key, path in zip(keys, actual, strict=True):
        assert path.dtype == torch.float64
        expected = jtfs_path(x, *key, settings, unpad=unpad, first_layer=layer)
        assert_near(path, expected, 1e-10, key)


def chirp(direction, n=8192, rate=2.0):
    """Rises or falls at ``rate`` octaves per 8192 samples through the middle of the spectrum."""
    t = torch.arange(n, dtype=torch.float64) / n - 0.5
    octaves = direction * rate * t
    phase = 2 * math.pi * n * 0.1 * (2**octaves - 1) / (direction * rate * math.log(2))
    return torch.sin(phase) * torch.exp(-((t / 0.15) ** 2))


@pytest.mark.parametrize("unpad", [True, False])
@pytest.mark.slow
def test_spin_tells_rising_from_falling_unless_padding_is_kept(unpad):
    transform = JTFS(8192, J=10, Q=(8, 2), J_fr=3, Q_fr=2, T=1024, F=8, unpad=unpad)

    def energy(x, spin):
        indices = transform.paths.filter(spin=spin).indices
        return sum(c.square().sum().item() for c in transform.coefficients(x, indices))

    rising, falling = (energy(chirp(d), 1) / energy(chirp(d), -1) for d in (1, -1))
    if unpad:
        assert rising > 3 > 1 / 3 > falling
    else:  # half of the frames are the mirror image, where directions change places
        assert 0.8 < rising < 1.25
        assert 0.8 < falling < 1.25
