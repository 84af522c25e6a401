"""Golden values of the transforms, computed once with their reference implementations.

The reference needs an environment of its own; it is never a dependency of the tests:

    python3.11 -m venv peers
    peers/bin/pip install torch==2.13.0 scrapl-loss==0.1.0 auraloss==0.4.0
    peers/bin/python tests/golden/make_golden.py        # five minutes, 2 GB of memory

`scrapl-loss` gives single, padded JTFS paths (`unpad=False`); the kymatio vendored inside it gives
the full JTFS and the one-dimensional scattering, without their padding. This script checks, on
*every* path of every setting, that kymatio's JTFS is a slice of scrapl's, so one array serves both.

Every input is white noise, `noise(seed, n_samples)` below: tests draw it again and compare
`input_head`. All arrays are float32 results on one signal. Content of `jtfs_<setting>.npz`:

    settings, versions         JSON texts: constructor arguments, versions of the peers
    keys                       (P, 2): (n2, n_fr) of every second-order path in the peer's order
    xi2, j2, xi_fr, j_fr, spin (P,): kymatio's meta; xi in cycles per sample or per wavelet n1
    n1_max, n1_stride          (P,): first-order wavelets behind a path, and kymatio's bin stride
    stored                     indices of the paths whose coefficients are stored below
    values                     padded coefficients (n1, time) of each stored path, flattened in C
                               order, every `entry_stride`-th entry from the first, path after path
    padded_shape               shape (n1, time) of a padded path, the same for all paths
    norms                      L2 norm of all entries of each stored path
    time_start, time_stop      columns that kymatio keeps when it unpads
    array_norms                (P,): L2 norms of the paths so unpadded, kymatio's out_type="array"
                               (its out_type="list" keeps only 1 + n1_max // n1_stride rows besides)

`jtfs_small.npz` holds besides, for the signals of `seed` and `target_seed`, the distance of every
path as scrapl's loss has it (L2 over the padded path): `distances`; with log1p(S / 1e-3):
`log1p_distances`; and of some, `gradient_paths`, every 16th sample of the gradient with respect to
the input: `gradients`.

`scattering1d_<setting>.npz`: the same fields, with `keys` ((), (n1,), (n1, n2)) of shape (P, 2)
padded by -1, `xi`, `j` (P, 2) padded by NaN, and `values` (len(stored), time), unpadded, complete.

`mrstft.npz` holds magnitudes as auraloss's STFTLoss computes them, of noise and a tone of
`frequency` cycles per sample in one signal. Of resolution i: `shape_<i>` (frequency, time),
`values_<i>`, every `entry_stride`-th magnitude from the first in C order, and `gradient_<i>`, that
of their sum with respect to the input, every 8th sample.
"""

import json
import logging
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from auraloss.freq import STFTLoss
from scrapl import SCRAPLLoss  # also puts the vendored kymatio on the path: import it first

from kymatio.torch import Scattering1D, TimeFrequencyScattering  # isort: skip

HERE = Path(__file__).parent
SETTINGS = {
    "small": {"n_samples": 4096, "J": 10, "Q": (8, 2), "T": 1024, "J_fr": 3, "Q_fr": 2, "F": 8},
    "granular": {"n_samples": 32768, "J": 12, "Q": (8, 2), "T": 4096, "J_fr": 3, "Q_fr": 2, "F": 8},
    "tr808": {"n_samples": 44100, "J": 12, "Q": (8, 2), "T": 2048, "J_fr": 5, "Q_fr": 2, "F": 1},
}
SEEDS = {"small": 11, "granular": 12, "tr808": 13}
TARGET_SEED = 21
# Coprime with both axes of a padded path, so that the subset walks over all rows and columns.
ENTRY_STRIDES = {"small": 1, "granular": 1, "tr808": 25}
RESOLUTIONS = {
    "fft_sizes": [1024, 2048, 512, 300],  # three as auraloss has them, one that fills its frames
    "hop_sizes": [120, 240, 50, 77],
    "win_lengths": [600, 1200, 240, 300],
}


def noise(seed, n_samples):
    return np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)


def versions():
    peers = {name: version(name) for name in ("scrapl-loss", "torch", "numpy", "scipy")}
    return json.dumps(
        {**peers, "kymatio": "vendored in scrapl-loss", "python": platform.python_version()}
    )


