"""Reading, checking, resampling and writing recordings."""

import math
import time

import numpy as np
import pytest
import soundfile
import torch

from multipath.applications.audio.files import check_waveform, read_audio, resample, write_audio
from multipath.errors import InputError


def tone(frequency: float, sample_rate: int, n_samples: int) -> torch.Tensor:
    return torch.sin(2 * torch.pi * frequency * torch.arange(n_samples) / sample_rate)


def test_written_samples_come_back_exactly(tmp_path):
    waveform = 3.0 * torch.randn(1000, generator=torch.Generator().manual_seed(0))
    write_audio(tmp_path / "noise.wav", waveform, 22050)
    read, sample_rate = read_audio(tmp_path / "noise.wav")
    assert sample_rate == 22050
    assert torch.equal(read, waveform)  # beyond full scale too: nothing is clipped


def test_sixteen_bit_recording_has_full_scale_one(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([16384, -32768], dtype=np.int16), 8000)
    waveform, _ = read_audio(tmp_path / "a.wav")
    assert waveform.tolist() == [0.5, -1.0]


def test_stereo_is_refused_or_mixed_down(tmp_path):
    left, right = tone(100, 8000, 500), tone(300, 8000, 500)
    soundfile.write(tmp_path / "s.wav", torch.stack([left, right], 1).numpy(), 8000, "FLOAT")
    with pytest.raises(InputError, match=r"s\.wav: expected one channel, got 2; pass --mono"):
        read_audio(tmp_path / "s.wav")
    mixed, _ = read_audio(tmp_path / "s.wav", mono=True)
    torch.testing.assert_close(mixed, (left + right) / 2)


@pytest.mark.parametrize("left", [0.0, 1e-4])
@pytest.mark.parametrize("level", [0.8, 1e-3])
def test_channels_of_opposite_phase_cancel_out(tmp_path, left, level):
    sound = level * tone(100, 8000, 500)
    pair = torch.stack([sound + 0.2, (left - 1) * sound], 1).numpy()
    soundfile.write(tmp_path / "s.wav", pair, 8000, "FLOAT")
    with pytest.raises(InputError, match=r"s\.wav: the 2 channels cancel out: .*; invert one"):
        read_audio(tmp_path / "s.wav", mono=True)


def test_channels_that_nearly_cancel_out_are_mixed_down(tmp_path):
    sound = tone(100, 8000, 500)
    soundfile.write(tmp_path / "s.wav", torch.stack([sound, -0.99 * sound], 1).numpy(), 8000)
    mixed, _ = read_audio(tmp_path / "s.wav", mono=True)
    torch.testing.assert_close(mixed, 0.005 * sound, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kept", [500, 8000, 15000])
@pytest.mark.parametrize(
    ("kind", "declared"),
    [("WAV", "16000 bytes"), ("AIFF", "16008 bytes"), ("RF64", "4000 samples")],
)
def test_a_recording_that_is_cut_off(tmp_path, kind, declared, kept):
    file = tmp_path / "cut"
    soundfile.write(file, tone(440, 8000, 4000).numpy(), 8000, "FLOAT", format=kind)
    assert len(read_audio(file)[0]) == 4000
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"is cut off: it declares {declared} of sound and holds"):
        read_audio(file)


@pytest.mark.parametrize(("kind", "name"), [("WAV", b"data"), ("AIFF", b"SSND")])
def test_a_stream_declares_no_length(tmp_path, kind, name):
    file = tmp_path / "stream"
    soundfile.write(file, tone(440, 8000, 4000).numpy(), 8000, "FLOAT", format=kind)
    before, after = file.read_bytes().split(name)
    file.write_bytes(before + name + b"\xff" * 4 + after[4:])
    assert len(read_audio(file)[0]) == 4000


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.zeros(0), "the recording is empty"),
        (torch.zeros(100), "the recording is silent"),
        (torch.full((100,), 0.25), "the recording is silent"),
        (torch.tensor([1.0, math.nan, -1.0, math.nan]), "finite samples, got 2 NaN or infinite"),
        (torch.tensor([1.0, math.inf, -math.inf]), "finite samples, got 2 NaN or infinite"),
        (torch.tensor([0.0, -1.01e10]), r"samples within 1e\+10 .*, got \d"),
        (torch.tensor([0.0, 3e38]), r"samples within 1e\+10 .*, got \d"),
    ],
)
def test_bad_samples(tmp_path, samples, message):
    write_audio(tmp_path / "a.wav", samples, 8000)
    with pytest.raises(InputError, match=rf"a\.wav: .*{message}"):
        read_audio(tmp_path / "a.wav")


