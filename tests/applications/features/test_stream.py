"""Features of long recordings are those of their windows, whatever happens on the way."""

import csv
import json
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from multipath.applications.features import stream
from multipath.applications.features.stream import stream_features
from multipath.errors import ConfigurationError, InputError
from multipath.integrations.sklearn import ScatteringFeatures
from multipath.transforms import Scattering1D, Scattering2D, Tiled
from tests.applications.command import call, refused

WINDOW, HOP, RATE = 256, 128, 8000
TRANSFORM = Scattering1D(WINDOW, J=4, Q=(1, 1), T=64)


def features(**options):
    return ScatteringFeatures(TRANSFORM, **{"batch_size": 4, **options})


def write(file, sound, rate=RATE):
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, sound.astype(np.float32), rate, "FLOAT")


def hiss(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """A mono recording, and a stereo one with gaps of all kinds."""
    write(tmp_path / "in" / "a.wav", hiss(2000))
    stereo = hiss(1900, 2, seed=1)
    stereo[300:310, 0] = np.nan
    stereo[900:1701, 1] = 0.0
    stereo[100:104] = 0.25  # too short for a gap
    write(tmp_path / "in" / "deep" / "b, c.flac.wav", stereo)
    return tmp_path / "in"


def result(out):
    with (out / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return np.load(out / "features.npy", mmap_mode="r"), rows


def files(out):
    return {f.name: f.read_bytes() for f in out.iterdir() if f.name != "config.json"}


def test_rows_are_features_of_windows(folder, tmp_path):
    out = tmp_path / "out"
    summary = stream_features(features(), folder, out, hop=HOP, shortest_gap=0.05)
    values, rows = result(out)
    assert values.dtype == np.float32
    assert len(values) == len(rows) == 14 + 2 * 13
    expected = []
    for name in ("a.wav", "deep/b, c.flac.wav"):
        sound, _ = soundfile.read(folder / name, dtype="float32", always_2d=True)
        for start in range(0, len(sound) - WINDOW + 1, HOP):
            for channel, signal in enumerate(sound[start : start + WINDOW].T):
                state = "ok"
                if np.isnan(signal).any():
                    state = "nan"
                elif name != "a.wav" and channel == 1 and start + WINDOW > 900 and start < 1701:
                    state = "silence"
                expected.append((name, str(channel), str(start / RATE), state, signal))
    assert [tuple(row.values()) for row in rows] == [row[:4] for row in expected]
    plain = ScatteringFeatures(TRANSFORM).fit(hiss(1, WINDOW))
    for value, (*_, state, signal) in zip(values, expected, strict=True):
        if state == "ok":
            np.testing.assert_allclose(value, plain.transform(signal[None])[0], rtol=1e-5)
        else:
            assert np.isnan(value).all()
    states = [row[3] for row in expected]
    assert summary["rows"] == {s: states.count(s) for s in ("ok", "nan", "silence")}
    assert summary["rows"]["nan"] == 2
    assert json.loads((out / "names.json").read_text()) == plain.get_feature_names_out().tolist()
    assert sorted(f.name for f in out.iterdir()) == [
        *("config.json", "features.npy", "names.json", "rows.csv", "summary.json")
    ]


def test_the_mean_of_channels_has_the_gaps_of_each(folder, tmp_path):
    file = folder / "deep" / "b, c.flac.wav"
    stream_features(features(), file, tmp_path / "each", hop=HOP, shortest_gap=0.05)
    stream_features(
        features(), file, tmp_path / "mean", hop=HOP, channels="mean", shortest_gap=0.05
    )
    values, rows = result(tmp_path / "mean")
    _, apart = result(tmp_path / "each")
    both = zip(apart[::2], apart[1::2], strict=True)
    assert [row["state"] for row in rows] == [
        max(a["state"], b["state"], key=["ok", "nan", "silence"].index) for a, b in both
    ]
    assert {row["channel"] for row in rows} == {"mean"}
    sound, _ = soundfile.read(file, dtype="float32")
    expected = features().fit_transform(sound[None, :WINDOW].mean(axis=2))
    np.testing.assert_allclose(values[:1], expected, rtol=1e-5)


def test_without_a_shortest_gap_only_whole_windows_are_silent(folder, tmp_path):
    summary = stream_features(
        features(), folder, tmp_path / "out", hop=HOP, shortest_gap=float("inf")
    )
    assert summary["rows"]["silence"] == 4


def test_tiles_take_windows_of_any_length(folder, tmp_path):
    tiled = ScatteringFeatures(Tiled(Scattering1D(256, J=3, Q=(1, 1), T=8)))
    summary = stream_features(tiled, folder / "a.wav", tmp_path / "out", window=1900)
    values, _ = result(tmp_path / "out")
    whole = ScatteringFeatures(Scattering1D(1900, J=3, Q=(1, 1), T=8))
    sound, _ = soundfile.read(folder / "a.wav", dtype="float32")
    assert summary["rows"] == {"ok": 1}
    np.testing.assert_allclose(values, whole.fit_transform(sound[None, :1900]), rtol=1e-4)


class Killed(Exception):
    """Stands for a process that ends at once."""


@pytest.mark.parametrize("point", [0, 1, 3, "values", "names", "summary"])
def test_an_interrupted_stream_goes_on(folder, tmp_path, monkeypatch, point):
    undisturbed = tmp_path / "undisturbed"
    stream_features(features(), folder, undisturbed, hop=HOP)
    out = tmp_path / "out"
    calls = []

    def killed(*arguments, **options):
        calls.append(1)
        if not isinstance(point, int) or len(calls) == point + 1:
            raise Killed
        return original(*arguments, **options)

    if isinstance(point, int):
        owner, name = stream, "_read"
    elif point == "values":  # written, and not yet said to be
        owner, name = np.memmap, "flush"
        point = 2
    else:
        owner, name = stream, "write_json"
        point = {"names": 1, "summary": 2}[point]
    original = getattr(owner, name)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(Killed):
            stream_features(features(), folder, out, hop=HOP)
    assert not (out / "summary.json").exists()
    read = []
    monkeypatch.setattr(stream, "_read", lambda *a: read.append(1) or once(*a))
    stream_features(features(), folder, out, hop=HOP)
    assert files(out) == files(undisturbed)
    if name == "write_json":
        assert not read
    again = files(out)
    (out / "states.partial.npy").touch()  # left by a process that ended between the last two steps
    assert stream_features(features(), folder, out, hop=HOP)["rows"]
    assert files(out) == again


once = stream._read


@pytest.mark.slow
def test_a_killed_process_loses_a_block(folder, tmp_path):
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    stream_features(features(), folder, undisturbed, hop=64)
    program = f"""
import os, signal
from tests.applications.features.test_stream import *
def progress(done, total):
    if done > 20:
        os.kill(os.getpid(), signal.SIGKILL)
stream_features(features(), Path({str(folder)!r}), Path({str(out)!r}), hop=64, progress=progress)
"""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    assert done.returncode == -9
    states = np.load(out / "states.partial.npy")
    assert 20 < (states > 0).sum() < 30
    assert not (out / "features.npy").exists()
    first = []
    stream_features(
        features(), folder, out, hop=64, progress=lambda done, total: first.append(done)
    )
    assert first[0] == (states > 0).sum()
    assert files(out) == files(undisturbed)


def test_files_that_cannot_be_used_are_named(folder, tmp_path, monkeypatch):
    (folder / "text.wav").write_text("no sound")
    write(folder / "short.wav", hiss(WINDOW - 1))
    summary = stream_features(features(), folder, tmp_path / "out")
    reasons = {each["file"]: each["reason"] for each in summary["skipped"]}
    assert reasons.keys() == {"text.wav", "short.wav"}
    assert "not a readable recording" in reasons["text.wav"]
    assert "255 samples are less than a window of 256" in reasons["short.wav"]

    def damaged(recording, start, stop):  # of the sound itself
        if recording.path.name == "a.wav" and start == WINDOW:
            raise InputError("a.wav: damaged")
        return read(recording, start, stop)

    read = stream.Recording.read
    monkeypatch.setattr(stream.Recording, "read", damaged)
    stream_features(features(), folder, tmp_path / "damaged")
    values, rows = result(tmp_path / "damaged")
    bad = [number for number, row in enumerate(rows) if row["state"] == "unreadable"]
    assert bad == [1]
    whole, _ = result(tmp_path / "out")
    np.testing.assert_array_equal(np.delete(values, 1, axis=0), np.delete(whole, 1, axis=0))


def test_rates_are_brought_together_or_refused(folder, tmp_path):
    write(folder / "z.wav", hiss(3000), 2 * RATE)
    with pytest.raises(InputError, match=r"a.wav has 8000 .*z.wav has 16000; give the sample_rate"):
        stream_features(features(), folder, tmp_path / "out")
    summary = stream_features(features(), folder, tmp_path / "out", sample_rate=2 * RATE)
    assert summary["sample_rate"] == 2 * RATE
    _, rows = result(tmp_path / "out")
    assert [row["file"] for row in rows].count("z.wav") == 3000 // WINDOW
    assert [row["file"] for row in rows].count("a.wav") == 4000 // WINDOW


def test_gaps_that_resampling_spreads(tmp_path):
    sound = hiss(4 * WINDOW)
    sound[2 * WINDOW] = np.nan  # within reach of windows that end just before it
    write(tmp_path / "a.wav", sound, 3 * RATE)
    out = tmp_path / "out"
    summary = stream_features(features(), tmp_path / "a.wav", out, sample_rate=2 * RATE, hop=2)
    starts = [float(row["start"]) for row in result(out)[1] if row["state"] == "nan"]
    gap = 2 * WINDOW / (3 * RATE)
    assert summary["rows"].keys() == {"ok", "nan"}
    assert min(starts) < gap - WINDOW / (2 * RATE)
    assert max(starts) > gap


@pytest.mark.slow
def test_memory_does_not_grow_with_the_recording(tmp_path):
    peaks = []
    for seconds in (4, 16):
        write(tmp_path / f"{seconds}.wav", hiss(seconds * RATE))
        tracemalloc.start()
        stream_features(
            features(batch_size=32), tmp_path / f"{seconds}.wav", tmp_path / f"{seconds}"
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop": 0}, "hop must be a positive integer, got 0"),
        ({"window": 300}, "made for windows of 256 samples, got window=300"),
        ({"channels": "left"}, '"separate" or "mean", got \'left\''),
        ({"shortest_gap": 0.0}, "shortest_gap must be positive"),
        ({"sample_rate": 0.5}, "sample_rate must be a whole number of Hz"),
    ],
)
def test_wrong_settings_are_refused(folder, tmp_path, options, message):
    with pytest.raises(ConfigurationError, match=message):
        stream_features(features(), folder, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_wrong_places_and_recordings_are_refused(folder, tmp_path):
    out = tmp_path / "out"
    stream_features(features(), folder, out)
    with pytest.raises(ConfigurationError, match=r"holds other features: hop was 256, is 128; cho"):
        stream_features(features(), folder, out, hop=HOP)
    write(folder / "new.wav", hiss(999))
    with pytest.raises(ConfigurationError, match=r"new.wav is new; choose another folder"):
        stream_features(features(), folder, out)
    with pytest.raises(ConfigurationError, match=r"holds .*\.wav.* and no features"):
        stream_features(features(), folder, folder)
    tiled = ScatteringFeatures(Tiled(Scattering1D(256, J=3, Q=(1, 1), T=8)))
    with pytest.raises(InputError, match=r"no usable recording among 1 .*999 samples are less"):
        stream_features(tiled, [folder / "new.wav"], tmp_path / "other", window=2000)
    with pytest.raises(InputError, match="listed twice"):
        stream_features(features(), [folder / "a.wav"] * 2, tmp_path / "other")
    with pytest.raises(InputError, match="no recordings; pass a folder"):
        stream_features(features(), [], tmp_path / "other")
    with pytest.raises(ConfigurationError, match="any length: window must say"):
        stream_features(tiled, folder, tmp_path / "other")
    images = ScatteringFeatures(Scattering2D((8, 8), J=1, L=2))
    with pytest.raises(ConfigurationError, match="Scattering2D is for images"):
        stream_features(images, folder, tmp_path / "other")
    with pytest.raises(ConfigurationError, match="must be a ScatteringFeatures, got Scattering1D"):
        stream_features(TRANSFORM, folder, tmp_path / "other")


@pytest.mark.parametrize("name", ["features.npy", "rows.csv", "names.json"])
def test_a_finished_stream_of_which_a_file_is_gone_is_not_called_finished(folder, tmp_path, name):
    out = tmp_path / "out"
    stream_features(features(), folder, out, hop=HOP)
    (out / name).unlink()
    with pytest.raises(ConfigurationError, match=f"{name} is missing; put it back"):
        stream_features(features(), folder, out, hop=HOP)


def test_the_command(folder, tmp_path, capsys, monkeypatch):
    (folder / "text.wav").write_text("no sound")
    out = tmp_path / "out"
    arguments = ["features", folder, "--out", out, "--window", "0.05", "--hop", "0.025"]
    code, printed, progress = call(capsys, *arguments)
    assert code == 0
    assert "left out: text.wav: " in printed
    assert (printed + progress).count("text.wav") == 1  # once, and not its path as well
    lines = progress.splitlines()
    assert all(line.startswith("rows: ") for line in lines)
    assert re.match(r"rows: 100 % \((\d+) of \1\), in 0:00:", lines[-1])
    assert f"features: {out / 'features.npy'}" in printed
    values, rows = result(out)
    assert len(values) == len(rows)
    assert (code, printed) == call(capsys, *arguments)[:2]
    for terminal in ("", "1"):  # no bar before a refusal
        monkeypatch.setenv("FORCE_COLOR", terminal)
        code, printed, error = call(capsys, *arguments[:-1], "0.03")
        assert (code, printed, error.count("\n")) == (2, "", 1)
        assert error.startswith("multipath: ")
    assert "holds other features" in error
    assert "--window must be positive" in refused(
        capsys, "features", folder, "--out", out, "--window=-1"
    )
    assert "--sample-rate must be a whole number of Hz" in refused(
        capsys, "features", folder, "--out", out, "--sample-rate=0"
    )
    assert "no such file" in refused(capsys, "features", tmp_path / "no.wav", "--out", out)
    assert "a folder of recordings, or files" in refused(capsys, "features", "--out", out)
