"""What the tests of transforms share: a table of all, noise, and comparisons."""

from functools import cache

import numpy as np
import torch

from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    Tiled,
    WaveletPacket,
    WaveletTransform,
)

N = 1024  # samples of a signal, or pixels of an image
TRANSFORMS = {
    "jtfs": lambda: JTFS(N, J=6, Q=(4, 1), J_fr=2, Q_fr=1, T=128, F=4),
    "jtfs padded": lambda: JTFS(N, J=6, Q=(4, 2), J_fr=2, Q_fr=2, T=64, F=1, unpad=False),
    "scattering1d": lambda: Scattering1D(N, J=6, Q=(4, 1), T=128),
    "scattering1d, first order": lambda: Scattering1D(N, J=6, Q=8, T=64, max_order=1),
    "scattering1d, means": lambda: Scattering1D(N, J=6, Q=(4, 1), T="global", border="periodic"),
    "jtfs, moduli": lambda: JTFS(N, 4, (2, 1), 1, 1, T="none", F="none", orders=(0, 1, 2)),
    "tiled": lambda: Tiled(JTFS(N // 2, J=3, Q=(4, 1), J_fr=2, Q_fr=1, T=8, F=4, orders=(0, 1, 2))),
    "mrstft": lambda: MultiResolutionSTFT([64, 256, 128], [16, 64, 50], [64, 200, 128]),
    "wavelet": lambda: WaveletTransform("db4", level=5, mode="symmetric"),
    "wavelet packet": lambda: WaveletPacket("sym5", level=3),
    "scattering2d": lambda: Scattering2D((32, 32), J=3, L=3),
    "scattering2d, means": lambda: Scattering2D((32, 32), 2, 2, border="periodic", T="global"),
}


@cache
def shared(name):
    """One transform of the table for all tests, which leave it as it is."""
    return TRANSFORMS[name]()


def fitting(transform, x):
    """Signals of N samples as the transform takes them."""
    return x.unflatten(-1, getattr(transform, "shape", (N,)))


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def double_noise(*shape, seed=0, dtype=torch.float64):
    return noise(*shape, seed=seed, dtype=dtype)


SMALL = {  # for what is evaluated many times
    "jtfs": lambda: JTFS(n_samples=128, J=3, Q=(2, 1), J_fr=1, Q_fr=1, T=16, F=2),
    "jtfs, reduced": lambda: JTFS(
        n_samples=128, J=3, Q=(2, 1), J_fr=1, Q_fr=1, T=16, F=2, sampling="reduced"
    ),
    "jtfs, all orders": lambda: JTFS(
        128, 3, (2, 1), 1, 1, T="none", F="global", orders=(0, 1, 2), border="zero"
    ),
    "scattering1d": lambda: Scattering1D(n_samples=128, J=3, Q=(2, 1), T=8),
    "tiled": lambda: Tiled(Scattering1D(n_samples=64, J=1, Q=(2, 1), T=2)),
    "scattering2d": lambda: Scattering2D((8, 8), J=1, L=2),
    "stft": lambda: MultiResolutionSTFT([16, 32], [8, 16], [16, 32]),
    "wavelet packet": lambda: WaveletPacket("db2", level=2),
    "wavelet": lambda: WaveletTransform("db2", level=2),
}


def small_signal(name, seed, items=2, dtype=torch.float64):
    """White noise of the shape that a small transform takes."""
    shape = (8, 8) if name == "scattering2d" else (128,)
    return noise(items, *shape, seed=seed, dtype=dtype)


def random_subset(transform, size, seed):
    """Some paths of a transform, in any order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(len(transform.paths), generator=generator)[:size].tolist()


def assert_close(actual, expected, key, floor=0.0):
    difference = np.maximum(np.abs(actual - expected) - floor, 0)
    assert actual.dtype == np.float32
    assert difference.max() <= 1e-5 * np.abs(expected).max(), key
    assert np.linalg.norm(difference) <= 1e-5 * np.linalg.norm(expected), key


# Everything that changes a branch of the definition: lengths that are odd, prime or no power of
# two, averaging shorter than the wavelets or no power of two, one wavelet per octave, F above and
# below 2**J_fr.
SCATTERING_CASES = [
    {"n_samples": 512, "J": 6, "Q": (8, 2), "T": 64},
    {"n_samples": 700, "J": 5, "Q": (5, 1), "T": 32},
    {"n_samples": 600, "J": 6, "Q": (4, 3), "T": 48},
    {"n_samples": 512, "J": 5, "Q": (1, 1), "T": 128},
    {"n_samples": 997, "J": 6, "Q": (3, 1), "T": 64},
    {"n_samples": 333, "J": 6, "Q": (3, 1), "T": 64},
]


def assert_near(actual, expected, tolerance=1e-12, key=None):
    """Entry by entry, against the largest."""
    actual, expected = torch.as_tensor(actual), torch.as_tensor(expected)
    assert actual.shape == expected.shape, key
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max(), key


PRECISION = {torch.float64: 1e-12, torch.float32: 1e-5}


def require_equal(found, expected, dtype):
    assert found.dtype == dtype
    assert tuple(found.shape) == expected.shape
    tolerance = PRECISION[dtype] * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


# Of 512 samples; frames kept and dropped, mixing by wide and by narrow filters, Q of 1 and more.
SCATTERINGS = {
    "scattering1d": lambda: Scattering1D(512, J=5, Q=(4, 1), T=32),
    "scattering1d, one per octave": lambda: Scattering1D(512, J=5, Q=(1, 1), T=48, unpad=False),
    "jtfs": lambda: JTFS(512, J=5, Q=(4, 1), J_fr=2, Q_fr=1, T=32, F=4),
    "jtfs, frames kept": lambda: JTFS(512, J=5, Q=(3, 2), J_fr=2, Q_fr=2, T=64, F=2, unpad=False),
    "scattering1d, moduli": lambda: Scattering1D(512, J=5, Q=(4, 1), T="none", border="zero"),
    "jtfs, moduli": lambda: JTFS(
        512, 5, (3, 1), 2, 1, T="none", F="none", orders=(0, 1, 2), border="periodic"
    ),
}
