"""A sound matching task that trains in a blink."""

from dataclasses import replace

from multipath.applications.presets import JTFSSettings, preset

TINY = replace(
    preset("quick", loss="ploss"),
    n_samples=1024,
    max_shift=64,
    n_targets=40,
    batch_size=4,
    steps=10,
    validate_every=4,
    channels=(4, 4, 4),
    embedding=4,
    dropout=0.3,
    jtfs=JTFSSettings(J=6, Q=(4, 1), J_fr=2, Q_fr=1, T=256, F=4),
    fft_sizes=(64, 256),
    energy_targets=8,
    n_draws=4,
)
