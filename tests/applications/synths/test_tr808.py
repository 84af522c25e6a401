"""The TR-808 synthesizer: each of its parts in closed form, seeds and shifts."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from multipath.applications.synths.tr808 import TR808Synth
from multipath.errors import ConfigurationError

RATE = 44100.0
QUIET = -400.0  # dB
DRUM = {
    "frequency_1": 200.0, "bend_1": 0.0, "frequency_2": 330.0, "bend_2": 0.0, "bend_decay": 0.05,
    "decay_1": 0.2, "decay_2": 0.2, "noise_decay": 0.1, "noise_cutoff": 3000.0, "noise_Q": 0.7,
    "gain_1": QUIET, "gain_2": QUIET, "noise_gain": QUIET, "drive": 0.0,
}  # fmt: skip


def make_synth(n_samples: int = 11025, sample_rate: float = RATE) -> TR808Synth:
    return TR808Synth(n_samples=n_samples, sample_rate=sample_rate).double()


def render(synth: TR808Synth, noise: torch.Tensor | float = 0.0, **changes) -> torch.Tensor:
    """One drum, without noise and drive unless asked for, undone the tanh."""
    values = {**DRUM, **changes}
    parameters = torch.tensor([[values[name] for name in synth.parameter_names]]).double()
    return torch.atanh(synth.render(parameters, torch.as_tensor(noise).double()))[0]


def random_theta(count: int) -> torch.Tensor:
    return torch.rand(count, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(("bend", "bend_decay"), [(0.0, 0.1), (2.0, 0.03), (-0.8, 1.0)])
def test_frequency_follows_the_shared_envelope(number, bend, bend_decay):
    synth = make_synth()
    changes = {f"gain_{number}": -40.0, f"bend_{number}": bend, f"decay_{number}": 1e9}
    found = render(synth, bend_decay=bend_decay, **changes)
    time = np.arange(11025) / RATE
    envelope = np.where(time < 1e-3, 1e3 * time, 10 ** (-3 * (time - 1e-3) / bend_decay))
    frequency = DRUM[f"frequency_{number}"] * (1 + bend * envelope)
    steps = (frequency[1:] + frequency[:-1]) / 2 / RATE  # trapezoids are close to the integral
    cycles = np.concatenate([[0], np.cumsum(steps)])
    wanted = 0.01 * np.minimum(1e3 * time, 1) * np.sin(2 * math.pi * cycles)
    assert np.abs(found.numpy() - wanted).max() < 1e-5


def test_integral_has_the_envelope_as_its_slope():
    synth = make_synth(2000)
    decay = torch.tensor([0.01, 0.3], dtype=torch.float64)
    slope = synth.envelope_integral(decay).diff(dim=1) * RATE
    envelope = synth.envelope(decay)
    middle = (envelope[:, 1:] + envelope[:, :-1]) / 2
    torch.testing.assert_close(slope, middle, rtol=1e-3, atol=2e-3)
    assert not synth.envelope_integral(decay)[:, 0].any()


@pytest.mark.parametrize("decay", [0.01, 0.05, 0.2])
def test_envelopes_rise_in_a_millisecond_and_fall_by_60_db_in_the_decay_time(decay):
    synth = make_synth(sample_rate=44000.0)
    envelope = synth.envelope(torch.tensor([decay], dtype=torch.float64))[0]
    assert envelope[:45].tolist() == pytest.approx([n / 44 for n in range(45)])
    assert envelope[44 + round(decay * 44000)].item() == pytest.approx(1e-3, rel=1e-6)
    assert envelope[44 + round(decay * 22000)].item() == pytest.approx(10**-1.5, rel=1e-6)


@pytest.mark.parametrize("gain", ["gain_1", "gain_2", "noise_gain"])
def test_gains_are_in_decibels_and_parts_add_up(gain):
    synth, noise = make_synth(2000), 0.1 * torch.ones(2000)
    loud, quiet = (render(synth, noise, **{gain: level}) for level in (-20.0, -26.0))
    torch.testing.assert_close(quiet, loud * 10 ** (-6 / 20), rtol=1e-6, atol=1e-12)
    both = render(synth, noise, **{gain: -20.0, "gain_1": -30.0})
    alone = render(synth, noise, gain_1=-30.0)
    if gain != "gain_1":
        torch.testing.assert_close(both, loud + alone, rtol=1e-6, atol=1e-12)


def test_drive_is_inside_the_tanh():
    synth = make_synth(2000)
    clean, driven = (render(synth, gain_1=-40.0, drive=drive) for drive in (0.0, 24.0))
    torch.testing.assert_close(driven, clean * 10 ** (24 / 20))
    parameters = synth.physical(torch.ones(1, 14, dtype=torch.float64))
    sound = synth.render(parameters, synth.noise(torch.tensor([0])))
    assert 0.999 < sound.abs().max() <= 1


def test_noise_decays_and_then_passes_the_filter():
    synth = make_synth(4000)
    noise = synth.noise(torch.tensor([7]))
    assert noise.abs().max() <= 1
    assert noise.std().item() == pytest.approx(1 / math.sqrt(3), rel=0.03)
    found = render(synth, noise, noise_gain=-20.0, noise_decay=0.05, noise_cutoff=2000.0)
    warped = math.tan(math.pi * 2000 / RATE)  # bilinear transform of s^2 / (s^2 + s/Q + 1)
    b = np.array([1, -2, 1])
    a = np.array([1 + warped / 0.7 + warped**2, 2 * (warped**2 - 1), 1 - warped / 0.7 + warped**2])
    decayed = noise[0] * synth.envelope(torch.tensor([0.05], dtype=torch.float64))[0]
    wanted = 0.1 * lfilter(b, a, decayed.numpy())
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-9)


def test_parameters_span_their_ranges_linearly():
    synth = make_synth()
    low, high = synth.physical(torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, 14))
    found = zip(low.tolist(), high.tolist(), synth.parameter_units, strict=True)
    frequency, bend = (20, 2000, "Hz"), (-1, 2, "ratio")
    decay, gain = (0.01, 2, "s"), (-60, 6, "dB")
    wanted = {
        "frequency_1": frequency, "bend_1": bend, "frequency_2": frequency, "bend_2": bend,
        "bend_decay": decay, "decay_1": decay, "decay_2": decay, "noise_decay": decay,
        "noise_cutoff": (20, 0.45 * RATE, "Hz"), "noise_Q": (0.5, 10, "ratio"),
        "gain_1": gain, "gain_2": gain, "noise_gain": gain, "drive": (-24, 24, "dB"),
    }  # fmt: skip
    assert dict(zip(synth.parameter_names, map(pytest.approx, found), strict=True)) == wanted
    middle = synth.physical(torch.full((14,), 0.5, dtype=torch.float64))
    torch.testing.assert_close(middle, (low + high) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("corner", [0.0, 0.5, 1.0])
def test_sound_and_gradients_are_finite_at_the_corners(dtype, corner):
    synth = TR808Synth().to(dtype)
    theta = torch.full((1, 14), corner, dtype=dtype, requires_grad=True)
    sound = synth(theta)
    sound.square().sum().backward()
    assert sound.dtype == dtype
    assert bool(sound.isfinite().all())
    assert bool(theta.grad.isfinite().all())


def test_single_precision_is_close_to_double():
    theta = random_theta(4)
    wanted = make_synth(44100)(theta)
    found = TR808Synth()(theta.float())
    assert (found - wanted).norm() < 2e-3 * wanted.norm()


def test_a_seed_decides_the_noise():
    synth, theta = make_synth(1000), random_theta(1).expand(3, 14)
    first, same, other = synth(theta, torch.tensor([[5, 0], [5, 0], [6, 0]]))
    assert first.equal(same)
    assert not torch.allclose(first, other)
    assert synth(theta).equal(synth(theta, torch.zeros(3, 2, dtype=torch.int64)))


def test_shift_delays_the_drum():
    synth, theta = make_synth(1000), random_theta(2)
    still = synth(theta)
    moved = synth(theta, torch.tensor([[0, 100], [0, -3]]))
    assert moved[0, 100:].equal(still[0, :-100])
    assert not moved[0, :100].any()
    assert moved[1, :-3].equal(still[1, 3:])


def test_bad_settings():
    with pytest.raises(ConfigurationError, match="sample rate must be at least 12000 Hz, got 8000"):
        TR808Synth(sample_rate=8000.0)
    with pytest.raises(ConfigurationError, match="n_samples must be positive, got 0"):
        TR808Synth(n_samples=0)