def spread_paths(n_rates, n_fr):
    """Three paths per rate; the frequential wavelets shift from rate to rate until all occur."""
    chosen = {(r, (7 * r + step) % n_fr) for r in range(n_rates) for step in (0, 4, 11)}
    assert {f for _, f in chosen} == set(range(n_fr))
    return sorted(r * n_fr + f for r, f in chosen)


def jtfs_arguments(settings):
    arguments = dict(settings)
    return arguments.pop("n_samples"), arguments


def scrapl_loss(settings, **options):
    n_samples, a = jtfs_arguments(settings)
    q1, q2 = a.pop("Q")
    return SCRAPLLoss(shape=n_samples, Q1=q1, Q2=q2, **a, **options)


def padded_paths(loss, x):
    x = torch.from_numpy(x)[None, None]
    return np.stack(
        [
            loss.jtfs.scattering_singlepath(x, *key)["coef"].numpy()[0, 0, ..., 0]
            for key in loss.scrapl_keys
        ]
    )


def kymatio_jtfs(settings, x, out_type):
    n_samples, arguments = jtfs_arguments(settings)
    transform = TimeFrequencyScattering(
        shape=n_samples, out_type=out_type, format="joint", **arguments
    )
    return transform, transform(torch.from_numpy(x)[None])


def l2(array):
    return np.sqrt(np.sum(np.square(array, dtype=np.float64)))


