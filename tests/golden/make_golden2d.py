"""Golden values of the scattering of images, computed once with kymatio.

kymatio needs an environment of its own; it is never a dependency of the tests:

    python3.11 -m venv peers
    peers/bin/pip install torch==2.13.0 kymatio==0.3.0 "scipy<1.15"
    peers/bin/python tests/golden/make_golden2d.py        # seconds

Content of `scattering2d.npz`, where `<name>` is one of SETTINGS and the image is white noise,
`image(<name>_seed, shape)` below:

    settings, versions         JSON texts: constructor arguments by name, versions of the peers
    <name>_seed, <name>_head   seed of the image and its first 8 pixels
    <name>_n                   (P, 2): numbers L * j + theta of the wavelets, padded by -1
    <name>_j, <name>_theta     (P, 2): kymatio's meta, padded by -1
    <name>_values              (P, H / 2^J, W / 2^J), float64, with filters in double precision:
                               kymatio rounds them to single precision, which is patched
    <name>_single              the same, float32, from kymatio as it is
    <name>_gradient            gradient of the sum of squares of all values, float64
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import kymatio.scattering2d.filter_bank as filter_bank
import numpy as np
import torch
from kymatio.scattering2d.frontend.torch_frontend import ScatteringTorch2D

HERE = Path(__file__).parent
SETTINGS = {
    "square": {"shape": (32, 32), "J": 3, "L": 8},
    "oblong": {"shape": (19, 36), "J": 2, "L": 5},  # odd, padded by an odd number of pixels
    "smallest": {"shape": (16, 8), "J": 3, "L": 4},  # the mirror image is as wide as the image
    "first": {"shape": (9, 12), "J": 1, "L": 3},  # no second order
}


class DoublePrecision:
    """numpy, but single precision is double precision."""

    complex64, float32 = np.complex128, np.float64

    def __getattr__(self, name):
        return getattr(np, name)


def image(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape)


def padded(tuples):
    return np.array([tuple(t) + (-1,) * (2 - len(t)) for t in tuples], dtype=np.int8)


def transform(settings):
    return ScatteringTorch2D(out_type="list", **settings)


def main():
    torch.set_num_threads(1)
    peers = {name: version(name) for name in ("kymatio", "torch", "numpy", "scipy")}
    arrays = {
        "settings": json.dumps(SETTINGS),
        "versions": json.dumps({**peers, "python": platform.python_version()}),
    }
    for seed, (name, settings) in enumerate(SETTINGS.items()):
        x = torch.from_numpy(image(seed, settings["shape"]))
        filter_bank.np = np
        single = transform(settings)(x.float())
        filter_bank.np = DoublePrecision()
        leaf = x.clone().requires_grad_()
        paths = transform(settings).double()(leaf)
        sum(path["coef"].square().sum() for path in paths).backward()
        arrays |= {
            f"{name}_seed": seed,
            f"{name}_head": x.flatten()[:8].numpy(),
            f"{name}_n": padded(path["n"] for path in paths),
            f"{name}_j": padded(path["j"] for path in paths),
            f"{name}_theta": padded(path["theta"] for path in paths),
            f"{name}_values": torch.stack([path["coef"] for path in paths]).detach().numpy(),
            f"{name}_single": torch.stack([path["coef"] for path in single]).numpy(),
            f"{name}_gradient": leaf.grad.numpy(),
        }
    np.savez_compressed(HERE / "scattering2d.npz", **arrays)


if __name__ == "__main__":
    main()
