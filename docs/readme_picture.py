"""Draw the picture of the README: a chirp found by eight paths a step, and missed by spectrograms.

python docs/readme_picture.py [--out docs/plots/readme.png]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from multipath import StochasticLoss, TransformLoss
from multipath.applications.runs.files import write_figure
from multipath.transforms import JTFS, MultiResolutionSTFT

RATE = 2048.0
TRUE, LATE, GUESS = 2.0, 0.15, 0.7
OURS, SPECTRA = "8 of 225 JTFS paths", "multi-resolution STFT"

t = torch.arange(4096) / RATE - 1


def chirp(rate: Tensor, late: float = 0.0) -> Tensor:
    cycles = 256 * torch.expm1(0.693 * rate * (t - late)) / (0.693 * rate)
    return torch.exp(-((3 * (t - late)) ** 2)) * torch.sin(2 * torch.pi * cycles)


def fit(
    criterion: Callable[[Tensor, Tensor], Tensor], target: Tensor, steps: int
) -> tuple[list[float], list[float]]:
    """Seconds and octaves/s after each step."""
    rate = torch.nn.Parameter(torch.tensor([[GUESS]]))
    optimizer = torch.optim.Adam([rate], lr=0.05)
    seconds, found, begun = [], [], time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        criterion(chirp(rate), target).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - begun)
        found.append(rate.item())
    return seconds, found


def spectrogram(sound: Tensor) -> np.ndarray:
    window = torch.hann_window(256)
    magnitudes = torch.stft(sound, 256, 32, window=window, return_complex=True)[0].abs()
    return (20 * torch.log10(magnitudes / magnitudes.max() + 1e-3)).numpy()


def draw(steps: int = 121) -> Figure:
    target = chirp(torch.tensor([[TRUE]]), late=LATE)
    paths = TransformLoss(JTFS(4096, J=9, Q=(8, 2), T=2048, F=8, sample_rate=RATE))
    ours = StochasticLoss.for_training(paths, target, n_draws=8, generator=0)
    spectra = TransformLoss(MultiResolutionSTFT([64, 128, 256, 512, 1024]))
    fits = {OURS: fit(ours, target, steps), SPECTRA: fit(spectra, target, steps)}
    sounds = {"target": target, "first guess": chirp(torch.tensor([[GUESS]]))}
    for name, (_, found) in fits.items():
        sounds[name] = chirp(torch.tensor([[found[-1]]]))

    figure = Figure(figsize=(10.0, 4.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    for axes, (name, sound) in zip(above.subplots(1, 4, sharey=True), sounds.items(), strict=True):
        axes.imshow(
            spectrogram(sound.detach()),
            origin="lower",
            aspect="auto",
            extent=(0, 2, 0, RATE / 2),
            cmap="magma",
        )
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("time (s)", fontsize=8)
        axes.tick_params(labelsize=8)
        if name == "target":
            axes.set_ylabel("frequency (Hz)", fontsize=8)
    axes = below.subplots()
    axes.axhline(TRUE, color="0.4", linewidth=1, linestyle="--", label="target")
    for (name, (seconds, found)), color in zip(fits.items(), ("C0", "C1"), strict=True):
        axes.plot([0.0, *seconds], [GUESS, *found], color=color, label=name)
    axes.set_xlabel("time (s)", fontsize=8)
    axes.set_ylabel("guess (octaves/s)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, frameon=False, loc="center right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "plots" / "readme.png")
    parser.add_argument("--steps", type=int, default=121)
    options = parser.parse_args()
    write_figure(options.out, draw(options.steps), dpi=150)


if __name__ == "__main__":
    main()
