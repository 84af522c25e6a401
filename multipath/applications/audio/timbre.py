"""Features of the timbre of short frames: loudness, brightness and noisiness."""

from __future__ import annotations

import math

import torch
from scipy.signal.windows import flattop
from torch import Tensor

from .biquad import biquad

QUIETEST = 1e-8
"""Mean square added to every other, so that silence has a loudness: -80.7 LUFS."""


def loudness(frames: Tensor, sample_rate: float) -> Tensor:
    """Compute the loudness in LUFS: the mean square after K-weighting, -80.7 at silence.

    Args:
        frames: Shape (..., T). The filters start from rest in each.
        sample_rate: Sample rate in Hz.

    Returns:
        Shape (...,).

    Example:
        >>> tone = torch.sin(2 * torch.pi * 997 / 48000 * torch.arange(48000))
        >>> round(loudness(tone, 48000.0).item(), 2)  # full scale
        -3.01

    Source: Recommendation ITU-R BS.1770-4, without gates; its filters are for 48 kHz, those for
    other rates have the same analogue prototype.
    """
    for numerator, denominator in k_weighting(sample_rate):
        frames = biquad(frames, numerator, denominator)
    return lufs(frames.square().mean(dim=-1))


def k_weighting(sample_rate: float) -> list[tuple[Tensor, Tensor]]:
    """Design the two filters of BS.1770, a high shelf and a high-pass: numerator and denominator.

    Example:
        >>> (numerator, denominator), _ = k_weighting(48000.0)
        >>> numerator.numpy().round(4).tolist(), denominator.numpy().round(4).tolist()
        ([1.5351, -2.6917, 1.1984], [1.0, -1.6907, 0.7325])
    """
    gain = 10 ** (3.999843853973347 / 20)
    shelf = _bilinear(
        (gain, gain**0.4996667741545416, 1.0), 1681.974450955533, 0.7071752369554196, sample_rate
    )
    _, denominator = _bilinear((1.0, 0.0, 0.0), 38.13547087602444, 0.5003270373238773, sample_rate)
    # the standard does not normalise the numerator of its high-pass
    return [shelf, (torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64, device="cpu"), denominator)]


def _bilinear(
    numerator: tuple[float, float, float], corner: float, q: float, sample_rate: float
) -> tuple[Tensor, Tensor]:
    """Make (a s^2 + b s/Q + c) / (s^2 + s/Q + 1) digital, where s = 1 at the corner in Hz."""
    k = math.tan(math.pi * corner / sample_rate)

    def discrete(a: float, b: float, c: float) -> Tensor:
        a, b, c = a, b * k / q, c * k * k
        return torch.tensor([a + b + c, 2 * (c - a), a - b + c], dtype=torch.float64, device="cpu")

    denominator = discrete(1.0, 1.0, 1.0)
    return discrete(*numerator) / denominator[0], denominator / denominator[0]


def centroid(frames: Tensor, sample_rate: float, *, floor: float = 1e-4) -> Tensor:
    r"""Compute the spectral centroid in Hz, with weights :math:`\log(1 + |X|)`.

    That of silence is a quarter of the sample rate.

    Args:
        frames: Shape (..., T); a flat-top window is applied.
        sample_rate: Sample rate in Hz.
        floor: Least magnitude, so that the centroid of silence is defined.

    Returns:
        Shape (...,).

    Example:
        >>> tone = torch.sin(2 * torch.pi * 2000 / 8000 * torch.arange(1024))
        >>> centroid(tone, 8000.0).round()
        tensor(2000.)
    """
    length = frames.shape[-1]
    window = torch.from_numpy(flattop(length)).to(frames)
    weights = torch.log1p(torch.fft.rfft(frames * window).abs().clamp_min(floor))
    frequencies = torch.fft.rfftfreq(length, 1 / sample_rate, dtype=weights.dtype, device="cpu")
    mean: Tensor = (weights * frequencies.to(weights)).sum(dim=-1) / weights.sum(dim=-1)
    return mean


def brightness(frequency: Tensor) -> Tensor:
    """Bring spectral centroids in Hz to a scale of perceptually equal steps of brightness.

    Example:
        >>> brightness(torch.tensor([250.0, 1000.0, 4000.0])).round(decimals=2)
        tensor([ 7.1600, 10.0000, 12.2800])

    Source: Kazazis, Depalle and McAdams, Interval and ratio scaling of spectral audio descriptors,
    Frontiers in Psychology 13, 2022, as in the code of SCRAPL.
    """
    return 21.2985 - 34.61 * frequency.pow(-0.1621)


def flatness(frames: Tensor, *, floor: float = 1e-10) -> Tensor:
    """Compute the spectral flatness in dB: 0 for a flat spectrum, -5 for noise, -160 for a sine.

    It is 20 log10 of the geometric over the arithmetic mean of the power spectrum.

    Args:
        frames: Shape (..., T); a Hann window is applied.
        floor: Least power, so that the flatness of silence is defined: 0 dB.

    Returns:
        Shape (...,).

    Example:
        >>> click = torch.zeros(64)
        >>> click[20] = 1.0
        >>> abs(flatness(click).item()) < 1e-3
        True
    """
    window = torch.hann_window(frames.shape[-1], dtype=frames.dtype, device=frames.device)
    power = torch.fft.rfft(frames * window).abs().square().clamp_min(floor)
    ratio = power.log().mean(dim=-1).exp() / power.mean(dim=-1)
    return 20 * torch.log10(ratio + 1e-8)


def lufs(mean_square: Tensor) -> Tensor:
    """Bring mean squares after K-weighting to LUFS.

    Example:
        >>> lufs(torch.tensor([1.0, 0.0])).round(decimals=1)
        tensor([ -0.7000, -80.7000])
    """
    return -0.691 + 10 * torch.log10(mean_square + QUIETEST)
