"""The TR-808 synthesizer: drums of two bending sines and high-passed noise, in 14 parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from multipath._internal.settings import positive, whole
from multipath.applications.audio.biquad import biquad, high_pass_coefficients
from multipath.errors import ConfigurationError, InputError

from .chirplet import SILENCE, shift_signals

FREQUENCY, BEND, DECAY, GAIN = (20.0, 2000.0), (-1.0, 2.0), (0.01, 2.0), (-60.0, 6.0)

RANGES: dict[str, tuple[str, tuple[float, float]]] = {
    "frequency_1": ("Hz", FREQUENCY),
    "bend_1": ("ratio", BEND),
    "frequency_2": ("Hz", FREQUENCY),
    "bend_2": ("ratio", BEND),
    "bend_decay": ("s", DECAY),
    "decay_1": ("s", DECAY),
    "decay_2": ("s", DECAY),
    "noise_decay": ("s", DECAY),
    "noise_cutoff": ("Hz", (20.0, 22050.0)),
    "noise_Q": ("ratio", (0.5, 10.0)),
    "gain_1": ("dB", GAIN),
    "gain_2": ("dB", GAIN),
    "noise_gain": ("dB", GAIN),
    "drive": ("dB", (-24.0, 24.0)),
}
"""Unit and range of each parameter, in their order."""

ATTACK = 1e-3
"""Rise time of every envelope in seconds."""

HIGHEST_CUTOFF = 0.45
"""As a share of the sample rate; above it nothing audible is left and the filter hardly decays."""

MINUS_60_DB = math.log(1000)


class TR808Synth(nn.Module):
    r"""Renders a batch of drums, differentiable in all 14 parameters.

    Envelopes :math:`e_\tau` rise linearly in 1 ms and then fall by 60 dB in the decay time
    :math:`\tau`. Two sines share the envelope that bends their frequency:

    .. math::
        x &= \tanh\big(d\,(y_1 + y_2 + y_3)\big), \qquad
        y_3 = g_3\, h_{f_c, Q} * (e_{\tau_3} n), \\
        y_i &= g_i\, e_{\tau_i}(t) \sin\Big(2 \pi f_i \big(t + b_i \textstyle\int_0^t
        e_{\tau_b}\big)\Big), \quad i = 1, 2,

    so that the instantaneous frequency is :math:`f_i (1 + b_i e_{\tau_b}(t))`. The noise n is
    uniform in [-1, 1]; h is a high-pass of second order (:func:`~.biquad.high_pass`). The integral
    is in closed form.

    Parameters come as :math:`\theta \in [0, 1]^{14}`, each linear in its range: frequencies
    :math:`f_i` 20 to 2000 Hz, bends :math:`b_i` -1 to 2, decay times 10 ms to 2 s, cutoff
    :math:`f_c` 20 Hz to 0.45 sample rates, Q 0.5 to 10, gains :math:`g_i` -60 to 6 dB, and the
    drive d -24 to 24 dB.

    Args:
        n_samples: Length of the signal.
        sample_rate: Sample rate in Hz.

    Raises:
        ConfigurationError: If there is no sample, or the highest frequency, 6000 Hz, exceeds half
            the sample rate.

    Example:
        >>> synth = TR808Synth()
        >>> middle = synth.physical(torch.full((14,), 0.5))
        >>> for name, unit, value in zip(synth.parameter_names[:3], synth.parameter_units, middle):
        ...     print(name, round(value.item(), 3), unit)
        frequency_1 1010.0 Hz
        bend_1 0.5 ratio
        frequency_2 1010.0 Hz
        >>> drums = synth(torch.rand(2, 14), nuisance=torch.tensor([[1, 0], [2, 300]]))
        >>> drums.shape, bool(drums.abs().max() <= 1)
        (torch.Size([2, 44100]), True)

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), section on the TR-808, after Shier et al.,
    Real-time timbre remapping with differentiable DSP, NIME 2024. Ranges are those of the authors'
    code, where the cutoff goes up to half the sample rate.
    """

    parameter_names = tuple(RANGES)
    parameter_units = tuple(unit for unit, _ in RANGES.values())

    def __init__(self, *, n_samples: int = 44100, sample_rate: float = 44100.0) -> None:
        super().__init__()
        positive("n_samples", n_samples)
        n_samples, sample_rate = whole("n_samples", n_samples), positive("sample_rate", sample_rate)
        highest = FREQUENCY[1] * (1 + BEND[1])
        if not sample_rate >= 2 * highest:
            raise ConfigurationError(
                f"the sines reach {highest:g} Hz, so the sample rate must be at least "
                f"{2 * highest:g} Hz, got {sample_rate:g} Hz"
            )
        self.n_samples, self.sample_rate = n_samples, sample_rate
        bounds = [pair for _, pair in RANGES.values()]
        low, high = torch.tensor(bounds, dtype=torch.float64, device="cpu").T
        cutoff = self.parameter_names.index("noise_cutoff")
        high[cutoff] = min(high[cutoff].item(), HIGHEST_CUTOFF * sample_rate)
        time = torch.arange(n_samples, dtype=torch.float64, device="cpu") / sample_rate
        rise = (time / ATTACK).clamp(max=1)
        place = torch.empty(0)  # of torch's default device and dtype
        self.low = nn.Buffer(low.to(place), persistent=False)
        self.width = nn.Buffer((high - low).to(place), persistent=False)
        self.time = nn.Buffer(time.to(place), persistent=False)
        self.rise = nn.Buffer(rise.to(place), persistent=False)
        self.rise_integral = nn.Buffer((ATTACK / 2 * rise.square()).to(place), persistent=False)
        self.after_rise = nn.Buffer((time - ATTACK).clamp(min=0).to(place), persistent=False)

    def physical(self, theta: Tensor) -> Tensor:
        """Bring theta in [0, 1] to Hz, s, dB and ratios (``parameter_units``), shape (..., 14)."""
        return self.low + theta * self.width

    def forward(self, theta: Tensor, nuisance: Tensor | None = None) -> Tensor:
        """Render drums.

        Args:
            theta: Parameters in [0, 1], shape (batch, 14), in the order of ``parameter_names``.
            nuisance: What parameters leave open, integers of shape (batch, 2): the seed of each
                drum's noise, and by how many samples to delay it (negative: advance). What moves
                past an end is lost, and zeros come in at the other. Default: all drums have the
                same noise, that of seed 0, and none is delayed.

        Returns:
            Signals of shape (batch, n_samples), between -1 and 1.

        Raises:
            InputError: If theta or nuisance has another shape, or nuisance is not integer.
        """
        if theta.ndim != 2 or theta.shape[1] != len(RANGES):
            raise InputError(
                f"theta must have shape (batch, {len(RANGES)}), got {tuple(theta.shape)}"
            )
        if nuisance is None:
            seeds = torch.zeros(1, dtype=torch.long, device="cpu")
            return self.render(self.physical(theta), self.noise(seeds))
        if nuisance.shape != (len(theta), 2) or nuisance.is_floating_point():
            raise InputError(
                f"nuisance must hold a seed and a delay for each of the {len(theta)} drums, "
                f"integers of shape ({len(theta)}, 2), got shape {tuple(nuisance.shape)} of "
                f"{nuisance.dtype}"
            )
        seeds, shift = nuisance.unbind(dim=1)
        return shift_signals(self.render(self.physical(theta), self.noise(seeds)), shift)

    def render(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Render unshifted drums from parameters in their units and noise.

        Args:
            parameters: Shape (batch, 14), as from :meth:`physical`.
            noise: Shape (batch, n_samples) or broadcastable to it.
        """
        named = dict(zip(RANGES, parameters.unbind(dim=1), strict=True))
        bend = self.envelope_integral(named["bend_decay"])
        mix: Tensor | float = 0.0
        for number in (1, 2):
            time = self.time + named[f"bend_{number}"][:, None] * bend
            sine = torch.sin(2 * math.pi * named[f"frequency_{number}"][:, None] * time)
            loudness = amplitude(named[f"gain_{number}"])[:, None]
            mix = mix + loudness * self.envelope(named[f"decay_{number}"]) * sine
        hiss = biquad(
            self.envelope(named["noise_decay"]) * noise,
            *high_pass_coefficients(named["noise_cutoff"], named["noise_Q"], self.sample_rate),
        )
        mix = mix + amplitude(named["noise_gain"])[:, None] * hiss
        return torch.tanh(amplitude(named["drive"])[:, None] * mix)

    def envelope(self, decay: Tensor) -> Tensor:
        """Rise to 1 in 1 ms, fall by 60 dB in ``decay`` seconds (batch,): (batch, n_samples)."""
        fall = torch.exp(-MINUS_60_DB / decay[:, None] * self.after_rise)
        return self.rise * torch.where(fall > SILENCE, fall, 0.0)

    def envelope_integral(self, decay: Tensor) -> Tensor:
        """Integrate :meth:`envelope` over time from 0, in seconds: (batch, n_samples)."""
        rate = MINUS_60_DB / decay[:, None]
        return self.rise_integral - torch.expm1(-rate * self.after_rise) / rate

    def noise(self, seeds: Tensor) -> Tensor:
        """Draw white noise, uniform in [-1, 1], (batch, n_samples), the same for the same seed."""
        drawn = {
            seed: torch.rand(
                self.n_samples, generator=torch.Generator().manual_seed(seed), device="cpu"
            )
            for seed in set(seeds.tolist())
        }
        uniform = torch.stack([drawn[seed] for seed in seeds.tolist()])
        return (2 * uniform - 1).to(self.time, non_blocking=True)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"{len(RANGES)} parameters, {self.n_samples} samples at {self.sample_rate:g} Hz"


def amplitude(decibels: Tensor) -> Tensor:
    """Bring dB to a factor.

    Example:
        >>> amplitude(torch.tensor([0.0, -20.0]))
        tensor([1.0000, 0.1000])
    """
    return torch.exp(math.log(10) / 20 * decibels)
