"""The chirplet synthesizer: instantaneous frequency, window and shift."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.signal import hilbert

from multipath.applications.synths.chirplet import (
    ChirpletRanges,
    ChirpletSynth,
    shift_signals,
)
from multipath.errors import ConfigurationError

SMALL = {"n_samples": 512, "sample_rate": 2048.0, "f0": 256.0}


def make_synth(name: str | ChirpletRanges = "fast-fast", **changes) -> ChirpletSynth:
    return ChirpletSynth(name, **{**SMALL, **changes}).double()


def jacobian(synth: ChirpletSynth, theta: torch.Tensor) -> torch.Tensor:
    """Derivatives of the signals, shape (2, batch, n_samples)."""
    by_row = torch.func.jacrev(lambda row: synth(row[None])[0])
    return torch.func.vmap(by_row)(theta).movedim(-1, 0)


def random_theta(count: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 2, generator=generator, dtype=torch.float64)


def test_the_gradient_is_shifted_with_the_signal():
    synth = make_synth()
    theta = random_theta().requires_grad_()
    probe = torch.randn(5, 512, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shift = torch.tensor([0, 3, -7, 100, -100])
    (synth(theta, shift) * probe).sum().backward()
    still = theta.detach()
    rows = [shift_signals(row, shift) for row in jacobian(synth, still)]
    wanted = torch.stack([(row * probe).sum(dim=1) for row in rows], dim=1)
    torch.testing.assert_close(theta.grad, wanted)


def test_detaching_the_window_changes_only_the_gradient_of_fm():
    synth, cut, theta = make_synth(), make_synth(detach_window=True), random_theta()
    torch.testing.assert_close(cut(theta), synth(theta), rtol=0, atol=0)
    am, fm = jacobian(synth, theta)
    cut_am, cut_fm = jacobian(cut, theta)
    torch.testing.assert_close(cut_am, am, rtol=0, atol=0)
    assert (cut_fm - fm).norm() > 0.1 * fm.norm()


def test_instantaneous_frequency_doubles_every_octave():
    rate, f0 = 8192.0, 512.0
    fm = 3.0
    synth = ChirpletSynth(ChirpletRanges((1.0, 2.0), (fm, 2 * fm)), sample_rate=rate, f0=f0)
    synth = synth.double()
    theta = torch.tensor([[0.0, 0.0]], dtype=torch.float64)  # AM 1 Hz: no sign change in (0, 1) s
    phase = torch.from_numpy(hilbert(synth(theta)[0].numpy())).angle()
    start = synth.n_samples // 2 + int(0.05 * rate)
    stop = start + int(0.1 * rate)
    steps = phase[start + 1 : stop + 1] - phase[start - 1 : stop - 1]
    measured = torch.remainder(steps, 2 * math.pi) / (2 * math.pi) * rate / 2
    wanted = f0 * 2 ** (fm * synth.time[start:stop])
    torch.testing.assert_close(measured, wanted, rtol=2e-3, atol=0)


def test_the_envelope_beats_at_the_am_rate():
    am = 5.0
    synth = make_synth(ChirpletRanges((am, 2 * am), (0.1, 0.2)), n_samples=8192, f0=256.0)
    theta = torch.zeros(1, 2, dtype=torch.float64)
    energy = torch.from_numpy(hilbert(synth(theta)[0].numpy())).abs() ** 2
    window = torch.exp(-((synth.time / (0.1 * 2.0 / 0.1)) ** 2))
    modulation = (energy / window)[2048:-2048]
    spectrum = torch.fft.rfft(modulation - modulation.mean()).abs()
    assert float(spectrum.argmax()) * 2048.0 / len(modulation) == pytest.approx(am, abs=0.3)


def test_the_window_covers_the_same_octaves_at_every_speed():
    synth = make_synth("fast-fast", n_samples=8192)
    theta = torch.tensor([[0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    am, fm = synth.physical(theta).unbind(dim=1)
    signals = synth.render(torch.full_like(am, 1e-6), fm) / 1e-6  # sin(pi am t) ~ pi am t
    envelope = torch.from_numpy(hilbert(signals.numpy())).abs() / (
        math.pi * synth.time.abs().clamp_min(1e-9) * fm[:, None]
    )
    for row, speed in zip(envelope, fm, strict=True):
        late = int((0.2 / speed * 2048.0).round())  # one standard deviation: 0.1 * 2 octaves
        value = row[8192 // 2 + late]
        assert float(value) == pytest.approx(math.exp(-0.5), rel=0.05)


def test_theta_is_log_uniform_between_the_published_bounds():
    synth = ChirpletSynth("fast-moderate").double()
    theta = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]], dtype=torch.float64)
    wanted = [[2.8, 2.0], [8.4, 4.0], [math.sqrt(2.8 * 8.4), math.sqrt(8.0)]]
    torch.testing.assert_close(
        synth.physical(theta), torch.tensor(wanted, dtype=torch.float64), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("by", [-512, -3, 0, 3, 511, 512, 2000])
def test_a_shift_is_exact_and_never_wraps(by):
    signal = torch.arange(1.0, 513.0)[None]
    wanted = torch.tensor([float(i - by + 1 if 0 <= i - by < 512 else 0) for i in range(512)])
    assert shift_signals(signal, torch.tensor([by]))[0].equal(wanted)


def test_silence_far_from_the_chirplet_has_finite_gradients():
    synth = ChirpletSynth("fast-fast", n_samples=32768)
    theta = torch.ones(1, 2, requires_grad=True)
    synth(theta).square().sum().backward()
    assert torch.isfinite(theta.grad).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranges": "fast-slow"}, "unknown chirplet synthesizer 'fast-slow'; choose one of slow"),
        ({"ranges": ChirpletRanges((2.0, 1.0), (1.0, 2.0))}, "AM range must satisfy 0 < low"),
        ({"ranges": ChirpletRanges((1.0, 2.0), (0.0, 2.0))}, "FM range must satisfy 0 < low"),
        ({"f0": 600.0, "sample_rate": 2048.0}, "reaches .* 1200 Hz, above half the sample rate"),
        ({"n_samples": 0}, "n_samples must be a positive integer, got 0"),
        ({"sigma": -1.0}, "sigma must be positive"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        ChirpletSynth(**{"ranges": "slow-slow", **changes})
