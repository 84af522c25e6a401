"""The transforms agree with the reference implementations to float32 accuracy.

Golden values and how they were made: `tests/golden/make_golden.py`.
"""

import numpy as np
import pytest
import torch

from multipath import TransformLoss
from multipath.transforms import JTFS, Scattering1D
from tests.golden import load, noise

N_PATHS = {"small": 255, "granular": 315, "tr808": 483}
TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=N_PATHS)
def jtfs(request):
    """Golden values of a setting, with our padded coefficients of the stored paths."""
    golden = load(f"jtfs_{request.param}")
    transform = JTFS(**golden.settings, unpad=False)
    with torch.no_grad():
        padded = transform.coefficients(torch.from_numpy(golden.x), golden.stored.tolist())
    return request.param, golden, transform, [path.numpy() for path in padded]


def assert_close(actual, expected, key, floor=0.0):
    difference = np.maximum(np.abs(actual - expected) - floor, 0)
    assert actual.dtype == np.float32
    assert difference.max() <= TOLERANCE * np.abs(expected).max(), key
    assert np.linalg.norm(difference) <= TOLERANCE * np.linalg.norm(expected), key


def test_jtfs_has_the_same_paths_in_the_same_order(jtfs):
    name, golden, transform, _ = jtfs
    assert len(transform.paths) == N_PATHS[name]
    assert transform.paths.keys == golden.keys
    np.testing.assert_allclose(transform.paths.column("rate"), golden.xi2, rtol=1e-9)
    scales = np.abs(golden.xi_fr) * golden.settings["Q"][0]  # per wavelet -> per octave
    np.testing.assert_allclose(transform.paths.column("scale"), scales, rtol=1e-9)
    assert transform.paths.column("spin") == golden.spin.tolist()


def test_jtfs_golden_paths_are_spread(jtfs):
    _, golden, _, _ = jtfs
    assert len(golden.stored) >= 40
    stored = [golden.keys[i] for i in golden.stored]
    for position in (0, 1):  # every rate n2, every scale n_fr
        assert {key[position] for key in stored} == {key[position] for key in golden.keys}


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
    stored_entries = np.arange(np.prod(golden.padded_shape))[:: golden.entry_stride]
    columns = stored_entries % golden.padded_shape[1]
    inside = (columns >= kept.start) & (columns < kept.stop)
    row_of, column_of = stored_entries[inside] // golden.padded_shape[1], columns[inside]
    for row, (path, whole) in enumerate(zip(actual, padded, strict=True)):
        key = golden.keys[golden.stored[row]]
        assert path.shape == whole[:, kept].shape
        picked = path.numpy()[row_of, column_of - kept.start]
        assert_close(picked, golden.values[row][inside], key)
        norm = golden.array_norms[golden.stored[row]]
        assert np.linalg.norm(path) == pytest.approx(norm, rel=TOLERANCE), key


@pytest.mark.parametrize("name", N_PATHS)
def test_scattering1d_equals_the_reference(name):
    golden = load(f"scattering1d_{name}")
    transform = Scattering1D(**golden.settings)
    assert transform.paths.keys == golden.keys
    assert len(golden.stored) >= 40
    with torch.no_grad():
        actual = transform.coefficients(torch.from_numpy(golden.x), golden.stored.tolist())
    # A second-order path 1e-5 times smaller than the first has few digits left in float32, here as
    # in the reference, which is itself 2e-5 from its own float64 result on (63, 18) at N=4096.
    floor = 5e-9 * np.abs(golden.values).max()
    for row, path in enumerate(actual):
        key = golden.keys[golden.stored[row]]
        assert_close(path.numpy(), golden.values[row], key, floor)


@pytest.mark.parametrize(("rho", "field"), [(None, "distances"), ("log1p", "log1p_distances")])
def test_distances_equal_the_reference_loss(rho, field):
    golden = load("jtfs_small")
    loss = TransformLoss(JTFS(**golden.settings, unpad=False), rho=rho, distance="l2")
    x, target = torch.from_numpy(golden.x), torch.from_numpy(noise(golden.target_seed, 4096))
    with torch.no_grad():
        distances = loss.path_losses(x[None], target[None], range(255))
    # looser than the coefficients: a distance is a difference of them
    np.testing.assert_allclose(distances[:, 0].numpy(), getattr(golden, field), rtol=2e-5)


def test_gradients_equal_the_reference_loss():
    golden = load("jtfs_small")
    loss = TransformLoss(JTFS(**golden.settings, unpad=False), distance="l2")
    x = torch.from_numpy(golden.x)[None].requires_grad_()
    target = torch.from_numpy(noise(golden.target_seed, 4096))[None]
    for p, expected in zip(golden.gradient_paths.tolist(), golden.gradients, strict=True):
        (gradient,) = torch.autograd.grad(loss.path_losses(x, target, [p]).sum(), x)
        difference = gradient[0, ::16].numpy() - expected
        assert np.linalg.norm(difference) <= TOLERANCE * np.linalg.norm(expected), golden.keys[p]
