"""The chirplet synthesizer: a windowed chirp whose rate of AM and speed of FM are learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multipath._internal.settings import count, positive
from multipath.errors import ConfigurationError, InputError

from ._ranges import checked_range, expect_ranges

SILENCE = 1e-10
"""Where the window is lower, it is zero: subnormal numbers are slow and spoil gradients."""


class ChirpletSynth(nn.Module):
    r"""Renders a batch of chirplets, differentiable in every parameter.

    With :math:`\alpha` the AM rate in Hz, :math:`\gamma` the FM speed in octaves/s, and t in
    seconds from the middle of the signal (sample ``n_samples // 2``):

    .. math::
        x(t) = \gamma\, e^{-t^2 / 2 s^2} \sin(\pi \alpha t) \sin(2 \pi \varphi(t)), \qquad
        \varphi(t) = f_0 \frac{2^{\gamma t} - 1}{\gamma \ln 2}, \qquad
        s = \sigma b / \gamma .

    The instantaneous frequency is :math:`f_0 2^{\gamma t}`. The energy of :math:`\sin(\pi\alpha t)`
    beats at :math:`\alpha` Hz. The window's standard deviation s shrinks as the chirp gets faster,
    so that every chirplet covers the same b octaves, :math:`5 s` on either side of :math:`f_0`.

    Parameters come as :math:`\theta \in [0, 1]^2`, log-uniform in their ranges:
    :math:`\alpha = \alpha_{min} (\alpha_{max} / \alpha_{min})^{\theta_0}`, and :math:`\gamma`
    follows from :math:`\theta_1` in the same way.

    Args:
        ranges: Name of an entry of ``CHIRPLETS``, or ranges of your own.
        n_samples: Length N of the signal.
        sample_rate: Sample rate in Hz.
        f0: Frequency in the middle of the signal, in Hz.
        bandwidth: b, in octaves.
        sigma: Standard deviation of the window as a fraction of the bandwidth.
        detach_window: Cut the gradient that flows to :math:`\gamma` through s, as the authors'
            implementation does. The sound is the same; the gradient of FM is then wrong.

    Raises:
        ConfigurationError: If a setting is out of range, or the highest frequency,
            :math:`f_0 2^{b/2}`, exceeds half the sample rate.

    Example:
        >>> synth = ChirpletSynth("fast-moderate")
        >>> synth.physical(torch.tensor([[0.0, 0.5]])).round(decimals=3)  # Hz, octaves/s
        tensor([[2.8000, 2.8280]])
        >>> theta = torch.rand(3, 2, requires_grad=True)
        >>> synth(theta, shift=torch.tensor([-2048, 0, 2048])).shape
        torch.Size([3, 32768])

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), section on chirplets; the window and the
    amplitude are those of the authors' code.
    """

    parameter_names = ("AM", "FM")
    parameter_units = ("Hz", "octaves/s")

    def __init__(
        self,
        ranges: str | ChirpletRanges = "fast-moderate",
        *,
        n_samples: int = 32768,
        sample_rate: float = 8192.0,
        f0: float = 512.0,
        bandwidth: float = 2.0,
        sigma: float = 0.1,
        detach_window: bool = False,
    ) -> None:
        super().__init__()
        self.ranges = _find_ranges(ranges)
        self.sample_rate = sample_rate = positive("sample_rate", sample_rate)
        self.f0, self.bandwidth = positive("f0", f0), positive("bandwidth", bandwidth)
        self.sigma = positive("sigma", sigma)
        self.n_samples = n_samples = count("n_samples", n_samples)
        highest = self.f0 * 2 ** (self.bandwidth / 2)
        if highest > sample_rate / 2:
            raise ConfigurationError(
                f"the chirplet reaches f0 * 2**(bandwidth / 2) = {highest:g} Hz, above half the "
                f"sample rate ({sample_rate / 2:g} Hz); lower f0 or the bandwidth"
            )
        self.detach_window = bool(detach_window)
        time = torch.arange(n_samples, dtype=torch.float64, device="cpu") - n_samples // 2
        bounds = torch.tensor([self.ranges.am, self.ranges.fm], dtype=torch.float64, device="cpu")
        place = torch.empty(0)  # of torch's default device and dtype
        self.time = nn.Buffer((time / sample_rate).to(place), persistent=False)
        self.log_bounds = nn.Buffer(bounds.log2().to(place), persistent=False)

    def physical(self, theta: Tensor) -> Tensor:
        """Bring theta in [0, 1] to AM in Hz and FM in octaves/s, shape (..., 2)."""
        low, high = self.log_bounds.unbind(dim=1)
        return torch.exp2(low + theta * (high - low))

    def forward(self, theta: Tensor, shift: Tensor | None = None) -> Tensor:
        """Render chirplets.

        Args:
            theta: Parameters in [0, 1], shape (batch, 2): AM, FM.
            shift: By how many samples to delay each signal (negative: advance), integers of shape
                (batch,). What moves past an end is lost, and zeros come in at the other.

        Returns:
            Signals of shape (batch, n_samples).

        Raises:
            InputError: If theta or shift has another shape, or shift is not integer.
        """
        if theta.ndim != 2 or theta.shape[1] != 2:
            raise InputError(f"theta must have shape (batch, 2), got {tuple(theta.shape)}")
        am, fm = self.physical(theta).unbind(dim=1)
        signal = self.render(am, fm)
        return signal if shift is None else shift_signals(signal, shift)

    def render(self, am: Tensor, fm: Tensor) -> Tensor:
        """Render unshifted chirplets from AM in Hz and FM in octaves/s, each of shape (batch,)."""
        am, fm = am[:, None], fm[:, None]
        cycles = self.f0 * torch.expm1(math.log(2) * fm * self.time) / (math.log(2) * fm)
        width = self.sigma * self.bandwidth / (fm.detach() if self.detach_window else fm)
        window = torch.exp(-0.5 * (self.time / width) ** 2)
        window = torch.where(window > SILENCE, window, 0.0)
        modulator = torch.sin(math.pi * am * self.time)
        return fm * window * modulator * torch.sin(2 * math.pi * cycles)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        (slow_am, fast_am), (slow_fm, fast_fm) = self.ranges.am, self.ranges.fm
        return (
            f"AM {slow_am:g} to {fast_am:g} Hz, FM {slow_fm:g} to {fast_fm:g} octaves/s, "
            f"f0={self.f0:g} Hz, {self.n_samples} samples at {self.sample_rate:g} Hz"
        )


def shift_signals(signals: Tensor, shift: Tensor) -> Tensor:
    """Delay each row of (batch, N) by its own number of samples; zeros come in, nothing wraps.

    Raises:
        InputError: If shift is not one integer for each signal.

    Example:
        >>> shift_signals(torch.tensor([[1.0, 2.0, 3.0]] * 2), torch.tensor([1, -2]))
        tensor([[0., 1., 2.],
                [3., 0., 0.]])
    """
    if shift.shape != signals.shape[:1] or shift.is_floating_point():
        raise InputError(
            f"shift must hold one integer for each of the {signals.shape[0]} signals, got shape "
            f"{tuple(shift.shape)} of {shift.dtype}"
        )
    length = signals.shape[1]
    source = torch.arange(length, device=signals.device) - shift[:, None]
    inside = (source >= 0) & (source < length)
    return signals.gather(1, source.clamp(0, length - 1)) * inside


def _find_ranges(ranges: str | ChirpletRanges) -> ChirpletRanges:
    if isinstance(ranges, str):
        if ranges not in CHIRPLETS:
            raise ConfigurationError(
                f"unknown chirplet synthesizer {ranges!r}; choose one of {', '.join(CHIRPLETS)}"
            )
        ranges = CHIRPLETS[ranges]
    expect_ranges(ranges, ChirpletRanges, " or the name of some")
    return ChirpletRanges(checked_range("AM", ranges.am), checked_range("FM", ranges.fm))


@dataclass(frozen=True)
class ChirpletRanges:
    """What the two parameters of a chirplet synthesizer span, log-uniformly.

    Args:
        am: Slowest and fastest amplitude modulation, in Hz.
        fm: Slowest and fastest frequency modulation, in octaves/s.
    """

    am: tuple[float, float]
    fm: tuple[float, float]


CHIRPLETS = {
    "slow-slow": ChirpletRanges(am=(1.0, 2.0), fm=(0.5, 1.0)),
    "slow-moderate": ChirpletRanges(am=(1.0, 2.0), fm=(2.0, 4.0)),
    "fast-moderate": ChirpletRanges(am=(2.8, 8.4), fm=(2.0, 4.0)),
    "fast-fast": ChirpletRanges(am=(2.8, 8.4), fm=(4.0, 12.0)),
}
"""The four chirplet synthesizers, named AM-FM.

Source: SCRAPL (Mitcheltree et al., ICLR 2026), section on chirplets. The authors' released
configurations narrow the fast AM to 3.96-7.92 Hz and widen the fast FM to 8-16 octaves/s.
"""