def test_silent_channels_are_silent(tmp_path):
    soundfile.write(tmp_path / "s.wav", np.zeros((500, 2)), 8000)
    with pytest.raises(InputError, match="the recording is silent"):
        read_audio(tmp_path / "s.wav", mono=True)


@pytest.mark.parametrize("path", ["nowhere.wav", "."])
def test_missing_file(tmp_path, path):
    with pytest.raises(InputError, match="there is no such file"):
        read_audio(tmp_path / path)


@pytest.mark.parametrize("content", [b"", b"these are words", bytes(range(256)) * 8, "start"])
def test_not_audio(tmp_path, content):
    soundfile.write(tmp_path / "a.flac", tone(440, 8000, 8000).numpy(), 8000)
    if content == "start":
        content = (tmp_path / "a.flac").read_bytes()[:40]
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.flac: this is not a readable recording"):
        read_audio(tmp_path / "a.flac")


def test_unscaled_integers_are_no_absurd_amplitudes():
    check_waveform(2.0**31 * tone(440, 8000, 100), "integers")


def test_a_quiet_recording_is_not_silent():
    check_waveform(2e-6 * tone(440, 8000, 100), "quiet")


@pytest.mark.parametrize(("rate", "new_rate"), [(44100, 22050), (8000, 12000), (44100, 48000)])
def test_resampled_tone_is_the_tone_at_the_new_rate(rate, new_rate):
    resampled = resample(tone(440, rate, rate), rate, new_rate)
    assert resampled.shape == (new_rate,)
    assert resampled.dtype == torch.float32
    inner = slice(new_rate // 20, -new_rate // 20)  # away from the edges, where the filter sees 0
    expected = tone(440, new_rate, new_rate)
    assert (resampled - expected)[inner].abs().max() < 2e-3


def test_resampling_down_removes_what_would_alias():
    resampled = resample(tone(15000, 44100, 44100), 44100, 22050)
    assert resampled[1000:-1000].abs().max() < 1e-2  # the filter stops at -45 dB


def test_same_rate_changes_nothing():
    waveform = tone(440, 8000, 100)
    assert torch.equal(resample(waveform, 8000, 8000), waveform)


@pytest.mark.parametrize("rate", [0, -8000, 44100.5, 1_000_001, math.nan, math.inf])
def test_impossible_rate(rate):
    for rates in ((8000, rate), (rate, 8000)):
        with pytest.raises(InputError, match=f"a sample rate must be a whole .*, got {rate}"):
            resample(torch.zeros(10), *rates)


def test_impossible_rate_in_a_header(tmp_path):
    write_audio(tmp_path / "a.wav", tone(440, 8000, 100), 1_000_001)
    with pytest.raises(InputError, match=r"a\.wav: the sample rate in the header .* got 1000001"):
        read_audio(tmp_path / "a.wav")


def test_the_highest_rate(tmp_path):
    write_audio(tmp_path / "a.wav", tone(440, 8000, 100), 1_000_000)
    assert read_audio(tmp_path / "a.wav")[1] == 1_000_000


@pytest.mark.slow
def test_more_samples_than_memory_holds():
    with pytest.raises(InputError, match="20000000 samples at 1 Hz are 20000000000000 at 1000000"):
        resample(torch.zeros(20_000_000), 1, 1_000_000)


def test_writing_fails_with_a_reason(tmp_path):
    with pytest.raises(InputError, match=r"expected a mono waveform .* got shape \(2, 10\)"):
        write_audio(tmp_path / "a.wav", torch.zeros(2, 10), 8000)
    with pytest.raises(OSError, match=r"No such file or directory: '.*/none/a\.wav'"):
        write_audio(tmp_path / "none" / "a.wav", torch.zeros(10), 8000)
    with pytest.raises(InputError, match=r"a\.xyz: the recording cannot be written"):
        write_audio(tmp_path / "a.xyz", torch.zeros(10), 8000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.aif", "a.rf64", "a.w64", "a.caf"])
def test_equal_recordings_are_equal_files(tmp_path, name):
    sound = torch.sin(0.1 * torch.arange(800))
    write_audio(tmp_path / name, sound, 8000)
    content = (tmp_path / name).read_bytes()
    time.sleep(1.1)  # the time in headers has whole seconds
    write_audio(tmp_path / name, sound, 8000)
    assert (tmp_path / name).read_bytes() == content
    found, rate = read_audio(tmp_path / name)
    assert found.equal(sound)
    assert rate == 8000


def test_sound_that_looks_like_a_header_stays(tmp_path):
    sound = torch.frombuffer(bytearray(b"PEAK" * 50 + bytes(400)), dtype=torch.float32)
    write_audio(tmp_path / "a.wav", sound, 8000)
    assert read_audio(tmp_path / "a.wav")[0].equal(sound)