def make_jtfs(name):
    settings = SETTINGS[name]
    x = noise(SEEDS[name], settings["n_samples"])
    loss = scrapl_loss(settings)
    keys = list(loss.scrapl_keys)
    padded = padded_paths(loss, x)

    transform, as_list = kymatio_jtfs(settings, x, "list")
    second_order = {path["n"]: path for path in as_list if len(path["n"]) == 2}
    assert list(second_order) == keys
    start = int(transform.ind_start[transform.log2_stride])
    stop = int(transform.ind_end[transform.log2_stride])
    for key, scrapl_path in zip(keys, padded, strict=True):
        path = second_order[key]
        rows = 1 + path["n1_max"] // path["n1_stride"]
        slice_ = scrapl_path[:rows, start:stop]
        np.testing.assert_allclose(
            path["coef"][0].numpy(), slice_, rtol=0, atol=1e-6 * slice_.max()
        )
    _, as_array = kymatio_jtfs(settings, x, "array")
    as_array = as_array[0, -len(keys) :].numpy()  # the first-order paths come first
    np.testing.assert_allclose(as_array, padded[..., start:stop], rtol=0, atol=1e-6 * padded.max())

    meta = transform.meta()
    second = [i for i, key in enumerate(meta["key"]) if len(key) == 2]
    assert [meta["key"][i] for i in second] == keys
    n_fr = 1 + max(key[1] for key in keys)
    stored = list(range(len(keys))) if name == "small" else spread_paths(len(keys) // n_fr, n_fr)
    arrays = {
        "settings": json.dumps(settings),
        "versions": versions(),
        "seed": SEEDS[name],
        "input_head": x[:8],
        "keys": np.array(keys, dtype=np.int16),
        "xi2": meta["xi"][second, 1],
        "j2": meta["j"][second, 1].astype(np.int8),
        "xi_fr": meta["xi_fr"][second],
        "j_fr": meta["j_fr"][second].astype(np.int8),
        "spin": meta["spin"][second].astype(np.int8),
        "n1_max": np.array([second_order[key]["n1_max"] for key in keys], dtype=np.int16),
        "n1_stride": np.array([second_order[key]["n1_stride"] for key in keys], dtype=np.int16),
        "stored": np.array(stored, dtype=np.int16),
        "entry_stride": ENTRY_STRIDES[name],
        "values": np.concatenate([padded[i].ravel()[:: ENTRY_STRIDES[name]] for i in stored]),
        "padded_shape": np.array(padded.shape[1:]),
        "norms": np.array([l2(padded[i]) for i in stored]),
        "time_start": start,
        "time_stop": stop,
        "array_norms": np.array([l2(path[:, start:stop]) for path in padded]),
    }
    if name == "small":
        arrays |= make_distances(settings, x)
    return arrays


def make_distances(settings, x):
    target = noise(TARGET_SEED, settings["n_samples"])
    x, target = (torch.from_numpy(signal)[None, None] for signal in (x, target))
    plain = scrapl_loss(settings, grad_mult=1.0, use_p_adam=False, use_p_saga=False)
    log1p = scrapl_loss(
        settings, grad_mult=1.0, use_p_adam=False, use_p_saga=False, use_rho_log1p=True
    )
    gradient_paths = range(0, plain.n_paths, 23)
    gradients = []
    for p in gradient_paths:
        leaf = x.clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(plain(leaf, target, path_idx=p), leaf)
        gradients.append(gradient.flatten()[::16].numpy())
    return {
        "target_seed": TARGET_SEED,
        "distances": np.array([float(plain(x, target, path_idx=p)) for p in range(plain.n_paths)]),
        "log1p_distances": np.array(
            [float(log1p(x, target, path_idx=p)) for p in range(plain.n_paths)]
        ),
        "gradient_paths": np.array(gradient_paths, dtype=np.int16),
        "gradients": np.stack(gradients),  # every 16th sample
    }


def make_scattering1d(name):
    settings = {key: SETTINGS[name][key] for key in ("n_samples", "J", "Q", "T")}
    n_samples, arguments = jtfs_arguments(settings)
    x = noise(SEEDS[name], n_samples)
    transform = Scattering1D(shape=n_samples, out_type="list", **arguments)
    paths = transform(torch.from_numpy(x)[None])
    meta = transform.meta()
    keys = [path["n"] for path in paths]
    assert keys == meta["key"]
    # Everything when small, else order 0, both ends of order 1, and a spread over the rest.
    step = 1 if name == "small" else 17
    stored = sorted({0, 1, len(keys) - 1, *range(0, len(keys), step)})
    return {
        "settings": json.dumps(settings),
        "versions": versions(),
        "seed": SEEDS[name],
        "input_head": x[:8],
        "keys": np.array([key + (-1,) * (2 - len(key)) for key in keys], dtype=np.int16),
        "xi": meta["xi"],
        "j": meta["j"],
        "stored": np.array(stored, dtype=np.int16),
        "values": np.stack([paths[i]["coef"][0].numpy() for i in stored]),
    }


def make_mrstft():
    n_samples, seed, frequency, entry_stride = 8192, 14, 0.0731, 37
    tone = np.cos(2 * np.pi * frequency * np.arange(n_samples)).astype(np.float32)
    x = torch.from_numpy(noise(seed, n_samples) + tone)[None]
    peers = {name: version(name) for name in ("auraloss", "torch", "numpy")}
    arrays = {
        "settings": json.dumps(RESOLUTIONS),
        "versions": json.dumps({**peers, "python": platform.python_version()}),
        "seed": seed,
        "n_samples": n_samples,
        "frequency": frequency,
        "input_head": x[0, :8].numpy(),
        "entry_stride": entry_stride,
    }
    for index, sizes in enumerate(zip(*RESOLUTIONS.values(), strict=True)):
        leaf = x.clone().requires_grad_()
        with torch.enable_grad():
            magnitude, _phase = STFTLoss(*sizes).stft(leaf)
            (gradient,) = torch.autograd.grad(magnitude.sum(), leaf)
        arrays[f"shape_{index}"] = np.array(magnitude.shape[1:])
        arrays[f"values_{index}"] = magnitude.detach().flatten()[::entry_stride].numpy()
        arrays[f"gradient_{index}"] = gradient[0, ::8].numpy()
    return arrays


def main():
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for kind, make in (("scattering1d", make_scattering1d), ("jtfs", make_jtfs)):
        for name in SETTINGS:
            file = HERE / f"{kind}_{name}.npz"
            arrays = make(name)
            np.savez_compressed(file, **arrays)
            print(
                f"{file.name}: {len(arrays['keys'])} paths, {len(arrays['stored'])} stored,"
                f" {file.stat().st_size / 1e3:.0f} kB",
                flush=True,
            )
    file = HERE / "mrstft.npz"
    np.savez_compressed(file, **make_mrstft())
    print(f"{file.name}: {file.stat().st_size / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
