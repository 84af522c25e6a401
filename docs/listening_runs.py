"""Train what the listening page lets one hear: three synthesizers, four losses each.

python docs/listening_runs.py [--out docs/listening/runs.json] [--steps 480]

It takes some ten minutes of processor time on one thread, more than a build of the documentation
should, so its result is kept: half a megabyte, with the sounds as MP3, which all browsers play.
"""

import argparse
import base64
import io
import json
import logging
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from multipath.applications.audio.files import resample
from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.presets import QUICK_SCATTERING, preset
from multipath.applications.runs.environment import describe_environment
from multipath.applications.runs.files import write_text

RATE, HEARD_AT = 4096, 8000
"""Hz: of the sounds, and of the files, which browsers refuse below 8 kHz."""
TESTED, HEARD = 48, 2
"""Targets of the test set that errors are means over, and those that can be heard."""
HERE = Path(__file__).parent

SHARED: dict[str, Any] = {
    "sample_rate": float(RATE),
    "n_samples": RATE,
    "n_targets": 240,
    "batch_size": 4,
    "validate_every": 60,
    "cqt_hop": 64,
    "scattering": replace(QUICK_SCATTERING, sampling="reduced"),
}
# The quick presets with half the length at twice the rate: one second each.
TASKS: dict[str, dict[str, Any]] = {
    "granular": {"f_min": 128.0, "f_max": 1024.0},
    "chirplet": {"cqt_octaves": 3},
    "drum": {
        "omega_range": (10**2.7, 10**3.5),
        "tau_range": (0.05, 0.4),
        "scattering": replace(QUICK_SCATTERING, sampling="reduced", eps=1e-3),
    },
}
LOSSES = {
    "mss-log": "multi-scale spectral loss",
    "scrapl": "SCRAPL: one random path of JTFS",
    "kpaths": "8 energy draws from JTFS",
    "pnp": "PNP: parameters, by what they do",
}


class Listener(Callback):
    """Notes errors and sounds after some steps, and the processor time that steps take."""

    def __init__(self, model: SoundMatching, steps: int, seconds: float) -> None:
        self.every = max(1, steps // 24)
        self.heard = {round(steps * share / 24) for share in (0, 1, 2, 4, 6, 8, 12, 18, 24)}
        self.seconds, self.begun = seconds, 0.0
        self.targets = model.batches.splits["test"].take(slice(TESTED))
        self.sounds = model.sounds(self.targets)
        self.rows: list[dict[str, Any]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.note(0, pl_module)

    def on_train_batch_start(self, *_: Any) -> None:
        self.begun = time.process_time()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.seconds += time.process_time() - self.begun
        if trainer.global_step % self.every == 0 or trainer.global_step in self.heard:
            self.note(trainer.global_step, pl_module)

    @torch.no_grad()
    def note(self, step: int, model: Any) -> None:
        training = model.training
        estimate = model.eval()(self.sounds)
        model.train(training)
        error = 1000 * float((estimate - self.targets.theta).abs().mean())
        row = {"step": step, "seconds": round(self.seconds, 2), "error": round(error, 1)}
        if step in self.heard:
            made = model.synth(estimate[:HEARD], self.targets.nuisance[:HEARD])
            row["parameters"] = rounded(model.synth.physical(estimate[:HEARD]))
            row["sounds"] = [encoded(sound) for sound in made]
        self.rows.append(row)


def encoded(sound: Tensor) -> str:
    """A sound as an MP3 in base64, at a peak of 0.9."""
    buffer = io.BytesIO()
    samples = resample(0.9 * sound / sound.abs().max().clamp_min(1e-6), RATE, HEARD_AT)
    soundfile.write(buffer, samples.clamp(-1, 1).numpy(), HEARD_AT, format="MP3")
    return base64.b64encode(buffer.getvalue()).decode()


def rounded(values: Tensor) -> list[list[float]]:
    return [[float(f"{value:.3g}") for value in row] for row in values.tolist()]


def train(config: MatchConfig) -> tuple[SoundMatching, list[dict[str, Any]]]:
    torch.manual_seed(config.seed)
    model = SoundMatching(config)
    begun = time.process_time()
    model.measure()  # the metrics of PNP are part of its price
    spent = time.process_time() - begun if model.objective.metric else 0.0
    listener = Listener(model, config.training.steps, spent)
    trainer = Trainer(
        max_steps=config.training.steps,
        accelerator="cpu",
        callbacks=[listener],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model)
    return model, listener.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "listening" / "runs.json")
    parser.add_argument("--steps", type=int, default=480)
    parser.add_argument("--only", nargs="+", choices=TASKS, help="sounds to train (default: all)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    tasks = []
    for name in options.only or TASKS:
        runs = []
        for loss, words in LOSSES.items():
            config = preset("quick", name, loss=loss, steps=options.steps, **SHARED | TASKS[name])
            model, rows = train(config)
            runs.append({"loss": loss, "words": words, "rows": rows})
            heard = [row for row in rows if "sounds" in row]
            print(name, loss, *(f"{row['seconds']:.0f}s:{row['error']:.0f}" for row in heard))
        trained = model.batches.splits["train"].size
        targets = model.batches.splits["test"].take(slice(HEARD))
        tasks.append(
            {
                "name": name,
                "names": model.synth.parameter_names,
                "units": model.synth.parameter_units,
                "parameters": rounded(model.synth.physical(targets.theta)),
                "sounds": [encoded(sound) for sound in model.sounds(targets)],
                "runs": runs,
            }
        )
        options.out.parent.mkdir(exist_ok=True)
        found = {
            "steps": options.steps,
            "trained": trained,
            "tested": TESTED,
            "rate": HEARD_AT,
            "environment": describe_environment(),
            "tasks": tasks,
        }
        write_text(options.out, json.dumps(found, indent=0) + "\n")


if __name__ == "__main__":
    main()
