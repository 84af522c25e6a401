"""The granular synthesizer: instantaneous frequency, number of grains, seeds."""

import math

import pytest
import torch
from scipy.signal import hilbert

from multipath.applications.synths.granular import GranularSynth
from multipath.errors import ConfigurationError

SMALL = {
    "n_samples": 2048, "sample_rate": 2048.0, "n_grains": 8, "grain_samples": 512,
    "f_min": 64.0, "f_max": 512.0,
}  # fmt: skip


def make_synth(**changes) -> GranularSynth:
    return GranularSynth(**{**SMALL, **changes}).double()


@pytest.mark.parametrize("slope", [-2.0, 0.0, 0.5, 2.0])
def test_instantaneous_frequency_of_a_grain(slope):
    synth = make_synth(bandwidth=2.0)
    grain = synth.grains(
        torch.tensor([slope], dtype=torch.float64), torch.tensor([[200.0]], dtype=torch.float64)
    )[0, 0]
    phase = torch.as_tensor(hilbert(grain.numpy())).angle().numpy()
    middle = slice(200, 312)  # where the window is high and the analytic signal accurate
    found = torch.as_tensor(phase).diff()
    found = torch.remainder(found, 2 * math.pi)[middle] * 2048 / (2 * math.pi)
    time = synth.time[:-1][middle] + 0.5 / 2048
    torch.testing.assert_close(found, 200 * torch.exp2(slope * time), rtol=0.01, atol=0)


@pytest.mark.parametrize("density", [0.0, 0.25, 0.5, 1.0])
def test_density_is_the_number_of_grains(density):
    synth = make_synth(n_grains=32)
    grains, _ = synth.physical(torch.tensor([density, 0.5], dtype=torch.float64))
    gates = synth.gates(grains[None])[0]
    assert gates.sum() == pytest.approx(32 * density, abs=0.4)  # the gate is soft
    assert bool((gates.diff() <= 0).all())


def test_grains_lie_within_the_signal_and_their_frequencies_within_range():
    onsets, frequencies = make_synth().placement(torch.arange(200))
    assert 0 <= onsets.min() < 60
    assert 1476 < onsets.max() <= 2048 - 512
    assert 64 <= frequencies.min() < 66
    assert 500 < frequencies.max() <= 512


def test_a_seed_decides_the_texture():
    theta = torch.full((1, 2), 0.3, dtype=torch.float64).expand(3, 2)
    first, same, other = make_synth()(theta, torch.tensor([5, 5, 6]))
    assert first.equal(same)
    assert (first - other).norm() > 0.5


def test_spread_pitches_are_even_over_any_number_of_grains_and_the_same_in_all_textures():
    onsets, frequencies = make_synth(n_grains=64, pitches="spread").placement(torch.tensor([1, 2]))
    assert frequencies[0].equal(frequencies[1])
    assert not onsets[0].equal(onsets[1])
    for count in (8, 21, 64):
        heights = torch.log2(frequencies[0, :count] / 64).div(3).sort().values
        even = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        assert (heights - even).abs().max() < 1.5 / count


def test_the_norm_is_one_and_extremes_are_finite():
    synth = make_synth()
    corners = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1.0]], dtype=torch.float64)
    corners.requires_grad_()
    textures = synth(corners, torch.arange(4))
    torch.testing.assert_close(textures.norm(dim=1), torch.ones(4, dtype=torch.float64))
    textures.pow(3).sum().backward()
    assert bool(torch.isfinite(corners.grad).all())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steepest": 1.0}, "steepest must lie between 0 and 1, got 1.0"),
        ({"pitches": "high"}, "pitches must be"),
        ({"n_grains": 0}, "n_grains must be positive, got 0"),
        ({"grain_samples": 4096}, "between 2 and n_samples = 2048, got 4096"),
        ({"f_max": 2000.0}, "half the sample rate = 1024 Hz, got 2000 Hz"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        make_synth(**changes)
