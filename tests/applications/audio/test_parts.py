"""Parts of a recording are those of the whole, at any rate."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath.applications.audio.files import resample
from multipath.applications.audio.parts import Recording
from multipath.errors import InputError


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    file = tmp_path_factory.mktemp("parts") / "noise.wav"
    sound = np.random.default_rng(0).uniform(-1, 1, (3001, 2)).astype(np.float32)
    soundfile.write(file, sound, 11025, "FLOAT")
    return file, sound.T


@given(
    rate=st.sampled_from([11025, 22050, 8000, 44100, 1000, 11024]),
    part=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=40)
def test_parts_are_those_of_the_whole(noise, rate, part):
    file, sound = noise
    recording = Recording.at(file, rate)
    whole = resample(torch.from_numpy(sound).double(), 11025, rate).numpy()
    assert recording.n_samples == whole.shape[1]
    start, stop = sorted(round(share * recording.n_samples) for share in part)
    if start == stop:
        return
    np.testing.assert_allclose(
        recording.read(start, stop), whole[:, start:stop], rtol=1e-6, atol=1e-7
    )
    first, last = recording.frames_of(start, stop)
    assert first / 11025 <= start / rate < (first + 1) / 11025
    assert (last - 1) / 11025 < stop / rate
    assert np.array_equal(recording.read_frames(first, last), sound[:, first:last])


def test_a_recording_that_ends_early_is_refused(noise):
    file, _ = noise
    longer = Recording(file, 4000, 2, 11025, 11025)
    with pytest.raises(InputError, match=r"ends after 0.272 s, not after 0.363 s"):
        longer.read(3000, 3500)
