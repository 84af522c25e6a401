"""Distinguish rising from falling chirps with a linear classifier on scattering features.

    pip install '.[sklearn]'
    python examples/scattering_classification.py

A chirp and its reversal have the same mean spectrogram; the spin of joint time-frequency scattering
shows in which direction the energy moves.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from multipath.integrations.sklearn import ScatteringFeatures
from multipath.transforms import JTFS, MultiResolutionSTFT

N_SAMPLES, SAMPLE_RATE = 2048, 2048.0


def chirps(n_signals, seed):
    """Make sounds of random pitch, speed, position and loudness, half of them rising."""
    random = np.random.default_rng(seed)
    time = (np.arange(N_SAMPLES) - N_SAMPLES / 2) / SAMPLE_RATE
    signals, rising = [], np.arange(n_signals) % 2
    for direction in 2 * rising - 1:
        octaves = direction * random.uniform(2, 6) * time  # 2 to 6 octaves/s
        pitch = random.uniform(150, 300)
        phase = 2 * np.pi * np.cumsum(pitch * 2.0 ** np.clip(octaves, -2, 1.5)) / SAMPLE_RATE
        place = random.uniform(-0.1, 0.1)
        envelope = np.exp(-(((time - place) / 0.15) ** 2))
        noise = 0.05 * random.standard_normal(N_SAMPLES)
        signals.append(random.uniform(0.3, 1.0) * (envelope * np.sin(phase) + noise))
    return np.stack(signals).astype(np.float32), rising


def accuracy(features, signals, labels):
    half = len(signals) // 2
    classifier = make_pipeline(features, StandardScaler(), LogisticRegression(C=0.1))
    return classifier.fit(signals[:half], labels[:half]).score(signals[half:], labels[half:])


def main():
    signals, labels = chirps(100, seed=0)
    scattering = JTFS(N_SAMPLES, J=7, Q=(8, 1), J_fr=3, Q_fr=1, T=512, F=8, sample_rate=SAMPLE_RATE)
    spectrogram = MultiResolutionSTFT([256], [64], [256])
    baseline = ScatteringFeatures(spectrogram, pooling=lambda c: c.mean(dim=-1))
    results = {
        "mean spectrogram": accuracy(baseline, signals, labels),
        "scattering": accuracy(ScatteringFeatures(scattering), signals, labels),
    }
    for name, value in results.items():
        print(f"{name}: {value:.0%} right")
    return results


if __name__ == "__main__":
    main()
