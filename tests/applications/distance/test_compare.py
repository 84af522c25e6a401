"""Comparing two recordings, as a function and as a command."""

import csv
import json
import re

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.image import imread

from multipath import TransformLoss
from multipath.applications.audio.files import read_audio, resample, write_audio
from multipath.applications.distance.compare import (
    LEVELS,
    TRANSFORMS,
    compare,
    default_transform,
    plot,
)
from multipath.applications.distance.plot import check_plot_file
from multipath.errors import InputError
from multipath.transforms import JTFS, MultiResolutionSTFT, Scattering1D, Transform
from tests import RECORDINGS
from tests.applications.command import call, refused

RATE = 2048
TIME = torch.arange(2048) / RATE


def noise(seed, n_samples=2048):
    return torch.randn(n_samples, generator=torch.Generator().manual_seed(seed))


def tremolo(rate, frequency=300.0):
    """A tone whose loudness fluctuates `rate` times per second."""
    carrier = torch.sin(2 * torch.pi * frequency * TIME)
    return carrier * (1 + torch.sin(2 * torch.pi * rate * TIME))


def glide(octaves_per_second, middle=250.0):
    """A tone that passes its middle frequency after half of the second."""
    slope = octaves_per_second * np.log(2)
    return torch.sin(2 * torch.pi * middle * torch.exp(slope * (TIME - 0.5)) / slope)


class Halves(Transform):
    """Two paths: the positive part of the samples, and the negative part."""

    def __init__(self):
        super().__init__(2)

    def coefficients(self, x, indices):
        return [(x if index == 0 else -x).clamp(min=0) for index in indices]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.slow
def test_equal_recordings_are_at_distance_zero(transform):
    comparison = compare(noise(0), noise(0), RATE, transform)
    assert comparison.distance == comparison.relative == 0
    assert set(comparison.path_losses) == {0.0}


def test_distance_is_the_loss_of_the_paper():
    a, b, transform = noise(0), noise(1), MultiResolutionSTFT([256, 1024])
    comparison = compare(a, b, RATE, transform, level="none")
    loss = TransformLoss(transform, rho="log1p", eps=1e-3, distance="squared_l2")
    expected = loss.path_losses(a[None], b[None], range(len(loss.paths)))[:, 0]
    torch.testing.assert_close(torch.tensor(comparison.path_losses), expected)
    assert comparison.distance == pytest.approx(float(loss(a[None], b[None])), rel=1e-5)


@pytest.mark.slow
def test_distance_is_symmetric():
    there, back = compare(noise(0), noise(1), RATE), compare(noise(1), noise(0), RATE)
    assert there.distance == pytest.approx(back.distance, rel=1e-5)


def test_relative_distance_is_one_when_no_path_is_shared():
    a, b = noise(0).abs(), -noise(1).abs()
    assert compare(a, b, RATE, Halves()).relative == pytest.approx(1.0)
    assert 0 < compare(noise(0), noise(1), RATE, Halves()).relative < 1


def test_mean_of_a_scattering_transform_is_left_out():
    transform = Scattering1D(2048, J=7, Q=(4, 1), T=128)
    comparison = compare(noise(0), noise(1), RATE, transform)
    assert transform.paths[0].metadata["order"] == 0
    assert [path.index for path in comparison.paths] == list(range(1, len(transform.paths)))


def test_contributions_are_sorted_and_add_up():
    comparison = compare(noise(0), noise(1), RATE, "mrstft")
    items = comparison.contributions()
    assert sum(item.share for item in items) == pytest.approx(1.0)
    assert [item.loss for item in items] == sorted(comparison.path_losses, reverse=True)
    assert all(item.loss == comparison.path_losses[item.path.index] for item in items)
    assert comparison.contributions(2) == items[:2]


@pytest.mark.parametrize("rate", [20.0, 80.0])
def test_rates_that_differ_contribute_most(rate):
    steady = torch.sin(2 * torch.pi * 300 * TIME)
    best = compare(steady, tremolo(rate), RATE).contributions(1)[0].path
    assert rate / 1.5 < best.metadata["rate"] < rate * 1.5


def test_rising_and_falling_glides_differ_by_spin():
    comparison = compare(glide(2.0), glide(-2.0), RATE)
    first, second = (item.path.metadata for item in comparison.contributions(2))
    assert {first["spin"], second["spin"]} == {1, -1}
    assert first["rate"] == second["rate"]
    by_spin = dict.fromkeys((-1, 0, 1), 0.0)
    for item in comparison.contributions():
        by_spin[item.path.metadata["spin"]] += item.share
    assert by_spin[0] < 0.1


@pytest.mark.parametrize("level", ["peak", "rms"])
def test_loudness_is_ignored_unless_asked_for(level):
    a, b = noise(0), noise(1)
    expected = compare(a, b, RATE, "mrstft", level).distance
    assert compare(0.1 * a, 3 * b, RATE, "mrstft", level).distance == pytest.approx(expected, 1e-4)
    as_they_are = compare(a, b, RATE, "mrstft", "none").distance
    louder = compare(a, 3 * b, RATE, "mrstft", "none").distance
    assert louder > 1.2 * as_they_are


