"""The drum synthesizer: a struck rectangular membrane, by the functional transformation method."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from multipath._internal.settings import count, positive, several
from multipath.errors import ConfigurationError, InputError

from ._ranges import check_ranges, expect_ranges
from .chirplet import shift_signals

POSITION = 0.4
"""Where the membrane is struck and heard, as a share of both sides."""
GATE = 0.9
"""Modes fade out from this share of the Nyquist frequency to all of it."""


class DrumSynth(nn.Module):
    r"""Renders a batch of rectangular drums, differentiable in all five parameters.

    The membrane is stiff and damped, and its sides have the ratio :math:`\alpha`. Its modes
    :math:`m = (m_1, m_2)` are numbered by :math:`\kappa_m = \alpha m_1^2 + m_2^2 / \alpha`, which
    is :math:`\beta = \alpha + 1 / \alpha` for the first one. With the pitch :math:`\omega` (rad/s)
    and decay time :math:`\tau` (s) of the first mode, the damping p of the higher ones and the
    dispersion D,

    .. math::
        \sigma_m &= \frac{1 + p (\kappa_m - \beta)}{\tau}, \\
        \omega_m^2 &= \omega^2 \frac{\kappa_m}{\beta} \big(1 + D^2 \beta (\kappa_m - \beta)\big)
        + \frac{(\kappa_m - \beta) (1 - p \beta)^2}{\beta \tau^2}, \\
        x(t) &\propto \sum_m \frac{\sin^2(0.4 \pi m_1) \sin^2(0.4 \pi m_2)}{\omega_m}\,
        e^{-\sigma_m t} \sin(\omega_m t),

    scaled to a peak of 1: it is struck and heard at 0.4 of both sides. These are the modes of the
    partial differential equation of Trautmann and Rabenstein in the parameters of the source,
    which solves it for its coefficients first. A mode fades out between 90 % and 100 % of the
    Nyquist frequency, so that the sound is smooth in theta, where the authors' code leaves out
    whole rows and columns of modes.

    Parameters come as :math:`\theta \in [0, 1]^5`: :math:`\omega`, p and D log-uniform,
    :math:`\tau` and :math:`\alpha` uniform in their ranges.

    Args:
        ranges: What the parameters span.
        n_samples: Length N of the signal. Default: as published.
        sample_rate: Sample rate in Hz.
        modes: How many modes there are along each side.

    Raises:
        ConfigurationError: If a setting is out of range, or the highest pitch of the first mode is
            not below half the sample rate.

    Example:
        >>> synth = DrumSynth(n_samples=4096)
        >>> synth.physical(torch.tensor([[0.0, 0.5, 0.0, 1.0, 1.0]])).round(decimals=2)
        tensor([[251.1900,   1.7000,   0.0000,   0.3200,   1.0000]])
        >>> synth(torch.rand(3, 5)).abs().amax(dim=1)
        tensor([1., 1., 1.])

    Source: Han and Lostanlen, *wav2shape: Hearing the shape of a drum machine* (Forum Acusticum
    2020); Han, Lostanlen and Lagrange (ICASSP 2023).
    """

    parameter_names = ("omega", "tau", "p", "D", "alpha")
    parameter_units = ("rad/s", "s", "ratio", "ratio", "ratio")

    def __init__(
        self,
        ranges: DrumRanges | None = None,
        *,
        n_samples: int = 65536,
        sample_rate: float = 22050.0,
        modes: tuple[int, int] = (10, 10),
    ) -> None:
        super().__init__()
        self.ranges = DrumRanges() if ranges is None else ranges
        expect_ranges(self.ranges, DrumRanges)
        self.sample_rate = sample_rate = positive("sample_rate", sample_rate)
        self.n_samples = n_samples = count("n_samples", n_samples)
        numbers = [count("modes", number) for number in several("modes", modes)]
        if len(numbers) != 2:
            raise ConfigurationError(f"modes must be two numbers, one for each side, got {modes!r}")
        self.modes = numbers[0], numbers[1]
        bounds = [getattr(self.ranges, name) for name in map(str.lower, self.parameter_names)]
        highest = self.ranges.omega[1] / (2 * math.pi)
        if highest >= sample_rate / 2:
            raise ConfigurationError(
                f"the first mode reaches {highest:g} Hz, which is not below half the sample rate "
                f"({sample_rate / 2:g} Hz); lower the omega range"
            )
        first, second = (torch.arange(1.0, n + 1, dtype=torch.float64) for n in self.modes)
        shapes = [torch.sin(POSITION * math.pi * each) ** 2 for each in (first, second)]
        time = torch.arange(n_samples, dtype=torch.float64) / sample_rate
        place = torch.empty(0)  # of torch's default device and dtype
        squares = [first[:, None].expand(self.modes), second.expand(self.modes)]
        self.squares = nn.Buffer(
            torch.stack([each.flatten() ** 2 for each in squares]).to(place), persistent=False
        )
        gains = (shapes[0][:, None] * shapes[1]).flatten()
        self.gains = nn.Buffer(gains.to(place), persistent=False)
        self.time = nn.Buffer(time.to(place), persistent=False)
        self.bounds = nn.Buffer(
            torch.tensor(bounds, dtype=torch.float64).to(place), persistent=False
        )

    def physical(self, theta: Tensor) -> Tensor:
        """Bring theta in [0, 1] to rad/s, s and ratios, shape (..., 5)."""
        low, high = self.bounds.unbind(dim=1)
        even = low + theta * (high - low)
        log = low * (high / low) ** theta
        logarithmic = torch.tensor([True, False, True, True, False], device=theta.device)
        return torch.where(logarithmic, log, even)

    def forward(self, theta: Tensor, shift: Tensor | None = None) -> Tensor:
        """Render drums.

        Args:
            theta: Parameters in [0, 1], shape (batch, 5): omega, tau, p, D, alpha.
            shift: By how many samples to delay each signal (negative: advance), integers of shape
                (batch,). What moves past an end is lost, and zeros come in at the other.

        Returns:
            Signals of shape (batch, n_samples).

        Raises:
            InputError: If theta or shift has another shape, or shift is not integer.
        """
        if theta.ndim != 2 or theta.shape[1] != 5:
            raise InputError(f"theta must have shape (batch, 5), got {tuple(theta.shape)}")
        pitches, decays = self.modal(theta)
        cutoff = math.pi * self.sample_rate
        fade = ((pitches / cutoff - GATE) / (1 - GATE)).clamp(0, 1)
        gains = self.gains / pitches * torch.cos(0.5 * math.pi * fade) ** 2
        signal = torch.zeros_like(theta[:, :1] * self.time)
        for m in range(len(self.gains)):  # all at once would take as much memory as many sounds
            envelope = gains[:, m, None] * torch.exp(-decays[:, m, None] * self.time)
            signal = signal + envelope * torch.sin(pitches[:, m, None] * self.time)
        signal = signal / signal.abs().amax(dim=1, keepdim=True)
        return signal if shift is None else shift_signals(signal, shift)

    def modal(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Pitches in rad/s and decays in 1/s of all modes, each of shape (batch, modes).

        Args:
            theta: Parameters in [0, 1], shape (batch, 5).
        """
        omega, tau, p, dispersion, alpha = self.physical(theta)[:, :, None].unbind(dim=1)
        kappa = alpha * self.squares[0] + self.squares[1] / alpha
        beta = alpha + 1 / alpha
        higher = kappa - beta  # 0 for the first mode
        squared = omega**2 * kappa / beta * (1 + dispersion**2 * beta * higher)
        squared = squared + higher * (1 - p * beta) ** 2 / (beta * tau**2)
        return squared.sqrt(), (1 + p * higher) / tau

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return (
            f"{self.ranges}, {self.modes[0]} x {self.modes[1]} modes, "
            f"{self.n_samples} samples at {self.sample_rate:g} Hz"
        )


@dataclass(frozen=True)
class DrumRanges:
    """What the parameters of a drum span.

    Args:
        omega: Pitch of the first mode, in rad/s.
        tau: Its decay time, in s.
        p: How much faster higher modes decay.
        d: Dispersion D.
        alpha: Ratio of the sides.

    Raises:
        ConfigurationError: If one is no pair of finite numbers, 0 < low < high.
    """

    omega: tuple[float, float] = (10**2.4, 10**3.8)
    tau: tuple[float, float] = (0.4, 3.0)
    p: tuple[float, float] = (1e-5, 0.2)
    d: tuple[float, float] = (1e-5, 0.3162)
    alpha: tuple[float, float] = (0.2, 1.0)

    def __post_init__(self) -> None:
        """Check all ranges."""
        check_ranges(self)

    def __str__(self) -> str:
        """All ranges."""
        return ", ".join(
            "{} {:g} to {:g}".format(each.name, *getattr(self, each.name)) for each in fields(self)
        )
