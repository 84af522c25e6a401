"""Features are pooled coefficients, and fit into pipelines."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath.errors import ConfigurationError, InputError
from multipath.integrations.sklearn import ScatteringFeatures
from multipath.transforms import JTFS, MultiResolutionSTFT, Scattering1D, Scattering2D
from tests.simulated_device import SimulatedDevice

TRANSFORM = Scattering1D(512, J=5, Q=(2, 1), T=64)
SIGNALS = np.random.default_rng(0).standard_normal((5, 512))


def test_features_are_pooled_coefficients():
    coefficients = [c.numpy() for c in TRANSFORM(torch.from_numpy(SIGNALS))]
    compressed = [np.sign(c) * np.log1p(np.abs(c) / 0.01) for c in coefficients]
    expected = {
        "mean": np.stack([c.mean(axis=1) for c in compressed], axis=1),
        "time": np.stack([c.mean(axis=-1) for c in compressed], axis=1),
        None: np.concatenate(compressed, axis=1),
    }
    for pooling in ("mean", "time", None):
        features = ScatteringFeatures(TRANSFORM, pooling, eps=0.01).fit(SIGNALS)
        found = features.transform(SIGNALS)
        np.testing.assert_allclose(found, expected[pooling], rtol=1e-12, atol=1e-12)
    largest = ScatteringFeatures(TRANSFORM, lambda c: c.amax(dim=-1), rho=None).fit(SIGNALS)
    expected = np.stack([c.max(axis=-1) for c in coefficients], axis=1)
    np.testing.assert_allclose(largest.transform(SIGNALS), expected, rtol=1e-12)


@pytest.mark.parametrize("float64", [True, False])
def test_features_are_as_wide_as_the_device_of_the_transform(float64):
    expected = ScatteringFeatures(TRANSFORM).fit_transform(SIGNALS)
    with SimulatedDevice(float64=float64):
        there = Scattering1D(512, J=5, Q=(2, 1), T=64).to("meta")
        found = ScatteringFeatures(there).fit_transform(SIGNALS)
    assert found.dtype == (np.float64 if float64 else np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-12 if float64 else 1e-4)


@given(batch_size=st.integers(1, 9))
@pytest.mark.slow
def test_batches_do_not_matter(batch_size):
    whole = ScatteringFeatures(TRANSFORM).fit_transform(SIGNALS)
    parts = ScatteringFeatures(TRANSFORM, batch_size=batch_size).fit_transform(SIGNALS)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


def test_names_are_those_of_the_columns():
    jtfs = JTFS(512, J=5, Q=(2, 1), J_fr=1, Q_fr=1, T=128, F=2)
    chosen = jtfs.paths.filter(spin=1).indices[:2]
    signals = SIGNALS.astype(np.float32)
    pooled = ScatteringFeatures(jtfs, "time", rho=None, paths=chosen).fit(signals)
    names, values = pooled.get_feature_names_out().tolist(), pooled.transform(signals)
    assert values.dtype == np.float32
    assert values.shape == (5, len(names))
    key = jtfs.paths[chosen[1]].key
    (row,) = jtfs.coefficients(torch.from_numpy(signals), chosen[1:])
    assert row.shape[1] > 1
    column = names.index(f"path {key}[1]")
    np.testing.assert_allclose(values[:, column], row[:, 1].mean(dim=-1).numpy(), rtol=1e-5)
    assert len(set(names)) == len(names)


def test_any_transform_will_do():
    images = np.random.default_rng(1).standard_normal((2, 16, 16))
    assert ScatteringFeatures(Scattering2D((16, 16), J=2, L=2)).fit_transform(images).shape[0] == 2
    stft = MultiResolutionSTFT([64, 128], [16, 32], [64, 128])
    assert ScatteringFeatures(stft).fit_transform(SIGNALS).shape == (5, 2)


def test_silence_has_finite_features():
    assert np.isfinite(ScatteringFeatures(TRANSFORM).fit_transform(np.zeros((1, 512)))).all()


def test_numbers_and_arrays_may_be_of_numpy():
    features = ScatteringFeatures(TRANSFORM, batch_size=np.int64(2))
    expected = features.fit_transform(SIGNALS)
    frozen = SIGNALS.astype(np.float64)
    frozen.flags.writeable = False  # as of a file that is mapped into memory
    np.testing.assert_allclose(features.transform(frozen), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scattering": 3}, r"must be a multipath.transforms.Transform, got int"),
        ({"pooling": "max"}, r'pooling must be "mean", "time", None or a function, got \'max\''),
        ({"batch_size": 0}, r"batch_size must be a positive integer, got 0"),
        ({"batch_size": 1.5}, r"batch_size must be a positive integer, got 1.5"),
        ({"rho": "log"}, r'rho must be None, "identity", "log1p" or a function'),
        ({"eps": 0.0}, r"eps of log1p must lie in"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        ScatteringFeatures(**{"scattering": TRANSFORM, **options}).fit(SIGNALS)


def test_names_before_fit_are_refused():
    with pytest.raises(ConfigurationError, match=r"no names yet; call fit\(X\) first"):
        ScatteringFeatures(TRANSFORM).get_feature_names_out()


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (SIGNALS[0], r"an array of signals with 2 dimensions, none empty, got shape \(512,\)"),
        (SIGNALS[:0], r"none empty, got shape \(0, 512\)"),
        (SIGNALS[:, :500], r"signals of 512 samples, got 500"),
        ([[1.0, 2.0], [1.0]], r"expected signals of numbers, all of one length, got list"),
        ([["a"] * 512], r"expected signals of numbers"),
        (SIGNALS + 1j, r"expected signals of numbers, .* they are complex"),
        (np.where(np.arange(5)[:, None] < 3, SIGNALS, np.nan), r"signal 3 holds NaN .*2 of 5"),
    ],
)
def test_wrong_signals_are_refused(signals, message):
    with pytest.raises(InputError, match=message):
        ScatteringFeatures(TRANSFORM).fit(signals)
    fitted = ScatteringFeatures(TRANSFORM).fit(SIGNALS)
    with pytest.raises(InputError, match=message):
        fitted.transform(signals)


@pytest.mark.slow
def test_in_a_pipeline_with_a_search():
    sklearn = pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = ScatteringFeatures(TRANSFORM)
    copy = sklearn.base.clone(features)
    assert copy.get_params()["eps"] == 1e-3
    assert copy.scattering is not features.scattering
    loud = np.concatenate([SIGNALS, 3 * SIGNALS, 3.1 * SIGNALS, 1.1 * SIGNALS])
    labels = np.repeat([0, 1, 1, 0], 5)
    pipeline = make_pipeline(features, StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"scatteringfeatures__pooling": ["mean", "time"]}, cv=2)
    search.fit(loud, labels)
    assert search.best_score_ == 1.0
    names = search.best_estimator_[:2].get_feature_names_out()
    assert names[0] == "path ()"