def test_levels_scale_to_what_they_say():
    pair = torch.stack([noise(0), 0.01 * noise(1)])
    torch.testing.assert_close(LEVELS["peak"](pair).abs().amax(1), torch.ones(2))
    torch.testing.assert_close(LEVELS["rms"](pair).square().mean(1), torch.full((2,), 0.01))
    assert torch.equal(LEVELS["none"](pair), pair)


def test_shorter_recording_is_followed_by_silence():
    a, b = noise(0), noise(1)[:1024]
    comparison = compare(a, b, RATE, "mrstft")
    assert comparison.notes == ("b is followed by 0.5 s of silence",)
    padded = torch.cat([b, torch.zeros(1024)])
    assert comparison.path_losses == compare(a, padded, RATE, "mrstft").path_losses
    assert compare(b, a, RATE, "mrstft").notes == ("a is followed by 0.5 s of silence",)
    assert compare(a, a, RATE, "mrstft").notes == ()


@pytest.mark.slow
def test_drums_get_the_published_setting():
    transform = default_transform("jtfs", 44100, 44100)
    assert len(transform.paths) == 483
    expected = JTFS(44100, J=12, Q=(8, 2), J_fr=5, Q_fr=2, T=2048, F=1, sample_rate=44100)
    assert transform.paths == expected.paths
    assert transform.extra_repr() == expected.extra_repr()


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("n_samples", [256, 1023])
@pytest.mark.parametrize("sample_rate", [1000, 192000])
def test_short_recordings_still_work(transform, n_samples, sample_rate):
    comparison = compare(noise(0, n_samples), noise(1, n_samples), sample_rate, transform)
    assert 0 < comparison.relative < 1


NAN = torch.where(torch.arange(2048) == 5, torch.nan, noise(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"b": torch.zeros(2048)}, "b: the recording is silent"),
        ({"a": NAN}, "a: expected finite samples, got 1 NaN or infinite ones out of 2048"),
        ({"b": noise(1)[None]}, r"b: expected a mono waveform of shape \(T,\), got shape \(1, 20"),
        ({"a": torch.zeros(0)}, r"a: expected a mono waveform of shape \(T,\), got shape \(0,\)"),
        ({"a": noise(0, 255), "b": noise(1, 255)}, "255 samples is too short for jtfs.* 256 are"),
        ({"transform": "mfcc"}, "transform must be one of jtfs, scattering1d, mrstft, got 'mfcc'"),
        ({"level": "lufs"}, "level must be one of rms, peak, none, got 'lufs'"),
        ({"sample_rate": 0}, "a sample rate must be positive, got 0"),
        ({"transform": Scattering1D(4096, J=7)}, "expected signals of 4096 samples, got 2048"),
    ],
)
def test_bad_input(changes, message):
    arguments = {"a": noise(0), "b": noise(1), "sample_rate": RATE, **changes}
    with pytest.raises(InputError, match=message):
        compare(**arguments)


@pytest.mark.slow
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_plot(tmp_path, transform):
    different = compare(noise(0), tremolo(20), RATE, transform)
    plot(different, tmp_path / "different.png")
    pixels = imread(tmp_path / "different.png")
    assert pixels.shape[:2] == (675, 1050)
    assert pixels.std() > 0.02
    plot(compare(noise(0), noise(0), RATE, transform), tmp_path / "same.png")
    assert not np.array_equal(imread(tmp_path / "same.png"), pixels)


def test_plot_of_any_other_transform(tmp_path):
    plot(compare(noise(0), noise(1), RATE, Halves()), tmp_path / "bars.svg")
    assert "<svg" in (tmp_path / "bars.svg").read_text()


def test_plot_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match=r"a\.xyz: expected a plot with one of the suffixes"):
        check_plot_file(tmp_path / "a.xyz")
    with pytest.raises(InputError, match=r"a\.png: there is no folder .*none; make it first"):
        check_plot_file(tmp_path / "none" / "a.png")
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OSError, match=r"Is a directory: '.*a\.png'"):
        plot(compare(noise(0), noise(1), RATE, Halves()), tmp_path / "a.png")


# The command


@pytest.fixture
def files(tmp_path):
    """A folder with two recordings, and some that cannot be compared."""
    write_audio(tmp_path / "slow.wav", 0.3 * tremolo(20), RATE)
    write_audio(tmp_path / "fast.wav", 0.3 * tremolo(80), RATE)
    write_audio(tmp_path / "other_rate.wav", 0.3 * noise(3, 4096), 2 * RATE)
    write_audio(tmp_path / "silent.wav", torch.zeros(2048), RATE)
    stereo = torch.stack([tremolo(20), tremolo(80)], dim=1)
    soundfile.write(tmp_path / "stereo.wav", stereo.numpy(), RATE, "FLOAT")
    return tmp_path


