"""How closely theta-importance agrees with the probabilities that SCRAPL's authors publish.

python -m benchmarks.theta_agreement DIR [--examples N] [--only NAME]

DIR is the folder ``experiments/data/theta_importance_sampling/chirplet`` of their code. For each of
the four chirplet synthesizers, the probabilities of the 315 paths are measured by gradients on the
loss that they used: distances that are not squared, over signals whose padding is kept, with a
synthesizer whose window is not differentiated. The share counts the paths whose centre frequencies
lie within half a filter of the synthesizer's ranges of AM and FM.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from scipy.stats import spearmanr

from multipath import TransformLoss
from multipath.applications.matching.importance import measure
from multipath.applications.matching.presets import preset
from multipath.applications.synths.chirplet import CHIRPLETS
from multipath.errors import InputError

from .tables import table

THEIRS = {"slow": "lo", "moderate": "med", "fast": "hi"}
"""What the authors call the ranges of AM and FM."""


def authors_probabilities(folder: Path, name: str) -> torch.Tensor:
    """The probabilities of a synthesizer, one for each path.

    Raises:
        InputError: If the folder does not hold them.
    """
    am, fm = (THEIRS[speed] for speed in name.split("-"))
    files = sorted(folder.glob(f"*am_{am}_fm_{fm}__probs__*.pt"))
    if len(files) != 1:
        raise InputError(f"{folder} must hold one file *am_{am}_fm_{fm}__probs__*.pt, got {files}")
    return torch.load(files[0], map_location="cpu", weights_only=True).double().flatten()


def compared(name: str, theirs: torch.Tensor, examples: int | None) -> list[str]:
    """A row: rank correlation, total variation, share in the rectangle."""
    config = preset("paper", "chirplet", synth=name, detach_window=True)
    task = config.task
    transform = task.scattering.build(task.n_samples, task.sample_rate, unpad=False)
    result = measure(
        config,
        loss=TransformLoss(transform, distance="l2"),
        method="gradient",
        examples=examples,
        progress=True,
    )
    ours = result.probabilities().double()
    if ours.shape != theirs.shape:
        raise InputError(f"the authors have {len(theirs)} paths of {name}, not {len(ours)}")
    uniform = torch.full_like(ours, 1 / len(ours))
    inside = task.inside(result.paths, 0.5)
    return [
        name,
        str(result.settings["examples"]),
        f"{spearmanr(ours.numpy(), theirs.numpy()).statistic:.3f}",
        *(f"{(pi - theirs).abs().sum() / 2:.2f}" for pi in (ours, uniform)),
        *(f"{pi[inside].sum():.1%}" for pi in (ours, theirs, uniform)),
    ]


def main() -> None:
    """Measure and print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--examples", type=int, help="default: 32, as published")
    parser.add_argument("--only", choices=list(CHIRPLETS), action="append")
    options = parser.parse_args()
    head = ["synthesizer", "examples", "rank correlation", "total variation", "of uniform"]
    rows = []
    for name in options.only or CHIRPLETS:
        try:
            theirs = authors_probabilities(options.folder, name)
            rows.append(compared(name, theirs, options.examples))
        except InputError as error:
            parser.error(str(error))
        print(table([*head, "share inside", "authors'", "of uniform"], rows, words=(0,)))


if __name__ == "__main__":
    main()
