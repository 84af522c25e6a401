"""The granular synthesizer: a texture of many short chirps whose density and slope are learned."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from multipath._internal.settings import choice, positive, real, whole
from multipath.errors import ConfigurationError, InputError

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class GranularSynth(nn.Module):
    r"""Renders a batch of textures of up to G grains, differentiable in both parameters.

    Grain i begins at a random sample and has a frequency :math:`f_i`, between ``f_min`` and
    ``f_max``, in its middle. With t in seconds from there, L the duration of a grain, d the density
    in grains and :math:`\gamma` the slope in octaves/s, it is

    .. math::
        a_i\, \cos^2\!\Big(\frac{\pi t}{L}\Big)\, e^{-(\gamma t)^2 / 2 b^2}
        \sin\!\Big(2 \pi f_i \frac{2^{\gamma t} - 1}{\gamma \ln 2}\Big), \qquad
        a_i = \frac{1}{1 + e^{-(d - i - 1/2) / h}},

    so that its instantaneous frequency is :math:`f_i 2^{\gamma t}`. The second window keeps steep
    grains within b octaves or so of :math:`f_i`; what comes within a quarter of an octave of half
    the sample rate fades out. The gate, h grains soft, lets the first d grains sound,
    :math:`\sum_i a_i \approx d`, with a gradient. The sum is divided by its norm.

    Parameters come as :math:`\theta \in [0, 1]^2`: :math:`d = G \theta_0`, and :math:`\gamma =
    \gamma_0 \tan\big(r\, \tfrac{\pi}{2} (2 \theta_1 - 1)\big)`, from steeply falling to steeply
    rising.

    Args:
        n_samples: Length of the signal.
        sample_rate: Sample rate in Hz.
        n_grains: Largest number of grains G.
        grain_samples: Length of a grain in samples.
        f_min: Lowest frequency of a grain's middle, in Hz.
        f_max: Highest frequency of a grain's middle, in Hz.
        typical_slope: :math:`\gamma_0` in octaves/s. Default: a twelfth of an octave in 256 samples
            at 8192 Hz.
        steepest: r < 1, the share of the way from level to vertical.
        bandwidth: b, in octaves.
        softness: h, in grains.
        pitches: ``"random"`` draws every :math:`f_i` log-uniformly, ``"spread"`` gives all textures
            the same ones, spread evenly over the octaves however many grains sound (multiples of
            the golden ratio): textures then differ in time only.

    Raises:
        ConfigurationError: If a setting is out of range.

    Example:
        >>> synth = GranularSynth()
        >>> synth.physical(torch.tensor([[0.25, 0.5]]))  # grains, octaves/s
        tensor([[16.,  0.]])
        >>> texture = synth(torch.rand(3, 2), seeds=torch.tensor([1, 2, 3]))
        >>> texture.shape, texture.square().sum(dim=1).round(decimals=3)
        (torch.Size([3, 32768]), tensor([1., 1., 1.]))

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), granular synthesizer, after Vahidi et al.,
    Mesostructures: beyond spectrogram loss in differentiable time-frequency analysis, Journal of
    the Audio Engineering Society 71(9), 2023. Gate and windows are our own.
    """

    parameter_names = ("density", "slope")
    parameter_units = ("grains", "octaves/s")

    def __init__(
        self,
        *,
        n_samples: int = 32768,
        sample_rate: float = 8192.0,
        n_grains: int = 64,
        grain_samples: int = 4096,
        f_min: float = 256.0,
        f_max: float = 2048.0,
        typical_slope: float = 8192 / (12 * 256),
        steepest: float = 0.95,
        bandwidth: float = 0.5,
        softness: float = 0.5,
        pitches: Literal["random", "spread"] = "random",
    ) -> None:
        super().__init__()
        for name, value in {
            "sample_rate": sample_rate,
            "n_grains": n_grains,
            "f_min": f_min,
            "typical_slope": typical_slope,
            "bandwidth": bandwidth,
            "softness": softness,
        }.items():
            positive(name, value)
        n_samples, n_grains = whole("n_samples", n_samples), whole("n_grains", n_grains)
        grain_samples = whole("grain_samples", grain_samples)
        choice("pitches", pitches, "random", "spread")
        if not 0 < real(steepest) < 1:
            raise ConfigurationError(f"steepest must lie between 0 and 1, got {steepest}")
        if not 2 <= grain_samples <= n_samples:
            raise ConfigurationError(
                f"grain_samples must lie between 2 and n_samples = {n_samples}, got {grain_samples}"
            )
        f_min, f_max, sample_rate = real(f_min), real(f_max), float(sample_rate)
        if not f_min <= f_max <= sample_rate / 2:
            raise ConfigurationError(
                f"f_max must lie between f_min = {f_min:g} Hz and half the sample rate = "
                f"{sample_rate / 2:g} Hz, got {f_max:g} Hz"
            )
        self.n_samples, self.n_grains, self.grain_samples = n_samples, n_grains, grain_samples
        self.sample_rate, self.f_min, self.f_max = sample_rate, f_min, f_max
        self.typical_slope, self.steepest = float(typical_slope), float(steepest)
        self.bandwidth, self.softness, self.pitches = float(bandwidth), float(softness), pitches
        ticks = torch.arange(grain_samples, dtype=torch.float64, device="cpu")
        ticks = ticks - (grain_samples - 1) / 2
        place = torch.empty(0)  # of torch's default device and dtype
        self.time = nn.Buffer((ticks / sample_rate).to(place), persistent=False)
        window = torch.cos(math.pi * ticks / grain_samples).square()
        self.window = nn.Buffer(window.to(place), persistent=False)

    def physical(self, theta: Tensor) -> Tensor:
        """Bring theta in [0, 1] to density in grains and slope in octaves/s, shape (..., 2)."""
        density, slope = theta.unbind(dim=-1)
        steepness = torch.tan(self.steepest * math.pi / 2 * (2 * slope - 1))
        return torch.stack([self.n_grains * density, self.typical_slope * steepness], dim=-1)

    def placement(self, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the first sample and the middle frequency (Hz) of each grain, both (batch, G).

        Args:
            seeds: A seed for each texture, integers of shape (batch,).
        """
        uniform = torch.stack(
            [
                torch.rand(
                    2, self.n_grains, generator=torch.Generator().manual_seed(seed), device="cpu"
                )
                for seed in seeds.tolist()
            ]
        ).to(self.time, non_blocking=True)
        onsets, heights = uniform.unbind(dim=1)
        if self.pitches == "spread":
            numbers = torch.arange(self.n_grains, dtype=torch.float64, device="cpu")
            heights = (numbers * GOLDEN_RATIO % 1).to(heights, non_blocking=True).expand_as(heights)
        places = self.n_samples - self.grain_samples + 1
        octaves = math.log2(self.f_max / self.f_min)
        return (onsets * places).long(), self.f_min * torch.exp2(octaves * heights)

    def forward(self, theta: Tensor, seeds: Tensor) -> Tensor:
        """Render textures.

        Args:
            theta: Parameters in [0, 1], shape (batch, 2): density, slope.
            seeds: Decide where the grains are and how high, integers of shape (batch,).

        Returns:
            Signals of shape (batch, n_samples), norm 1.

        Raises:
            InputError: If theta or the seeds have another shape, or the seeds are not integers.
        """
        if theta.ndim != 2 or theta.shape[1] != 2:
            raise InputError(f"theta must have shape (batch, 2), got {tuple(theta.shape)}")
        if seeds.shape != theta.shape[:1] or seeds.is_floating_point():
            raise InputError(
                f"seeds must hold one integer for each of the {len(theta)} textures, got shape "
                f"{tuple(seeds.shape)} of {seeds.dtype}"
            )
        onsets, frequencies = self.placement(seeds)
        density, slope = self.physical(theta).unbind(dim=1)
        grains = self.gates(density)[:, :, None] * self.grains(slope, frequencies)
        places = onsets[:, :, None] + torch.arange(self.grain_samples, device=onsets.device)
        texture = grains.new_zeros(len(theta), self.n_samples).scatter_add(
            1, places.flatten(1), grains.flatten(1)
        )
        norm: Tensor = torch.linalg.vector_norm(texture, dim=1, keepdim=True)
        return texture / norm.clamp_min(torch.finfo(norm.dtype).tiny)

    def gates(self, density: Tensor) -> Tensor:
        """How loud each grain is at a density in grains (batch,): (batch, G), in [0, 1]."""
        number = torch.arange(self.n_grains, device=density.device, dtype=density.dtype)
        gates: Tensor = torch.sigmoid((density[:, None] - number - 0.5) / self.softness)
        return gates

    def grains(self, slope: Tensor, frequencies: Tensor) -> Tensor:
        """All grains at full loudness, (batch, G, grain_samples).

        Args:
            slope: In octaves/s, shape (batch,).
            frequencies: In Hz, in the middle of each grain, shape (batch, G).
        """
        octaves = slope[:, None] * self.time
        # (2^(γt) - 1) / (γ ln 2) = t + γ ln2 t^2 / 2 + ... is smooth where the slope is zero
        exponent = math.log(2) * octaves
        flat = exponent.abs() < 1e-4
        safe = torch.where(flat, 1.0, exponent)
        ratio = torch.where(flat, 1 + exponent / 2, torch.expm1(safe) / safe)
        cycles = frequencies[:, :, None] * (self.time * ratio)[:, None]
        window = self.window * torch.exp(-0.5 * (octaves / self.bandwidth) ** 2)
        # octaves left below half the sample rate: the last quarter fades out
        room = torch.log2(self.sample_rate / 2 / frequencies)[:, :, None] - octaves[:, None]
        fade = torch.sin(math.pi / 2 * (4 * room).clamp(0, 1)).square()
        phase = torch.where(room > 0, cycles, 0.0)  # may be infinite where nothing sounds
        sounds: Tensor = fade * window[:, None] * torch.sin(2 * math.pi * phase)
        return sounds

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return (
            f"up to {self.n_grains} grains of {self.grain_samples} samples, {self.f_min:g} to "
            f"{self.f_max:g} Hz, {self.n_samples} samples at {self.sample_rate:g} Hz"
        )


