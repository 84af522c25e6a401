"""Spectrograms of sounds, one above the other, on common scales."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray
from torch import Tensor

from multipath._internal.axes import plain

LOWEST = 40.0  # Hz, on the log axis
RANGE = 80.0  # dB below the loudest bin of a sound


def plot_spectrograms(sounds: Mapping[str, tuple[Tensor, int]]) -> Figure:
    """Draw one panel per sound: time (s), log-frequency (Hz), decibels below its loudest bin.

    Args:
        sounds: Samples of shape (T,) and their sample rate (Hz), by the titles of the panels.
    """
    figure = Figure(figsize=(7.0, 2.4 * len(sounds)), layout="constrained")
    panels = figure.subplots(len(sounds), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (title, (samples, rate)) in zip(panels, sounds.items(), strict=True):
        times, frequencies, level = spectrogram(samples, rate)
        mesh = axes.pcolormesh(
            times, frequencies, level, cmap="magma", vmin=-RANGE, vmax=0.0, rasterized=True
        )
        axes.set_yscale("log")
        axes.set_ylim(LOWEST, max(rate / 2 for _, rate in sounds.values()))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(plain(title), fontsize=10, loc="left")
        axes.set_ylabel("frequency (Hz)")
    panels[-1].set_xlabel("time (s)")
    figure.colorbar(mesh, ax=list(panels), label="level (dB)", fraction=0.03)
    return figure


def magma(count: int = 64) -> list[tuple[int, int, int]]:
    """The colors of spectrograms from silent to loud: red, green and blue, 0 to 255.

    Args:
        count: How many.

    Example:
        >>> magma(3)
        [(0, 0, 4), (183, 55, 121), (252, 253, 191)]
    """
    colors = colormaps["magma"](np.linspace(0.0, 1.0, count))[:, :3]
    return [(red, green, blue) for red, green, blue in (255 * colors).round().astype(int).tolist()]


def spectrogram(
    samples: Tensor, rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute frame times (s), frequencies (Hz) and levels (dB, 0 at the loudest bin).

    Windows last about 1/20 s.

    Example:
        >>> tone = torch.sin(2 * torch.pi * 500 * torch.arange(4000) / 4000)
        >>> times, frequencies, level = spectrogram(tone, 4000)
        >>> float(frequencies[level[:, len(times) // 2].argmax()])
        500.0
    """
    size = 2 ** max(4, round(float(np.log2(rate / 20))))
    hop = max(1, size // 8, len(samples) // 800)  # no more frames than a page has pixels
    found = torch.stft(
        samples.detach().cpu().double(),
        size,
        hop,
        window=torch.hann_window(size, dtype=torch.float64, device="cpu"),
        pad_mode="constant",
        return_complex=True,
    ).abs()
    power = (found / found.max().clamp_min(1e-12)).clamp_min(1e-12).numpy()
    times = np.arange(power.shape[1], dtype=np.float64) * hop / rate
    level: NDArray[np.float64] = 20 * np.log10(power)
    return times, np.arange(size // 2 + 1, dtype=np.float64) * rate / size, level
