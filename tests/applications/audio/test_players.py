"""Players: what a page plays is what was given."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile
import torch

from multipath.applications.audio.players import Players, data_uri
from multipath.errors import InputError


def heard(uri):
    """The samples and the rate of a sound in an address."""
    head, content = uri.split(",", 1)
    assert head == "data:audio/wav;base64"
    return soundfile.read(io.BytesIO(base64.b64decode(content, validate=True)))


def played(players):
    return [heard(uri)[0] for uri in re.findall(r'src="(.*?)"', players._repr_html_())]


def test_an_address_holds_the_samples_and_clips_what_is_too_loud():
    samples, rate = heard(data_uri(torch.tensor([0.0, 0.5, -0.25, 1.0, -1.0, 3.0]), 44100))
    assert rate == 44100
    np.testing.assert_allclose(samples, [0, 0.5, -0.25, 1, -1, 1], atol=1e-4)


@pytest.mark.parametrize("rate", [1024.0, 3000, 16000])
def test_a_tone_keeps_its_frequency_at_rates_that_browsers_play(rate):
    tone = torch.sin(2 * torch.pi * 100 * torch.arange(int(rate)) / rate)
    samples, played_at = heard(data_uri(tone, int(rate)))
    assert played_at >= 8000
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * played_at / len(samples) == pytest.approx(100, abs=1)
    assert played(Players({"tone": tone}, rate))[0] == pytest.approx(0.9 * samples, abs=0.01)


def test_sounds_keep_their_relative_loudness():
    loud = torch.linspace(-4, 4, 9000, dtype=torch.float64, requires_grad=True)
    first, second = played(Players({"loud": loud, "quiet": loud / 8}, 9000))
    np.testing.assert_allclose(first[[0, -1]], [-0.9, 0.9], atol=1e-3)
    np.testing.assert_allclose(second, first / 8, atol=1e-4)
    (silence,) = played(Players({"silence": torch.zeros(8000)}, 8000))
    assert not silence.any()


def test_names_are_shown_and_do_no_harm():
    players = Players({"<b>a</b>": torch.zeros(8), "b\n": torch.zeros(8)}, 8000)
    names = re.findall("<figcaption>(.*?)</figcaption>", players._repr_html_())
    assert names == ["&lt;b&gt;a&lt;/b&gt;", r"b\n"]


@pytest.mark.parametrize(
    ("sounds", "rate", "message"),
    [
        ({}, 8000, "there is no sound to play"),
        (
            {"a": torch.zeros(1, 8)},
            8000,
            r"a: expected samples of shape \(T,\), got .*\(1, 8\)",
        ),
        ({"a": torch.zeros(0)}, 8000, r"a: expected samples of shape \(T,\)"),
        ({"a": torch.tensor([0.0, torch.nan])}, 8000, "a: expected finite samples"),
        ({"a": torch.zeros(8)}, 0.5, "a sample rate must be a whole number of Hz"),
    ],
)
def test_what_cannot_be_played(sounds, rate, message):
    with pytest.raises(InputError, match=message):
        Players(sounds, rate)
