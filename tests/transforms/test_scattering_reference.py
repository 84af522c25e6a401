"""The readable twins agree with the golden values, and the transforms with the twins in float64."""

import numpy as np
import pytest
import torch

from multipath.transforms import JTFS, Scattering1D
from tests.golden import load, noise
from tests.reference.jtfs_twin import jtfs_keys, jtfs_path
from tests.reference.scattering1d_twin import scalogram, scattering1d_paths

# Everything that changes a branch of the definition: lengths that are no power of two, averaging
# shorter than the wavelets or no power of two, one wavelet per octave, F above and below 2**J_fr.
SCATTERING_CASES = [
    {"n_samples": 512, "J": 6, "Q": (8, 2), "T": 64},
    {"n_samples": 700, "J": 5, "Q": (5, 1), "T": 32},
    {"n_samples": 600, "J": 6, "Q": (4, 3), "T": 48},
    {"n_samples": 512, "J": 5, "Q": (1, 1), "T": 128},
]
FREQUENTIAL_CASES = [
    {"J_fr": 3, "Q_fr": 2, "F": 8},
    {"J_fr": 2, "Q_fr": 1, "F": 1},
    {"J_fr": 3, "Q_fr": 1, "F": 2},
    {"J_fr": 1, "Q_fr": 2, "F": 2},
]


def relative_error(actual, expected):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / np.abs(expected).max()


def test_scattering1d_twin_agrees_with_golden_values():
    golden = load("scattering1d_small")
    paths = scattering1d_paths(golden.x, *(golden.settings[name] for name in ("J", "Q", "T")))
    assert list(paths) == golden.keys
    errors = [
        relative_error(paths[golden.keys[i]], values)
        for i, values in zip(golden.stored, golden.values, strict=True)
    ]
    # The peer computes in float32: its error shows most where a path is nearly silent.
    assert np.median(errors) < 3e-7
    assert max(errors) < 5e-5


def test_jtfs_twin_agrees_with_golden_values():
    golden = load("jtfs_small")
    settings = golden.settings
    assert jtfs_keys(settings) == golden.keys
    layer = scalogram(golden.x, settings["J"], settings["Q"][0], settings["T"])
    for row in range(0, len(golden.stored), 6):
        key = golden.keys[golden.stored[row]]
        path = jtfs_path(golden.x, *key, settings, unpad=False, first_layer=layer)
        assert path.shape == tuple(golden.padded_shape)
        assert relative_error(path.ravel()[:: golden.entry_stride], golden.values[row]) < 2e-6, key
        np.testing.assert_allclose(np.linalg.norm(path), golden.norms[row], rtol=1e-6)


@pytest.mark.parametrize("settings", SCATTERING_CASES, ids=str)
def test_scattering1d_equals_its_twin(settings):
    x = noise(0, settings["n_samples"]).astype(np.float64)
    expected = scattering1d_paths(x, settings["J"], settings["Q"], settings["T"])
    transform = Scattering1D(**settings)
    assert transform.paths.keys == list(expected)
    actual = transform.coefficients(torch.from_numpy(x), range(len(expected)))
    for key, path in zip(expected, actual, strict=True):
        assert path.dtype == torch.float64
        assert relative_error(path, expected[key]) < 1e-10, key


@pytest.mark.parametrize("unpad", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{**a, **b} for a, b in zip(SCATTERING_CASES, FREQUENTIAL_CASES, strict=True)],
    ids=str,
)
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
        assert relative_error(path, expected) < 1e-10, key
