"""What a gradient remembered from a path's last visit is worth when the path is drawn again.

P-SAGA subtracts the remembered direction and adds the mean of all. Of a direction and a memory of
equal length that leaves 2 (1 - cosine) of the squared norm: less noise where the cosine is above
1/2, more below. And nothing remembered can resemble, where gradients of one path on two batches do
not to begin with. For SCRAPL without P-SAGA (``scrapl-padam``) on the quick presets, in the second
half of the training:

- ``batches``: mean cosine of gradients of the same path and the same weights on two batches,
- ``memory``: mean cosine of a gradient and that of the path's last visit.

    python -m benchmarks.path_memory --out benchmarks/results/path_memory.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import torch
from rich.progress import track
from torch import Tensor

from multipath.applications.data import seeded
from multipath.applications.files import replacing
from multipath.applications.matching import SoundMatching
from multipath.applications.presets import preset

CASES = [
    ("chirplet", 4, 1e-3, 4000),
    ("granular", 4, 3e-4, 4000),
    ("granular", 32, 3e-4, 4000),
]
"""Application, batch size, learning rate, steps."""

TWICE_EVERY = 20
"""Steps between two looks at a second batch."""


@dataclass
class Cosines:
    """What was seen in one run."""

    batches: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def row(self) -> list[str]:
        """Means, for a table."""
        return [f"{fmean(each):.2f}" for each in (self.batches, self.memory)]


def measure(application: str, batch: int, lr: float, steps: int, seed: int = 0) -> Cosines:
    """Train, and compare gradients in the second half of the training."""
    config = preset(
        "quick",
        application,
        loss="scrapl-padam",
        batch_size=batch,
        learning_rate=lr,
        steps=steps,
        seed=seed,
    )
    torch.manual_seed(seeded(seed, "weights").initial_seed())
    model = SoundMatching(config)
    made = model.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    remembered: dict[int, Tensor] = {}
    found = Cosines()
    for step in track(range(steps), description=f"{application}, batch {batch}"):
        loss = model.training_step(model.batches.training_batch(step), step)
        loss.backward()
        gradient = _flat(model)
        path = int(model.criterion.last_draw.indices)
        if step >= steps // 2:
            if path in remembered:
                found.memory.append(_cosine(gradient, remembered[path]))
            if step % TWICE_EVERY == 0:
                other = _gradient_elsewhere(model, path, steps + step)
                found.batches.append(_cosine(gradient, other))
        remembered[path] = gradient
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return found


def _gradient_elsewhere(model: SoundMatching, path: int, number: int) -> Tensor:
    """That of the same path and weights on another batch."""
    batch = model.batches.training_batch(number)
    sounds = model.sounds(batch.targets)
    made = model.synth(model(sounds), batch.chance)
    loss = model.criterion.loss.path_losses(made, sounds, [path]).mean()
    gradients = torch.autograd.grad(loss, list(model.encoder.parameters()))
    return torch.cat([each.flatten() for each in gradients])


def _flat(model: SoundMatching) -> Tensor:
    weights: Iterator[Tensor] = (w.grad for w in model.encoder.parameters() if w.grad is not None)
    return torch.cat([gradient.flatten() for gradient in weights])


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.cosine_similarity(a, b, dim=0))


def main() -> None:
    """Measure all cases and write a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("path_memory.md"))
    parser.add_argument("--steps", type=int, help="instead of each case's own")
    arguments = parser.parse_args()
    rows = [
        "| task | batch | steps | batches | memory |",
        "|---|---:|---:|---:|---:|",
    ]
    for application, batch, lr, steps in CASES:
        steps = arguments.steps or steps
        cells = measure(application, batch, lr, steps).row()
        rows.append(f"| {application} | {batch} | {steps} | {' | '.join(cells)} |")
    text = f"{(__doc__ or '').strip()}\n\n" + "\n".join(rows) + "\n"
    with replacing(arguments.out) as draft:
        draft.write_text(text, encoding="utf-8")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
