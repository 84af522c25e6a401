"""The AM chirp synthesizer: a windowed chirp whose carrier, AM and FM are all to be found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multipath._internal.settings import count, positive
from multipath.errors import ConfigurationError, InputError

from ._ranges import check_ranges, expect_ranges
from .chirplet import SILENCE, shift_signals


class AMChirpSynth(nn.Module):
    r"""Renders a batch of AM chirps, differentiable in all three parameters.

    With :math:`f_c` the carrier in the middle of the signal and :math:`f_m` the modulator, both in
    Hz, :math:`\gamma` the FM speed in octaves/s, and t in seconds from the middle (sample
    ``n_samples // 2``):

    .. math::
        x(t) = \gamma\, e^{-t^2 / 2 s^2} \sin(2 \pi f_m t)
        \sin\Big(2 \pi f_c \frac{2^{\gamma t} - 1}{\gamma \ln 2}\Big), \qquad
        s = \sigma b / \gamma .

    It is the chirplet of :class:`~multipath.applications.synths.chirplet.ChirpletSynth` with its
    frequency as a third parameter. Parameters come as :math:`\theta \in [0, 1]^3`, log-uniform in
    their ranges, in the order of the formula.

    Args:
        ranges: What the parameters span.
        n_samples: Length N of the signal.
        sample_rate: Sample rate in Hz.
        bandwidth: b, in octaves.
        sigma: Standard deviation of the window as a fraction of the bandwidth.

    Raises:
        ConfigurationError: If a setting is out of range, or the highest frequency of the highest
            carrier, :math:`f_c 2^{b/2}`, exceeds half the sample rate.

    Example:
        >>> synth = AMChirpSynth()
        >>> synth.physical(torch.tensor([[0.0, 0.5, 1.0]])).round(decimals=3)
        tensor([[512.,   8.,   4.]])
        >>> synth(torch.rand(3, 3), shift=torch.tensor([-2048, 0, 2048])).shape
        torch.Size([3, 32768])

    Source: Han, Lostanlen and Lagrange, *Learning to solve inverse problems for perceptual sound
    matching* (TASLP 2024).
    """

    parameter_names = ("carrier", "AM", "FM")
    parameter_units = ("Hz", "Hz", "octaves/s")

    def __init__(
        self,
        ranges: AMChirpRanges | None = None,
        *,
        n_samples: int = 32768,
        sample_rate: float = 8192.0,
        bandwidth: float = 2.0,
        sigma: float = 0.1,
    ) -> None:
        super().__init__()
        self.ranges = AMChirpRanges() if ranges is None else ranges
        expect_ranges(self.ranges, AMChirpRanges)
        self.sample_rate = sample_rate = positive("sample_rate", sample_rate)
        self.bandwidth, self.sigma = positive("bandwidth", bandwidth), positive("sigma", sigma)
        self.n_samples = n_samples = count("n_samples", n_samples)
        bounds = [self.ranges.carrier, self.ranges.am, self.ranges.fm]
        highest = self.ranges.carrier[1] * 2 ** (self.bandwidth / 2)
        if highest > sample_rate / 2:
            raise ConfigurationError(
                f"the chirp reaches {highest:g} Hz, above half the sample rate "
                f"({sample_rate / 2:g} Hz); lower the carrier or the bandwidth"
            )
        time = torch.arange(n_samples, dtype=torch.float64, device="cpu") - n_samples // 2
        log_bounds = torch.tensor(bounds, dtype=torch.float64, device="cpu").log2()
        place = torch.empty(0)  # of torch's default device and dtype
        self.time = nn.Buffer((time / sample_rate).to(place), persistent=False)
        self.log_bounds = nn.Buffer(log_bounds.to(place), persistent=False)

    def physical(self, theta: Tensor) -> Tensor:
        """Bring theta in [0, 1] to Hz, Hz and octaves/s, shape (..., 3)."""
        low, high = self.log_bounds.unbind(dim=1)
        return torch.exp2(low + theta * (high - low))

    def forward(self, theta: Tensor, shift: Tensor | None = None) -> Tensor:
        """Render chirps.

        Args:
            theta: Parameters in [0, 1], shape (batch, 3): carrier, AM, FM.
            shift: By how many samples to delay each signal (negative: advance), integers of shape
                (batch,). What moves past an end is lost, and zeros come in at the other.

        Returns:
            Signals of shape (batch, n_samples).

        Raises:
            InputError: If theta or shift has another shape, or shift is not integer.
        """
        if theta.ndim != 2 or theta.shape[1] != 3:
            raise InputError(f"theta must have shape (batch, 3), got {tuple(theta.shape)}")
        carrier, am, fm = self.physical(theta)[:, :, None].unbind(dim=1)
        cycles = carrier * torch.expm1(math.log(2) * fm * self.time) / (math.log(2) * fm)
        window = torch.exp(-0.5 * (self.time * fm / (self.sigma * self.bandwidth)) ** 2)
        window = torch.where(window > SILENCE, window, 0.0)
        modulator = torch.sin(2 * math.pi * am * self.time)
        signal = fm * window * modulator * torch.sin(2 * math.pi * cycles)
        return signal if shift is None else shift_signals(signal, shift)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"{self.ranges}, {self.n_samples} samples at {self.sample_rate:g} Hz"


@dataclass(frozen=True)
class AMChirpRanges:
    """What the parameters of an AM chirp span, log-uniformly.

    Args:
        carrier: Lowest and highest frequency in the middle, in Hz.
        am: Slowest and fastest modulator, in Hz.
        fm: Slowest and fastest frequency modulation, in octaves/s.

    Raises:
        ConfigurationError: If one is no pair of finite numbers, 0 < low < high.
    """

    carrier: tuple[float, float] = (512.0, 1024.0)
    am: tuple[float, float] = (4.0, 16.0)
    fm: tuple[float, float] = (0.5, 4.0)

    def __post_init__(self) -> None:
        """Check all ranges."""
        check_ranges(self)

    def __str__(self) -> str:
        """All ranges."""
        return (
            "carrier {:g} to {:g} Hz, ".format(*self.carrier)
            + "AM {:g} to {:g} Hz, ".format(*self.am)
            + "FM {:g} to {:g} octaves/s".format(*self.fm)
        )
