"""Fréchet distances against closed forms."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath.applications.metrics.frechet import (
    frechet_audio_distance,
    frechet_distance,
    frechet_distance_of_moments,
)
from multipath.errors import InputError


def points(seed, n=40, d=5):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) + generator.normal(size=d)


def rotation(seed, d):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


sizes = st.floats(0, 100)


@given(st.floats(-50, 50), sizes, st.floats(-50, 50), sizes)
def test_gaussians_on_a_line(mean_a, deviation_a, mean_b, deviation_b):
    found = frechet_distance_of_moments([mean_a], [[deviation_a**2]], [mean_b], [[deviation_b**2]])
    exact = (mean_a - mean_b) ** 2 + (deviation_a - deviation_b) ** 2
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=6), st.integers(0, 99))
def test_commuting_covariances(deviations, seed):
    axes = rotation(seed, len(deviations))
    a, b = (np.array(column) for column in zip(*deviations, strict=True))
    mean = np.zeros(len(a))
    found = frechet_distance_of_moments(mean, (axes * a**2) @ axes.T, mean, (axes * b**2) @ axes.T)
    # singular covariances: the root of a zero eigenvalue, rounded to 1e-16, is 1e-8
    assert found == pytest.approx(np.square(a - b).sum(), rel=1e-7, abs=1e-2)


def test_covariances_that_do_not_commute():
    a, b = points(0), points(1)
    first, second = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(first @ second).real  # another way to the same trace
    exact = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(exact, rel=1e-9)


def test_translation_and_scaling():
    a = points(0)
    shift = np.arange(5.0)
    assert frechet_distance(a, a + shift) == pytest.approx(30, rel=1e-9)
    centred = a - a.mean(axis=0)
    variance = np.trace(np.cov(a.T))
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * variance, rel=1e-9)


@pytest.mark.parametrize("n", [40, 3])  # the latter with covariances of rank 2 in 5 dimensions
def test_laws(n):
    a, b = points(0, n), points(1, n)
    distance = frechet_distance(a, b)
    assert distance > 0.1
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(b, a) == pytest.approx(distance, rel=1e-9)
    turn = rotation(2, 5)
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(distance, rel=1e-7)
    assert frechet_distance(10 * a, 10 * b) == pytest.approx(100 * distance, rel=1e-7)


def test_planes_at_right_angles():
    """No direction in common, so that the root vanishes: rank 1 in two dimensions."""
    a, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, -1.0]])
    assert frechet_distance(a, b) == pytest.approx(4, rel=1e-7)


def test_tensors_of_single_precision_are_compared_in_double():
    a, b = points(0), points(1) + 1000
    expected = frechet_distance(a.astype(np.float32), b.astype(np.float32))
    found = frechet_distance(torch.tensor(a).float(), torch.tensor(b).float())
    assert found == expected == pytest.approx(frechet_distance(a, b), rel=1e-6)


def test_sounds_are_embedded_one_by_one_with_or_without_frames():
    sounds = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    others = sounds[:4] + 1
    batches = []

    def frames(batch):
        batches.append(len(batch))
        return batch.reshape(len(batch), 16, 4)

    expected = frechet_distance(sounds.reshape(-1, 4), others.reshape(-1, 4))
    assert frechet_audio_distance(sounds, others, frames) == pytest.approx(expected, rel=1e-9)
    assert batches == [1] * 10
    whole = frechet_audio_distance(sounds, others, lambda batch: batch[:, :3].numpy())
    assert whole == pytest.approx(frechet_distance(sounds[:, :3], others[:, :3]), rel=1e-9)


ONES = np.ones((3, 2))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([[1.0, np.nan], [0.0, np.inf]], ONES, "a: expected finite values, got 2 NaN or infinite"),
        (ONES, [[1.0, 2.0]], "b: a covariance needs at least 2 embeddings, got 1"),
        (ONES, np.ones((3, 4)), "the same dimension, got 2 and 4"),
        (ONES, np.ones(3), r"b: expected an array of shape \(n, d\), got \(3,\)"),
        (np.ones((3, 0)), ONES, r"a: expected an array of shape \(n, d\), got \(3, 0\)"),
    ],
)
def test_embeddings_refused(a, b, message):
    with pytest.raises(InputError, match=message):
        frechet_distance(a, b)


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (([0], np.eye(2), [0], np.eye(2)), r"covariances of shapes \(2, 2\) and \(2, 2\)"),
        (([0, 0], np.eye(2), [0], np.eye(2)), "got means of 2 and 1 dimensions"),
        (([0, 0], np.eye(2), [0, 0], np.eye(3)), r"shapes \(2, 2\) and \(3, 3\)"),
        (([0, 0], [[1, 1], [0, 1]], [0, 0], np.eye(2)), "a covariance must be symmetric"),
        (([0, 0], [[1, 2], [2, 1]], [0, 0], np.eye(2)), "no negative eigenvalue, got -1"),
        (([0, np.nan], np.eye(2), [0, 0], np.eye(2)), "a mean: expected finite values, got 1"),
        (([0, 0], [1, 1], [0, 0], np.eye(2)), r"a covariance: expected an array of shape \(d, d\)"),
    ],
)
def test_moments_refused(moments, message):
    with pytest.raises(InputError, match=message):
        frechet_distance_of_moments(*moments)


@pytest.mark.parametrize(
    ("sounds", "embedding", "message"),
    [
        (torch.ones(8), lambda x: x, r"sounds_a: expected sounds as a tensor \(n, samples\)"),
        (torch.full((2, 8), torch.nan), lambda x: x, "sounds_a: expected finite values, got 16"),
        (torch.ones(2, 8), lambda x: x[0], r"got shape \(8,\) for a batch of 1"),
        (torch.ones(2, 8), lambda x: x.expand(3, 8), r"got shape \(3, 8\) for a batch of 1"),
    ],
)
def test_sounds_refused(sounds, embedding, message):
    with pytest.raises(InputError, match=message):
        frechet_audio_distance(sounds, torch.ones(2, 8), embedding)
