"""The granular synthesizer: instantaneous frequency, number of grains, seeds."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import hilbert

from multipath.applications.matching.presets import preset
from multipath.applications.reproduction.grid import TABLES
from multipath.applications.synths.granular import GranularSynth, PublishedGranularSynth
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


def published_texture(
    theta, seed, *, n_samples, sample_rate, n_grains, grain_samples, f_min, f_max
):
    """The formulas of the published synthesizer, grain by grain and sample by sample."""
    density, slope = theta
    gamma = np.tan(0.95 * np.pi / 2 * (2 * slope - 1)) * sample_rate / (12 * 256) / 4
    offset = 0.25 * density + 0.75 * density**2
    loudness = [
        1 - 1 / (1 + np.exp(-2 * (1 - density) * n_grains * (i / n_grains - offset)))
        for i in range(n_grains)
    ]
    generator = torch.Generator().manual_seed(seed)
    heights, onsets = (torch.rand(n_grains, generator=generator).double() for _ in range(2))
    texture = np.zeros(n_samples)
    for i in range(n_grains):
        frequency = f_min * (f_max / f_min) ** heights[i].item()
        cycles, begin = 0.0, int(onsets[i].item() * (n_samples - grain_samples))
        for n in range(grain_samples):
            time = n / sample_rate - grain_samples / sample_rate / 2
            cycles += frequency * 2 ** (gamma * time) / sample_rate
            window = np.sin(np.pi * n / grain_samples) ** 2
            amplitude = loudness[i] / max(loudness) / np.sqrt(frequency)
            texture[begin + n] += amplitude * window * np.sin(2 * np.pi * cycles)
    return texture / np.linalg.norm(texture)


@pytest.mark.parametrize("theta", [(0.0, 0.0), (0.3, 0.5), (0.8, 0.7), (1.0, 1.0)])
def test_the_published_synthesizer_follows_its_formulas(theta):
    synth = PublishedGranularSynth(**SMALL).double()
    # buffers are made in the default precision: their exact values take part in the comparison
    synth.time.copy_(torch.arange(512, dtype=torch.float64) / 2048 - 0.125)
    synth.window.copy_(torch.sin(math.pi * torch.arange(512, dtype=torch.float64) / 512).square())
    found = synth(torch.tensor([theta], dtype=torch.float64), torch.tensor([7]))[0]
    np.testing.assert_allclose(found.numpy(), published_texture(theta, 7, **SMALL), atol=1e-9)
    single = PublishedGranularSynth(**SMALL)(torch.tensor([theta]), torch.tensor([7]))[0]
    np.testing.assert_allclose(single.numpy(), found.numpy(), atol=1e-3 * found.abs().max().item())


@pytest.mark.parametrize("make", [GranularSynth, PublishedGranularSynth])
def test_gradients_are_those_of_finite_differences(make):
    synth = make(**SMALL).double()
    seeds = torch.tensor([3, 4])
    generator = torch.Generator().manual_seed(0)
    theta = 0.2 + 0.6 * torch.rand(2, 2, dtype=torch.float64, generator=generator)
    weights = torch.randn(2, 2048, dtype=torch.float64, generator=generator)
    theta.requires_grad_()
    assert torch.autograd.gradcheck(lambda t: (synth(t, seeds) * weights).sum(), theta, atol=1e-4)


@pytest.mark.parametrize("make", [GranularSynth, PublishedGranularSynth])
def test_a_sample_rate_is_a_number(make):
    with pytest.raises(ConfigurationError, match="sample_rate must be positive, got 'fast'"):
        make(sample_rate="fast")


def test_the_published_synthesizer_is_an_option_of_the_paper_preset():
    assert type(preset("paper", "granular").task.build_synth()) is GranularSynth
    theirs = preset("paper", "granular", synth="published").task.build_synth()
    assert type(theirs) is PublishedGranularSynth
    assert (theirs.n_grains, theirs.grain_samples, theirs.steepest) == (64, 4096, 0.95)
    for changes in ({"softness": 1.0}, {"pitches": "spread"}):
        with pytest.raises(ConfigurationError, match="has no softness and random pitches"):
            preset("paper", "granular", synth="published", **changes)
    with pytest.raises(ConfigurationError, match="synth must be"):
        preset("paper", "granular", synth="theirs")


@pytest.mark.parametrize(("scale", "kind"), [("paper", "published"), ("quick", "gated")])
def test_tables_at_the_scale_of_the_paper_take_the_published_synthesizer(scale, kind):
    rows = [row for name in ("table1", "table2", "figure1") for row in TABLES[name].rows]
    assert {row.config(scale, 0).task.synth for row in rows} == {kind}
