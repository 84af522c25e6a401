"""Sound matching tasks that train in a blink."""

import dataclasses

from lightning.pytorch import Callback
from torch import Tensor

from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks.base import Preset, ScatteringSettings

SMALL = {
    "n_samples": 1024,
    "n_targets": 40,
    "batch_size": 4,
    "steps": 10,
    "validate_every": 4,
    "channels": (4, 4, 4),
    "embedding": 4,
    "dropout": 0.3,
    "scattering": ScatteringSettings(J=6, Q=(4, 1), J_fr=2, Q_fr=1, T=256, F=4),
    "fft_sizes": (64, 256),
    "energy_targets": 8,
    "n_draws": 4,
}
TINY = preset("quick", loss="ploss", max_shift=64, **SMALL)
TINY_GRANULAR = preset("quick", "granular", loss="ploss", n_grains=4, grain_samples=256, **SMALL)
TINY_TR808 = preset(
    "quick",
    "tr808",
    **{**SMALL, "loss": "ploss", "n_samples": 2048},
    onset=64,
    cqt_octaves=4,
    cqt_hop=64,
)
TINY_AM_CHIRP = preset("quick", "amchirp", loss="ploss", max_shift=64, **SMALL)
TINY_DRUM = preset("quick", "drum", loss="ploss", modes=(2, 2), max_delay=16, **SMALL)
TASKS = {
    "amchirp": TINY_AM_CHIRP,
    "drum": TINY_DRUM,
    "chirplet": TINY,
    "granular": TINY_GRANULAR,
    "tr808": TINY_TR808,
}


def use_tiny_presets(monkeypatch):
    """Let the quick presets be these."""
    for config in TASKS.values():
        kind = type(config.task)
        groups = {field.name: getattr(config, field.name) for field in dataclasses.fields(Preset)}
        presets = {**kind.presets(), "quick": Preset(**groups)}
        monkeypatch.setattr(kind, "presets", lambda presets=presets: presets)


class StopAt(Callback):
    """Ctrl-C after some steps; counts the steps it saw."""

    def __init__(self, step: int | None = None) -> None:
        self.step = step
        self.seen: list[int] = []

    def on_train_batch_end(self, trainer, *_) -> None:
        self.seen.append(trainer.global_step)
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


def make_embedding():
    """Stands in for a pretrained network."""

    def envelope(sounds: Tensor) -> Tensor:
        return sounds.unfold(1, 128, 128).square().mean(dim=2)

    envelope.sample_rate = 2048  # type: ignore[attr-defined]
    return envelope
