"""Distances between drums: known signals, an independent reference, silence."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from scipy.signal.windows import flattop

from multipath import TransformLoss
from multipath.applications.audio.timbre import (
    brightness,
    centroid,
    flatness,
    k_weighting,
    loudness,
)
from multipath.applications.metrics.drums import DrumMetrics
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import Scattering1D

LENGTH, RATE = 4096, 44100.0
SCATTERING = Scattering1D(LENGTH, J=6)


def make_metrics(**changes) -> DrumMetrics:
    small = {"frame_size": 512, "hop_size": 128, "decay_frames": 20, "scattering": SCATTERING}
    return DrumMetrics(LENGTH, RATE, **{**small, **changes})


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sine(frequency: float, n_samples: int, rate: float = RATE) -> torch.Tensor:
    time = torch.arange(n_samples, dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * frequency * time)


def test_k_weighting_has_the_coefficients_of_the_standard():
    wanted = [
        [
            [1.53512485958697, -2.69169618940638, 1.19839281085285],
            [1, -1.69065929318241, 0.73248077421585],
        ],
        [[1, -2, 1], [1, -1.99004745483398, 0.99007225036621]],
    ]
    found = torch.stack([torch.stack(filters) for filters in k_weighting(48000.0)])
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [44100.0, 48000.0, 96000.0])
def test_loudness_of_full_scale_at_1_khz_at_any_rate(rate):
    assert loudness(sine(997.0, int(rate), rate), rate).item() == pytest.approx(-3.01, abs=0.02)


def test_loudness_equals_filtering_sample_by_sample():
    frames = noise(3, 500)
    filtered = frames.numpy()
    for b, a in k_weighting(RATE):
        filtered = lfilter(b.numpy(), a.numpy(), filtered, axis=-1)
    wanted = -0.691 + 10 * np.log10((filtered**2).mean(axis=-1))
    np.testing.assert_allclose(loudness(frames, RATE).numpy(), wanted, atol=1e-6)


def test_half_the_amplitude_is_6_lu_less_and_silence_is_the_floor():
    sound = noise(2048)
    difference = loudness(sound, RATE) - loudness(sound / 2, RATE)
    assert difference.item() == pytest.approx(20 * math.log10(2), abs=1e-4)
    assert loudness(torch.zeros(2048), RATE).item() == pytest.approx(-80.691, abs=1e-4)


def test_centroid_of_what_is_symmetric_is_a_quarter_of_the_rate():
    click = torch.zeros(2049)
    click[1024] = 1.0
    for sound in (click, torch.zeros(2048)):
        assert centroid(sound, RATE).item() == pytest.approx(RATE / 4, rel=1e-3)


def test_centroid_equals_a_sum_over_bins():
    sound = noise(1000)
    magnitudes = np.abs(np.fft.rfft(sound.numpy() * flattop(1000)))
    weights = np.log(1 + magnitudes)
    wanted = sum(w * k * RATE / 1000 for k, w in enumerate(weights)) / weights.sum()
    assert centroid(sound, RATE, floor=1e-15).item() == pytest.approx(wanted, rel=1e-9)


def test_flatness_of_clicks_noise_sines_and_silence():
    click = torch.zeros(2048, dtype=torch.float64)
    click[1000] = 1.0
    assert flatness(click).item() == pytest.approx(0.0, abs=1e-6)
    # power is exponentially distributed: E log p = log E p - Euler's constant
    white = flatness(noise(200, 2048)).mean().item()
    assert white == pytest.approx(-20 / math.log(10) * np.euler_gamma, abs=0.05)
    assert flatness(sine(RATE / 16, 2048)).item() < -120
    assert flatness(torch.zeros(2048)).item() == pytest.approx(0.0, abs=1e-4)


def test_mss_equals_spectrogram_by_spectrogram():
    ours, theirs = noise(2, LENGTH), noise(2, LENGTH, seed=1)
    theirs[:, 1000:3000] = 0.0  # where the logarithm meets its floor
    wanted = torch.zeros(2, dtype=torch.float64)
    for size in (64, 128, 256, 512, 1024, 2048):
        window = torch.hann_window(size, dtype=torch.float64)
        a, b = (
            torch.stft(x, size, size // 4, window=window, return_complex=True).abs().clamp(min=1e-4)
            for x in (ours, theirs)
        )
        wanted += ((a - b).abs() + (a.log() - b.log()).abs()).mean(dim=(1, 2)) / 6
    torch.testing.assert_close(make_metrics()(ours, theirs)["mss"], wanted)


def test_jtfs_is_the_mean_norm_over_compressed_paths():
    ours, theirs = noise(2, LENGTH), noise(2, LENGTH, seed=1)
    found = make_metrics()(ours, theirs)["jtfs"]
    pairs = [
        torch.sign(a) * torch.log1p(a.abs() / 1e-3) - torch.sign(b) * torch.log1p(b.abs() / 1e-3)
        for a, b in zip(SCATTERING(ours), SCATTERING(theirs), strict=True)
    ]
    wanted = torch.stack([pair.flatten(1).norm(dim=1) for pair in pairs]).mean(dim=0)
    torch.testing.assert_close(found, wanted)


def test_the_published_transform_is_the_default():
    jtfs = DrumMetrics().distances["jtfs"]
    assert isinstance(jtfs, TransformLoss)
    assert len(jtfs.paths) == 12 + 483


@pytest.mark.parametrize(
    ("part", "other", "start", "stop"),
    [("transient", "decay", 0, 128), ("decay", "transient", 640, 3072)],
)
def test_parts_see_their_own_frames(part, other, start, stop):
    target = noise(1, LENGTH)
    changed = target.clone()
    changed[:, start:stop] = 0.0
    found = make_metrics()(changed, target)
    for feature in ("loudness", "centroid", "flatness"):
        assert found[f"{part}_{feature}"].item() > 0
        assert found[f"{other}_{feature}"].item() == 0
    after = target.clone()
    after[:, 3072:] = 0.0  # 512 + 21 * 128 = 3200 is where the last frame ends
    assert make_metrics(decay_frames=19)(after, target)["decay_loudness"].item() == 0


def test_onset_moves_the_frames():
    target = noise(1, LENGTH)
    changed = target.clone()
    changed[:, :500] = 0.0
    found = make_metrics(onset=500)(changed, target)
    assert not any(found[name].item() for name in found if "_" in name)


def test_features_are_means_of_differences_of_frames_weighted_by_loudness():
    ours, theirs = 0.1 * noise(1, LENGTH), noise(1, LENGTH, seed=1)
    found = make_metrics(transient_frames=1, decay_frames=2)(ours, theirs)

    def features(frame):
        level = loudness(frame, RATE)
        weighted = torch.stack([brightness(centroid(frame, RATE)), flatness(frame)])
        return torch.cat([level[None], weighted * (level + 80.691)])

    first, *rest = (
        (features(ours[0, start : start + 512]) - features(theirs[0, start : start + 512])).abs()
        for start in (0, 128, 256)
    )
    for part, wanted in (("transient", first), ("decay", torch.stack(rest).mean(dim=0))):
        values = [found[f"{part}_{name}"] for name in ("loudness", "centroid", "flatness")]
        torch.testing.assert_close(torch.cat(values), wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_is_finite_and_equal_sounds_are_at_distance_zero(dtype):
    silence, sound = torch.zeros(1, LENGTH, dtype=dtype), noise(1, LENGTH).to(dtype)
    metrics = make_metrics()
    for name, value in metrics(silence, sound).items():
        assert value.shape == (1,)
        assert 0 < value.item() < math.inf, name
    for same in (silence, sound):
        assert not any(value.item() for value in metrics(same, same).values())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [((1, 100), (1, 100)), ((2, LENGTH), (1, LENGTH)), ((LENGTH,), (LENGTH,))],
)
def test_bad_shapes(ours, theirs):
    with pytest.raises(InputError, match=r"both sounds must have shape \(batch, 4096\), got"):
        make_metrics()(torch.zeros(ours), torch.zeros(theirs))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_size": 0}, "hop_size must be positive, got 0"),
        ({"decay_frames": 64}, r"2 \+ 64 frames of 512 samples from sample 0 on reach to 8832"),
        ({"onset": 2000}, "reach to 5200, beyond the 4096 samples"),
        ({"onset": -1}, "from sample -1 on"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        make_metrics(**changes)
    with pytest.raises(ConfigurationError, match="more than 1024 samples, got 1000"):
        DrumMetrics(1000)
