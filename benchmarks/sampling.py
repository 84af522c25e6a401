"""How far reduced sampling is from exact: relative error of coefficients and gradients, by path.

python -m benchmarks.sampling --recordings FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multipath.transforms import JTFS, Scattering1D

from .tables import table

RESULTS = Path(__file__).parent / "results"
RECORDINGS = Path(__file__).parents[2] / "shared" / "data" / "tr808"
N_SAMPLES = 32768
TRANSFORMS = {
    "JTFS": (JTFS, {"J": 12, "Q": (8, 2), "J_fr": 3, "Q_fr": 2, "T": 4096, "F": 8}),
    "Scattering1D": (Scattering1D, {"J": 12, "Q": (8, 2), "T": 4096}),
}
FLOOR = 1e-3  # noise added to each signal, relative to its peak
AUDIBLE = 1e-3  # paths quieter than this fraction of the loudest are left out


def sounds(recordings: Path, n_recordings: int) -> dict[str, Tensor]:
    """Signals of float64: noise, chirps up and down, a trembling tone, and recordings at hand."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(N_SAMPLES, dtype=torch.float64) / N_SAMPLES
    window = torch.hann_window(N_SAMPLES, dtype=torch.float64)
    rising = torch.sin(2 * torch.pi * (200 * time + 4500 * time**2)) * window
    found = {
        "noise": torch.randn(N_SAMPLES, generator=generator, dtype=torch.float64),
        "rising chirp": rising,
        "falling chirp": rising.flip(0),
        "trembling tone": torch.sin(6000 * torch.pi * time) * (1 + torch.sin(40 * torch.pi * time)),
    }
    files = sorted(recordings.glob("*.wav")) if recordings.is_dir() else []
    if files:
        import soundfile

        for file in files[:: max(1, len(files) // n_recordings)][:n_recordings]:
            samples, _ = soundfile.read(file, always_2d=True)
            mono = np.pad(samples.mean(axis=1), (0, N_SAMPLES))[:N_SAMPLES]
            found[f"drum {file.stem}"] = torch.from_numpy(mono)
    else:
        print(f"no recordings in {recordings}: made signals only")
    # where a modulus vanishes, the direction of its gradient means nothing, whatever computes it
    return {name: x + FLOOR * x.abs().max() * found["noise"] for name, x in found.items()}


def relative_errors(name: str, x: Tensor, stride: int) -> dict[str, float]:
    """Median and worst relative error over the audible paths of one signal."""
    kind, settings = TRANSFORMS[name]
    norms, errors, gradients = [], [], []
    transforms = [
        kind(N_SAMPLES, sampling=sampling, **settings) for sampling in ("exact", "reduced")
    ]
    for path in range(0, len(transforms[0].paths), stride):
        values, slopes = [], []
        for transform in transforms:
            signal = x.clone().requires_grad_()
            (value,) = transform.coefficients(signal, [path])
            value.norm().backward()
            values.append(value.detach())
            slopes.append(signal.grad)
        norms.append(values[0].norm())
        errors.append((values[1] - values[0]).norm() / norms[-1])
        gradients.append((slopes[1] - slopes[0]).norm() / slopes[0].norm())
    audible = torch.stack(norms) > AUDIBLE * max(norms)
    of_values, of_gradients = torch.stack(errors)[audible], torch.stack(gradients)[audible]
    return {
        "paths": int(audible.sum()),
        "median": float(of_values.median()),
        "worst": float(of_values.max()),
        "gradient median": float(of_gradients.median()),
        "gradient worst": float(of_gradients.max()),
    }


def as_markdown(report: dict[str, dict[str, dict[str, float]]]) -> str:
    """A table a transform."""
    parts = []
    for name, found in report.items():
        rows = [
            [signal, *(f"{v}" if isinstance(v, int) else f"{v:.1e}" for v in row.values())]
            for signal, row in found.items()
        ]
        parts.append(f"### {name}\n\n{table(['signal', *next(iter(found.values()))], rows)}")
    return "\n".join(parts)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=Path, default=RECORDINGS, help="folder of .wav files")
    parser.add_argument("--n-recordings", type=int, default=4)
    parser.add_argument("--stride", type=int, default=7, help="every so many paths")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    report: dict[str, dict[str, dict[str, float]]] = {name: {} for name in TRANSFORMS}
    for signal, x in sounds(options.recordings, options.n_recordings).items():
        for name in TRANSFORMS:
            report[name][signal] = relative_errors(name, x, options.stride)
            print(name, signal, report[name][signal], flush=True)
        (options.out / "sampling.json").write_text(
            json.dumps(report, indent=1) + "\n", encoding="utf-8"
        )
        (options.out / "sampling.md").write_text(as_markdown(report), encoding="utf-8")


if __name__ == "__main__":
    main()
