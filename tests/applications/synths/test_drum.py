"""The drum against the modes of the membrane's equation, summed one by one."""

import math

import pytest
import torch

from multipath.applications.synths.drum import DrumRanges, DrumSynth
from multipath.errors import ConfigurationError, InputError


def by_the_equation(omega, tau, p, dispersion, alpha, modes, n_samples, sample_rate):
    """Modes from the coefficients of the partial differential equation, in plain numbers."""
    first, second = math.pi, math.pi * alpha  # the sides
    beta = alpha + 1 / alpha
    stiffness = (dispersion * omega * alpha) ** 2 + (p * alpha / tau) ** 2
    tension = alpha * (1 / beta - p**2 * beta) / tau**2
    tension += alpha * omega**2 * (1 / beta - dispersion**2 * beta)
    d1, d3 = 2 * (1 - p * beta) / tau, -2 * p * alpha / tau
    sound = [0.0] * n_samples
    for m1 in range(1, modes[0] + 1):
        for m2 in range(1, modes[1] + 1):
            gamma = (m1 * math.pi / first) ** 2 + (m2 * math.pi / second) ** 2
            sigma = (d1 - d3 * gamma) / 2
            pitch = math.sqrt(stiffness * gamma**2 + tension * gamma - sigma**2)
            if pitch > 0.9 * math.pi * sample_rate:
                raise ValueError("this mode is faded")
            gain = (math.sin(0.4 * math.pi * m1) * math.sin(0.4 * math.pi * m2)) ** 2 / pitch
            for n in range(n_samples):
                t = n / sample_rate
                sound[n] += gain * math.exp(-sigma * t) * math.sin(pitch * t)
    peak = max(map(abs, sound))
    return torch.tensor([each / peak for each in sound], dtype=torch.float64)


@pytest.mark.parametrize("seed", range(3))
def test_modes_are_those_of_the_equation(seed):
    synth = DrumSynth(n_samples=300, sample_rate=44100.0, modes=(3, 4)).double()
    theta = torch.rand(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    theta[:, 0] *= 0.5
    physical = synth.physical(theta)[0].tolist()
    wanted = by_the_equation(*physical, (3, 4), 300, 44100.0)
    torch.testing.assert_close(synth(theta)[0], wanted, rtol=0, atol=1e-6)


def test_the_first_mode_has_the_pitch_and_the_decay():
    synth = DrumSynth(n_samples=8).double()
    theta = torch.rand(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pitches, decays = synth.modal(theta)
    omega, tau = synth.physical(theta)[:, :2].unbind(dim=1)
    torch.testing.assert_close(pitches[:, 0], omega, rtol=1e-6, atol=0)
    torch.testing.assert_close(decays[:, 0], 1 / tau, rtol=1e-6, atol=0)
    assert bool((pitches[:, 1:] > pitches[:, :1]).all())


def test_modes_above_the_nyquist_frequency_are_silent_and_fade_smoothly():
    synth = DrumSynth(n_samples=64, sample_rate=2048.0, modes=(1, 2)).double()
    theta = torch.full((200, 5), 0.5, dtype=torch.float64)
    theta[:, 0] = torch.linspace(0, 1, 200)
    sounds = synth(theta)
    pitches, _ = synth.modal(theta)
    limit = math.pi * 2048.0
    silent = pitches[:, 1] > limit
    alone = DrumSynth(n_samples=64, sample_rate=2048.0, modes=(1, 1)).double()(theta)
    assert bool(silent.any())
    torch.testing.assert_close(sounds[silent], alone[silent])
    jumps = (sounds[1:] - sounds[:-1]).norm(dim=1)
    assert float(jumps.max()) < 20 * float(jumps.median())


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigurationError, match="the tau range must satisfy 0 < low < high"):
        DrumSynth(DrumRanges(tau=(2.0, 1.0)))
    with pytest.raises(ConfigurationError, match="modes must be a positive integer"):
        DrumSynth(modes=(0, 3))
    for modes in ((5,), (5, 5, 5)):
        with pytest.raises(ConfigurationError, match="modes must be two numbers"):
            DrumSynth(modes=modes)
    with pytest.raises(ConfigurationError, match="modes must be a sequence, got 5"):
        DrumSynth(modes=5)
    with pytest.raises(ConfigurationError, match=r"reaches 1004.2 Hz, .*rate \(1000 Hz\)"):
        DrumSynth(sample_rate=2000.0)
    with pytest.raises(InputError, match=r"theta must have shape \(batch, 5\), got \(2, 4\)"):
        DrumSynth(n_samples=8)(torch.rand(2, 4))
