"""Golden values of kymatio's classes, computed once with two of its versions.

kymatio needs environments of its own; it is never a dependency of the tests:

    python3.11 -m venv released; python3.11 -m venv head
    released/bin/pip install torch==2.13.0 kymatio==0.3.0 "scipy<1.15"
    head/bin/pip install torch==2.13.0 "scipy<1.15"
    head/bin/pip install git+https://github.com/kymatio/kymatio@11552ed5533d566e6c60d77eecccb37dfb229dec
    for each: bin/python tests/golden/make_kymatio.py        # seconds

Content of `kymatio_<version>.npz`, where `<name>` is one of CASES and the input is white noise of
`seed`, float64:

    cases                      JSON text: class and constructor arguments by name
    <name>_keys                JSON text: the `n` of every path, where there are such
    <name>_shapes              JSON text: shapes of the outputs of the NumPy frontend, path by path
    <name>_values              every `<name>_stride`-th entry of them, one after the other, float32
    <name>_gradient            gradient of the sum of squares of all outputs of the torch frontend,
                               float32, every 4th entry
"""

import json
import warnings
from importlib import import_module
from pathlib import Path

import kymatio
import numpy as np
import torch

VERSION = ".".join(kymatio.__version__.split(".")[:2])
SEED = 4
TIME = {"J": 6, "shape": 700, "Q": [4, 2]}
JOINT = {"J": 5, "J_fr": 2, "Q": [4, 1], "shape": 500}
RELEASED = {
    "time": ["Scattering1D", TIME],
    "window": ["Scattering1D", {**TIME, "T": 24}],
    "octave": ["Scattering1D", {"J": 5, "shape": 512, "Q": 1, "out_type": "list"}],
}
CASES = {
    **RELEASED,
    "stride": ["Scattering1D", {**TIME, "stride": 16}],
    "first": ["Scattering1D", {**TIME, "max_order": 1, "T": 1}],
    "sum": ["Scattering1D", {**TIME, "T": "global"}],
    "moduli": ["Scattering1D", {"J": 5, "shape": 300, "Q": [2, 1], "T": 0, "out_type": "dict"}],
    "joint": ["TimeFrequencyScattering", {**JOINT, "format": "joint"}],
    "split": ["TimeFrequencyScattering", {**JOINT, "Q_fr": 2, "F": 2, "stride": 16}],
    "joint sum": ["TimeFrequencyScattering", {**JOINT, "T": "global", "out_type": "dict"}],
    "joint moduli": [
        "TimeFrequencyScattering",
        {**JOINT, "T": 0, "F": 0, "out_type": "list", "format": "joint"},
    ],
    "joint total": [
        "TimeFrequencyScattering",
        {**JOINT, "T": "global", "F": "global", "out_type": "dict"},
    ],
    "image": ["Scattering2D", {"J": 2, "shape": [19, 12], "L": 3}],
    "torus": ["Scattering2D", {"J": 2, "shape": [19, 12], "L": 3, "pre_pad": True}],
}


def paths(output):
    """Keys, or None, and coefficients of any output."""
    if isinstance(output, dict):
        return list(output), list(output.values())
    if isinstance(output, list):
        return [path["n"] for path in output], [path["coef"] for path in output]
    return None, [output]


def main():
    cases = RELEASED if VERSION == "0.3" else CASES
    found = {"cases": json.dumps(cases), "seed": SEED}
    for name, (kind, given) in cases.items():
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        numpy, torched = (
            getattr(import_module(f"kymatio.{frontend}"), kind)(**settings)
            for frontend in ("numpy", "torch")
        )
        shape = settings["shape"]
        if settings.get("pre_pad"):
            shape = numpy._M_padded, numpy._N_padded
        x = np.random.default_rng(SEED).standard_normal(shape)
        keys, values = paths(numpy(x))
        flat = np.concatenate([value.ravel() for value in values])
        stride = 1 + len(flat) // 600
        moving = torch.from_numpy(x.astype(np.float32)).requires_grad_()
        sum(value.square().sum() for value in paths(torched(moving))[1]).backward()
        found |= {
            f"{name}_keys": json.dumps(keys, default=int),
            f"{name}_shapes": json.dumps([value.shape for value in values]),
            f"{name}_stride": stride,
            f"{name}_values": flat[::stride].astype(np.float32),
            f"{name}_gradient": moving.grad.numpy().ravel()[::4],
        }
    np.savez_compressed(Path(__file__).parent / f"kymatio_{VERSION}.npz", **found)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
