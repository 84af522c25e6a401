"""A folder of recordings: any length, rate and number of channels, types, splits, bad files."""

import logging
import math
import re
from collections import Counter
from pathlib import Path

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath.applications.audio.files import find_recordings, resample
from multipath.applications.matching.tasks.data import SPLITS
from multipath.applications.matching.tasks.drum_types import split_by_type
from multipath.applications.matching.tasks.recordings import (
    load_recordings,
    synthetic_recordings,
)
from multipath.applications.synths.tr808 import TR808Synth
from multipath.errors import ConfigurationError, InputError
from tests import RECORDINGS as DATA

RATE, LENGTH = 8000, 1000


def tone(n_samples: int = LENGTH, frequency: float = 100.0, rate: int = RATE) -> torch.Tensor:
    return 0.5 * torch.sin(2 * torch.pi * frequency * (torch.arange(n_samples) + 1) / rate)


def save(path: Path, waveform: torch.Tensor, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform.numpy(), rate, "FLOAT")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four good recordings."""
    for number in range(4):
        save(tmp_path / f"BD {number}.wav", tone(frequency=100.0 + number))
    return tmp_path


def load(folder: Path, **changes):
    return load_recordings(folder, **{"n_samples": LENGTH, "sample_rate": RATE, **changes})


def test_sounds_come_in_the_order_of_their_names(folder):
    drums = load(folder)
    assert drums.names == ("BD 0.wav", "BD 1.wav", "BD 2.wav", "BD 3.wav")
    assert drums.types == ("BD",) * len(drums)
    assert drums.sample_rate == RATE
    assert drums.theta is None
    assert drums.sounds.equal(torch.stack([tone(frequency=100.0 + n) for n in range(4)]))


def test_any_length_rate_and_number_of_channels(folder):
    save(folder / "a short.wav", tone(300))
    save(folder / "b long.wav", tone(3000))
    save(folder / "c stereo.wav", torch.stack([tone(), 0.2 * tone()], dim=1))
    save(folder / "d fast.wav", tone(4000, rate=32000), 32000)
    drums = load(folder)
    short, long, stereo, fast = (
        drums.sounds[drums.names.index(f"{name}.wav")]
        for name in ("a short", "b long", "c stereo", "d fast")
    )
    assert short[:300].equal(tone(300))
    assert not short[300:].any()
    assert long.equal(tone(3000)[:LENGTH])
    torch.testing.assert_close(stereo, 0.6 * tone())
    assert fast.equal(resample(tone(4000, rate=32000), 32000, RATE))
    torch.testing.assert_close(fast[100:900], tone(LENGTH, rate=RATE)[100:900], rtol=0, atol=0.05)


def test_trim_drops_what_lies_far_below_the_peak(folder):
    lead = torch.cat([1e-5 * torch.ones(400), 2e-3 * torch.ones(50), tone()])
    save(folder / "late.wav", lead)
    kept = load(folder).sounds[-1]
    assert kept.equal(lead[:LENGTH])
    assert load(folder, trim=60.0).sounds[-1].equal(lead[400 : 400 + LENGTH])
    assert load(folder, trim=40.0).sounds[-1].equal(lead[450 : 450 + LENGTH])


def test_types_come_from_labels_then_folders_then_names(folder):
    save(folder / "toms" / "low" / "1.wav", tone())
    save(folder / "SD_1.flac.wav", tone())
    save(folder / "007.wav", tone())
    (folder / "labels.csv").write_text("drum,file\nkick,BD 0.wav\nclap,toms/low/1.wav\n")
    drums = load(folder)
    found = dict(zip(drums.names, drums.types, strict=True))
    assert found["BD 0.wav"] == "kick"
    assert found["BD 1.wav"] == "BD"
    assert found["toms/low/1.wav"] == "clap"
    assert found["SD_1.flac.wav"] == "SD"
    assert found["007.wav"] == "unknown"


def test_other_and_hidden_files_are_not_recordings(folder):
    (folder / "notes.txt").write_text("mono")
    (folder / "._BD 0.wav").write_bytes(b"a resource fork")
    save(folder / ".trash" / "1.wav", tone())
    save(folder / "LOUD.WAV", tone())
    names = [path.name for path in find_recordings(folder)]
    assert names == ["BD 0.wav", "BD 1.wav", "BD 2.wav", "BD 3.wav", "LOUD.WAV"]


def broken_files(folder: Path) -> dict[str, str]:
    """Adds files nothing can be done with; returns what is said of each."""
    (folder / "corrupt.wav").write_bytes(b"RIFF and then nothing")
    save(folder / "empty.wav", tone(0))
    save(folder / "fast.wav", tone(), 1_999_999_973)
    save(folder / "huge.wav", 1e25 * tone())
    save(folder / "late.wav", torch.cat([torch.zeros(2 * LENGTH), tone()]))
    save(folder / "nan.wav", tone() * torch.nan)
    save(folder / "short.wav", tone(39))
    save(folder / "silent.wav", torch.zeros(LENGTH))
    return {
        "corrupt.wav": "not a readable recording",
        "empty.wav": "the recording is empty",
        "fast.wav": "the sample rate in the header must be .*, got 1999999973",
        "huge.wav": r"expected samples within 1e\+10 .*, got 5e\+24",
        "late.wav": "the first 1000 samples .* silent",
        "nan.wav": "1000 NaN or infinite ones",
        "short.wav": "too short: 4.88 ms of sound, at least 5 ms",
        "silent.wav": "the recording is silent",
    }


def test_bad_files_are_left_out_and_named_or_refused_on_request(folder, caplog):
    expected = broken_files(folder)
    with caplog.at_level(logging.WARNING):
        drums = load(folder)
    assert drums.names == ("BD 0.wav", "BD 1.wav", "BD 2.wav", "BD 3.wav")
    assert len(caplog.messages) == len(expected)
    for message, (name, reason) in zip(caplog.messages, expected.items(), strict=True):
        assert message.startswith(f"left out: {folder / name}")
        assert re.search(reason, message)
    with pytest.raises(InputError, match=expected["corrupt.wav"]):
        load(folder, refuse_bad_files=True)


def test_trim_saves_a_late_sound_and_shortens_a_short_one(folder):
    broken_files(folder)
    save(folder / "click.wav", torch.cat([torch.zeros(500), tone(20)]))
    drums = load(folder, trim=60.0)
    assert "late.wav" in drums.names
    assert "click.wav" not in drums.names


def test_no_folder_and_nothing_in_it(tmp_path):
    with pytest.raises(InputError, match="nowhere: there is no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"there is no recording in it.*\.wav, \.flac"):
        load(tmp_path)


def test_too_few_usable_recordings(folder):
    (folder / "BD 0.wav").unlink()
    assert len(load(folder)) == 3
    (folder / "BD 1.wav").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"at least 3 usable recordings are needed.*got 2 of 3"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,kind\nBD 0.wav,BD\n", r"labels\.csv, line 2: expected columns file and drum"),
        (b"file,drum\nBD 0.wav,BD\nBD 1.wav,\n", "line 3: expected columns file and drum, both"),
        (b"file,drum\nBD 0.wav\n", "line 2: expected columns file and drum, both filled in"),
        (b"file,drum\na.wav,BD\na.wav,SD\n", r"line 3: a\.wav is both BD and SD; keep one"),
        (b"\xff\xfe\x00\x01", "this is not a readable CSV file"),
    ],
)
def test_bad_labels(folder, content, message):
    (folder / "labels.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(folder)


def test_labels_of_missing_files_are_mentioned(folder, caplog):
    (folder / "labels.csv").write_text("\ufefffile,drum\ngone.wav,BD\n", encoding="utf-8")
    load(folder)
    assert caplog.messages == [f"{folder / 'labels.csv'} names gone.wav, which is not there"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_samples": 0}, "n_samples must be positive, got 0"),
        ({"sample_rate": 0}, "sample_rate must be a whole number of Hz from 1 to 1000000, got 0"),
        ({"trim": 0.0}, "trim must be a positive number of dB"),
    ],
)
def test_bad_settings(folder, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        load(folder, **changes)


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8).filter(lambda s: sum(s) >= 3),
    seed=st.integers(0, 1000),
)
def test_split_is_a_partition_with_every_type_in_every_part(sizes, seed):
    types = [f"type {number}" for number, size in enumerate(sizes) for _ in range(size)]
    splits = split_by_type(types, seed=seed)
    assert list(splits) == list(SPLITS)
    assert sorted(torch.cat(list(splits.values())).tolist()) == list(range(len(types)))
    for indices in splits.values():
        assert len(indices) > 0
        present = Counter(types[i] for i in indices.tolist())
        for number, size in enumerate(sizes):
            assert size < 3 or present[f"type {number}"] >= 1


@pytest.mark.parametrize(
    "sizes", [[80], [19, 6, 35, 20], [1] * 20, [2] * 15, [5] * 4, [7] * 6, [7, 9, 1]]
)
def test_split_is_60_20_20_overall_and_in_every_large_type(sizes):
    types = [f"type {number}" for number, size in enumerate(sizes) for _ in range(size)]
    for split, indices in split_by_type(types).items():
        assert abs(len(indices) - SPLITS[split] * len(types)) <= 1
        present = Counter(types[i] for i in indices.tolist())
        for number, size in enumerate(sizes):
            assert size < 5 or abs(present[f"type {number}"] - SPLITS[split] * size) < 2


def test_a_seed_decides_the_split():
    types = ["BD", "SD"] * 20
    first, again, other = (split_by_type(types, seed=seed) for seed in (0, 0, 1))
    assert all(first[split].equal(again[split]) for split in SPLITS)
    assert not first["test"].equal(other["test"])


class Echo(TR808Synth):
    """Sounds that tell which parameters and which seed they were made from."""

    def forward(self, theta, nuisance=None):
        assert not nuisance[:, 1].any()  # no delay
        return torch.cat([theta, nuisance[:, :1].float()], dim=1)


def test_synthetic_recordings_are_made_of_their_parameters_with_noise_of_their_own():
    drums = synthetic_recordings(Echo(n_samples=500), 40, seed=3)
    assert drums.sounds[:, :14].equal(drums.theta)
    assert len(set(drums.sounds[:, 14].tolist())) == 40
    assert drums.theta.std().item() == pytest.approx(math.sqrt(1 / 12), rel=0.05)
    assert len(drums) == len(drums.names) == len(drums.types) == 40
    assert [len(indices) for indices in drums.splits.values()] == [24, 8, 8]
    assert synthetic_recordings(Echo(n_samples=500), 40, seed=3).sounds.equal(drums.sounds)
    assert not synthetic_recordings(Echo(n_samples=500), 40, seed=4).theta.equal(drums.theta)


def test_too_few_synthetic_recordings():
    with pytest.raises(ConfigurationError, match="count must be at least 3, got 2"):
        synthetic_recordings(TR808Synth(n_samples=500), 2)


@pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are not at hand")
def test_recorded_drums():
    drums = load_recordings(DATA, trim=60.0)
    assert drums.sounds.shape == (80, 44100)
    assert Counter(drums.types) == {"BD": 19, "SD": 35, "Tom": 20, "HH": 6}
    assert [len(indices) for indices in drums.splits.values()] == [48, 16, 16]
    onsets = (drums.sounds.abs() > 0.01 * drums.sounds.abs().amax(1, keepdim=True)).int().argmax(1)
    assert onsets.float().quantile(0.9) < 441  # within 10 ms