@pytest.mark.slow
def test_command_prints_the_ten_paths_that_contribute_most(files, capsys):
    code, output, error = call(capsys, "distance", files / "slow.wav", files / "fast.wav")
    assert (code, error) == (0, "")
    assert "jtfs" in output
    assert "2048 samples at 2048 Hz" in output
    comparison = compare(0.3 * tremolo(20), 0.3 * tremolo(80), RATE)
    assert (
        f"distance {comparison.distance:.4g}, relative {100 * comparison.relative:.1f} %" in output
    )
    rows = re.findall(r"^│ \((\d+), (\d+)\)", output, flags=re.MULTILINE)
    assert [(int(n2), int(n_fr)) for n2, n_fr in rows] == [
        item.path.key for item in comparison.contributions(10)
    ]
    for heading in ("rate (Hz)", "scale", "spin"):
        assert heading in output


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.slow
def test_command_prints_json(files, capsys, transform):
    pair = files / "slow.wav", files / "fast.wav"
    code, output, _ = call(capsys, "distance", *pair, "--json", f"--transform={transform}")
    content = json.loads(output)
    assert code == 0
    assert content["settings"]["transform"] == transform
    assert content["settings"]["n_paths"] == len(content["paths"])
    assert content["distance"] == pytest.approx(np.mean([p["loss"] for p in content["paths"]]))
    assert sum(path["share"] for path in content["paths"]) == pytest.approx(1.0)


def test_command_draws(files, capsys):
    pair, plot = (files / "slow.wav", files / "fast.wav"), files / "p.png"
    code, output, _ = call(capsys, "distance", *pair, "--plot", plot, "--transform=mrstft")
    assert code == 0
    assert f"plot: {plot}" in output
    assert imread(plot).std() > 0.02


def test_command_resamples_on_request(files, capsys):
    pair = [files / "slow.wav", files / "other_rate.wav", "--transform", "mrstft", "--json"]
    _, output, _ = call(capsys, "distance", *pair, "--resample")
    content = json.loads(output)
    assert content["settings"]["sample_rate"] == RATE
    assert content["settings"]["n_samples"] == 2048
    assert content["notes"] == [f"{files / 'other_rate.wav'} is resampled from 4096 to 2048 Hz"]
    _, output, _ = call(capsys, "distance", *pair, "--sample-rate", 8192)
    assert json.loads(output)["settings"]["n_samples"] == 8192
    assert len(json.loads(output)["notes"]) == 2


def test_command_mixes_down_on_request(files, capsys):
    pair = files / "stereo.wav", files / "slow.wav"
    _, output, _ = call(capsys, "distance", *pair, "--mono", "--transform=mrstft", "--json")
    expected = compare(tremolo(20) + tremolo(80), tremolo(20), RATE, "mrstft").distance
    assert json.loads(output)["distance"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("missing.wav", [], "missing.wav: there is no such file"),
        ("silent.wav", [], "silent.wav: the recording is silent"),
        ("stereo.wav", [], "stereo.wav: expected one channel, got 2; pass --mono"),
        ("other_rate.wav", [], "has 4096; pass --resample to bring both to the lower rate"),
        ("fast.wav", ["--sample-rate", "-1"], "a sample rate must be a whole number of Hz"),
        ("fast.wav", ["--sample-rate", "100"], "100 samples is too short for jtfs"),
        ("fast.wav", ["--plot", "a.xyz"], "a.xyz: expected a plot with one of the suffixes"),
    ],
)
def test_command_refuses_bad_input_in_one_line(files, capsys, name, options, message):
    assert message in refused(capsys, "distance", files / "slow.wav", files / name, *options)


@pytest.mark.parametrize("option", ["--transform", "--level"])
def test_command_refuses_unknown_choices(capsys, option):
    line = refused(capsys, "distance", "a.wav", "b.wav", option, "unheard")
    assert f'Invalid value "unheard" for {option}' in line


# Real recordings


@pytest.mark.slow
@pytest.mark.skipif(
    not (RECORDINGS / "labels.csv").is_file(),
    reason=f"needs TR-808 recordings in {RECORDINGS.name}/ beside the checkout, which are not ours "
    "to share",
)
@pytest.mark.parametrize(
    ("transform", "sample_rate"), [("scattering1d", 44100), ("mrstft", 44100), ("jtfs", 5512)]
)
def test_recordings_of_one_drum_are_closer_than_of_two(transform, sample_rate):
    with (RECORDINGS / "labels.csv").open() as lines:
        by_drum = {}
        for row in csv.DictReader(lines):
            by_drum.setdefault(row["drum"], []).append(row["file"])
    bass, same, different = (
        resample(read_audio(RECORDINGS / name)[0], 44100, sample_rate)
        for name in (*by_drum["BD"][:2], by_drum["SD"][0])
    )
    near = compare(bass, same, sample_rate, transform)
    far = compare(bass, different, sample_rate, transform)
    assert near.distance < far.distance
    assert near.relative < far.relative
