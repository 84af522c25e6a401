"""Suggested settings fit signals of any length and rate, and follow their rule."""

import re

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multipath.errors import ConfigurationError
from multipath.transforms import JTFS, Scattering1D

RATES = st.floats(1e-3, 1e6)
LENGTHS = st.one_of(st.integers(8, 300), st.integers(301, 1500))


@pytest.mark.parametrize("transform", [JTFS, Scattering1D])
@settings(max_examples=8)
@given(n_samples=LENGTHS, sample_rate=RATES)
@example(n_samples=8, sample_rate=8000.0)
@example(n_samples=32, sample_rate=1.0)
@example(n_samples=4096, sample_rate=44100.0)
def test_the_settings_fit_and_no_path_is_silent(transform, n_samples, sample_rate):
    made = transform(**transform.suggest(n_samples, sample_rate))
    generator = torch.Generator().manual_seed(0)
    found = made(torch.randn(1, n_samples, generator=generator, dtype=torch.float64))
    assert all(bool(c.isfinite().all()) and c.shape[-1] >= min(8, n_samples) for c in found)
    loudness = torch.stack([c.square().mean() for c in found]).sqrt()
    assert loudness.min() > 1e-6 * loudness.max()
    assert made.paths[1].metadata["order"] in (1, 2)
    assert max(path.metadata["order"] for path in made.paths) == 2


@pytest.mark.parametrize("transform", [JTFS, Scattering1D])
@given(n_samples=st.integers(8, 600 * 192_000), sample_rate=st.floats(512, 192_000))
def test_spans_follow_the_length_up_to_a_time(transform, n_samples, sample_rate):
    chosen = transform.suggest(n_samples, sample_rate)
    slowest, window = 2 ** chosen["J"], chosen["T"]
    assert slowest <= max(8, min(n_samples / 8, sample_rate / 2)) < 2 * slowest
    assert window <= min(n_samples / 8, sample_rate / 5) < 2 * window
    if n_samples > 2 * sample_rate:
        assert 0.1 <= window / sample_rate <= 0.2


def test_published_signals_get_published_filters():
    chosen = JTFS.suggest(32768, 8192)
    published = {"J": 12, "Q": (8, 2), "J_fr": 3, "Q_fr": 2, "F": 8}
    assert {name: chosen[name] for name in published} == published
    assert JTFS.suggest(44100, 44100)["J"] == 12


@pytest.mark.parametrize("transform", [JTFS, Scattering1D])
def test_numbers_of_numpy_will_do(transform):
    expected = transform.suggest(4096, 16000)
    found = transform.suggest(np.int64(4096), np.float32(16000))
    assert repr(found) == repr(expected)


@pytest.mark.parametrize("transform", [JTFS, Scattering1D])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((7, 1.0), "n_samples must be at least 8 .* got 7"),
        ((4096.0, 1.0), "n_samples must be a whole number"),
        ((4096, 0.0), "sample_rate must be positive"),
    ],
)
def test_what_fits_nothing_is_refused(transform, given, message):
    with pytest.raises(ConfigurationError, match=message):
        transform.suggest(*given)


@pytest.mark.parametrize("transform", [JTFS, Scattering1D])
def test_a_missing_j_leads_to_the_suggestion(transform):
    name = transform.__name__
    remedy = re.escape(f"{name}(**{name}.suggest(4096, sample_rate))")
    with pytest.raises(ConfigurationError, match=f"needs J, .* use {remedy}"):
        transform(4096)
