"""Scripts as users of kymatio write them, with another import."""

import numpy as np
import pytest
import torch

from multipath.compat.kymatio.numpy import Scattering2D
from multipath.compat.kymatio.torch import Scattering1D

pytestmark = pytest.mark.slow  # they fit and search

N = 2048


def recordings(seed, count=40):
    """Tones that beat slowly, and quickly; which is which, and the sounds."""
    generator = np.random.default_rng(seed)
    time, classes = np.arange(N) / 8000, np.arange(count) % 2
    rates = np.where(classes == 0, 40.0, 160.0) * generator.uniform(0.9, 1.1, count)
    pitches, phases = generator.uniform(900, 1200, count), generator.uniform(0, 6, count)
    envelopes = 1 + np.cos(2 * np.pi * rates[:, None] * time + phases[:, None])
    sounds = envelopes * np.sin(2 * np.pi * pitches[:, None] * time)
    return sounds + 0.1 * generator.standard_normal(sounds.shape), classes


def test_recordings_are_classified_from_the_logarithm_of_coefficients():
    sklearn = pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    J, Q, log_eps = 8, 8, 1e-6
    scattering = Scattering1D(J, N, Q)
    second = np.where(scattering.meta()["order"] == 2)[0]
    assert len(second) == scattering.output_size(detail=True)[2]

    def features(sounds):
        coefficients = scattering(torch.from_numpy(sounds).float())
        return torch.mean(torch.log(torch.abs(coefficients[:, second]) + log_eps), dim=-1).numpy()

    model = sklearn.pipeline.make_pipeline(StandardScaler(), LogisticRegression())
    sounds, classes = recordings(0)
    model.fit(features(sounds), classes)
    sounds, classes = recordings(1)
    assert model.score(features(sounds), classes) == 1.0


def test_recordings_are_classified_in_a_pipeline():
    pipeline = pytest.importorskip("sklearn.pipeline")
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    from multipath.compat.kymatio.sklearn import Scattering1D

    steps = [
        ("scatter", Scattering1D(J=8, shape=N, Q=8)),
        ("classify", LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
    ]
    model = pipeline.Pipeline(steps)
    model.fit(*recordings(0))
    assert model.score(*recordings(1)) == 1.0


def test_a_sound_is_reconstructed_by_gradient_descent():
    """With momentum, and steps that grow while the error falls and shrink where it rises."""
    x = torch.from_numpy(recordings(2, 1)[0][0]).float()
    scattering = Scattering1D(J=6, shape=N, Q=16)
    wanted = scattering(x)
    y = torch.randn(N, generator=torch.Generator().manual_seed(0), requires_grad=True)
    history, step, rate = [], torch.zeros(N), 0.1
    for _ in range(80):
        error = torch.norm(wanted - scattering(y))
        error.backward()
        history.append(error.item())
        with torch.no_grad():
            step = 0.9 * step + rate * y.grad
            if torch.norm(wanted - scattering(y - step)) < error:
                y -= step
                rate *= 1.1
            else:
                step, rate = torch.zeros(N), 0.5 * rate
        y.grad.zero_()
    assert history[-1] < 0.2 * history[0]


def test_images_are_scattered_with_numpy():
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32))
    scattering = Scattering2D(J=2, shape=(32, 32), L=8)
    assert scattering(images).shape == (2, 3, 81, 8, 8)
    constant = scattering(np.ones((32, 32)))
    np.testing.assert_allclose(constant[0], 1.0, rtol=1e-4)
    assert abs(constant[1:]).max() < 1e-4