class PublishedGranularSynth(GranularSynth):
    r"""Renders textures as the code of SCRAPL does, for comparisons with its numbers.

    It differs from :class:`GranularSynth` in four ways. With t in seconds from the middle of a
    grain of N samples, grain i at density :math:`\theta_0` and slope :math:`\gamma` is

    .. math::
        \frac{a_i}{\sqrt{f_i}} \sin^2\!\Big(\frac{\pi n}{N}\Big)
        \sin\!\Big(\frac{2 \pi}{f_s} \sum_{k \le n} f_i 2^{\gamma t_k}\Big), \qquad
        a_i \propto 1 - \frac{1}{1 + e^{-2 (1 - \theta_0)(i - G (\theta_0 + 3 \theta_0^2) / 4)}},

    with :math:`\max_i a_i = 1`: all grains sound a little, the more of them the denser the
    texture; low grains are louder; steep grains are not kept short, so that they reach beyond half
    the sample rate and fold back; and slopes are a quarter as steep. Onsets and frequencies are
    those of their code for a seed.

    Args:
        n_samples: Length of the signal.
        sample_rate: Sample rate in Hz.
        n_grains: Largest number of grains G.
        grain_samples: Length of a grain in samples.
        f_min: Lowest frequency of a grain's middle, in Hz.
        f_max: Highest frequency of a grain's middle, in Hz.
        steepest: r < 1, the share of the way from level to vertical.

    Raises:
        ConfigurationError: If a setting is out of range.

    Example:
        >>> PublishedGranularSynth().physical(torch.tensor([[0.25, 0.75]])).round(decimals=2)
        tensor([[16.0000,  0.6200]])

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), ``ChirpTextureSynth`` of the authors' code.
    """

    def __init__(
        self,
        *,
        n_samples: int = 32768,
        sample_rate: float = 8192.0,
        n_grains: int = 64,
        grain_samples: int = 4096,
        f_min: float = 256.0,
        f_max: float = 2048.0,
        steepest: float = 0.95,
    ) -> None:
        super().__init__(
            n_samples=n_samples,
            sample_rate=sample_rate,
            n_grains=n_grains,
            grain_samples=grain_samples,
            f_min=f_min,
            f_max=f_max,
            typical_slope=positive("sample_rate", sample_rate) / (4 * 12 * 256),
            steepest=steepest,
        )
        with torch.no_grad():
            # a grain begins half of its length before its middle, without the half sample of ours
            self.time.sub_(0.5 / self.sample_rate)
            ticks = torch.arange(self.grain_samples, dtype=torch.float64, device="cpu")
            self.window.copy_(torch.sin(math.pi * ticks / self.grain_samples).square())

    def placement(self, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the first sample and the middle frequency (Hz) of each grain, both (batch, G)."""
        frequencies: list[Tensor] = []
        onsets: list[Tensor] = []
        for seed in seeds.tolist():
            generator = torch.Generator().manual_seed(seed)
            for drawn in (frequencies, onsets):
                drawn.append(torch.rand(self.n_grains, generator=generator, device="cpu"))
        octaves = math.log2(self.f_max / self.f_min)
        heights = torch.stack(frequencies).to(self.time)
        first = torch.stack(onsets) * (self.n_samples - self.grain_samples)
        return first.long().to(self.time.device), self.f_min * torch.exp2(octaves * heights)

    def gates(self, density: Tensor) -> Tensor:
        """How loud each grain is at a density in grains (batch,): (batch, G), at most 1."""
        number = torch.arange(self.n_grains, device=density.device, dtype=density.dtype)
        share = density[:, None] / self.n_grains
        middle = self.n_grains * (share + 3 * share.square()) / 4
        gates: Tensor = torch.sigmoid(-2 * (1 - share) * (number - middle))
        return gates / gates.amax(dim=1, keepdim=True)

    def grains(self, slope: Tensor, frequencies: Tensor) -> Tensor:
        """All grains at full loudness, (batch, G, grain_samples).

        Args:
            slope: In octaves/s, shape (batch,).
            frequencies: In Hz, in the middle of each grain, shape (batch, G).
        """
        cycles = torch.exp2(slope[:, None] * self.time).cumsum(dim=1) / self.sample_rate
        sounds: Tensor = torch.sin(2 * math.pi * frequencies[:, :, None] * cycles[:, None])
        return self.window * sounds * frequencies.rsqrt()[:, :, None]
