"""How closely JTFS agrees with scrapl-loss at settings that the tests do not hold values of.

python -m benchmarks.parity --peers-python PYTHON [--quick]

PYTHON is an interpreter that has scrapl-loss 0.1 and what this project needs: the script runs in
it, so that both sides share one process, one torch and one input. Keys are compared on all paths;
coefficients and gradients, float32 on white noise, on some that are spread over all of them.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from .tables import table

SETTINGS: list[dict[str, Any]] = [
    {"n_samples": 20000, "J": 10, "Q": (12, 1), "J_fr": 4, "Q_fr": 2, "T": 1024, "F": 4},
    {"n_samples": 30011, "J": 11, "Q": (8, 2), "J_fr": 3, "Q_fr": 2, "T": 2048, "F": 8},
    {"n_samples": 4096, "J": 9, "Q": (16, 1), "J_fr": 5, "Q_fr": 2, "T": 512, "F": 16},
    {"n_samples": 8192, "J": 9, "Q": (8, 3), "J_fr": 3, "Q_fr": 3, "T": 300, "F": 5},
]
QUICK: list[dict[str, Any]] = [
    {"n_samples": 1000, "J": 6, "Q": (4, 1), "J_fr": 2, "Q_fr": 1, "T": 100, "F": 3}
]


def errors(settings: dict[str, Any], n_compared: int) -> list[str]:
    """One row: largest relative errors of coefficients and gradients over some paths."""
    import torch
    from scrapl import SCRAPLLoss

    from multipath.transforms import JTFS

    ours = JTFS(**settings, unpad=False)
    others = {name: value for name, value in settings.items() if name not in ("n_samples", "Q")}
    theirs = SCRAPLLoss(
        shape=settings["n_samples"], Q1=settings["Q"][0], Q2=settings["Q"][1], **others
    )
    keys = [tuple(key) for key in theirs.scrapl_keys]
    if keys != [tuple(key) for key in ours.paths.keys]:
        raise SystemExit(f"the paths differ at {settings}")
    signal = torch.randn(1, settings["n_samples"], generator=torch.Generator().manual_seed(0))
    count = min(n_compared, len(keys))
    chosen = sorted({round(i * (len(keys) - 1) / max(1, count - 1)) for i in range(count)})
    worst = {"coefficients": 0.0, "gradients": 0.0}
    for index in chosen:
        x, y = (signal.clone().requires_grad_() for _ in range(2))
        (a,) = ours.coefficients(x, [index])
        b = theirs.jtfs.scattering_singlepath(y[:, None], *keys[index])["coef"][:, 0, ..., 0]
        if a.shape != b.shape:
            raise SystemExit(f"path {keys[index]} has shape {tuple(a.shape)}, not {tuple(b.shape)}")
        a.square().sum().backward()
        b.square().sum().backward()
        for name, (p, q) in {"coefficients": (a, b), "gradients": (x.grad, y.grad)}.items():
            error = float((p - q).detach().norm() / q.detach().norm())
            worst[name] = max(worst[name], error)
    words = ", ".join(f"{name}={value}" for name, value in settings.items())
    compared = f"{len(chosen)} of {len(keys)}"
    return [words, compared, *(f"{value:.1e}" for value in worst.values())]


def main() -> None:
    """Compare, in the interpreter that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", help="an interpreter with scrapl-loss; default this one")
    parser.add_argument("--quick", action="store_true", help="one small setting")
    parser.add_argument("--paths", type=int, default=24, help="paths compared at each setting")
    options = parser.parse_args()
    if options.peers_python:
        arguments = ["--paths", str(options.paths), *["--quick"] * options.quick]
        os.chdir(Path(__file__).parents[1])
        python = options.peers_python
        os.execv(python, [python, "-m", "benchmarks.parity", *arguments])
    try:
        rows = [errors(each, options.paths) for each in (QUICK if options.quick else SETTINGS)]
    except ImportError as error:
        parser.exit(
            2, f"scrapl-loss is needed, in an interpreter named by --peers-python: {error}\n"
        )
    print(table(["setting", "paths", "coefficients", "gradients"], rows, words=(0, 1)))


if __name__ == "__main__":
    main()
