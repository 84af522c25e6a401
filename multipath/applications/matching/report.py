"""The report of a sound matching run: plots, sounds, and one page that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multipath.applications.audio.files import playable, write_audio
from multipath.applications.audio.players import data_uri
from multipath.applications.runs.files import drawn, write_bytes
from multipath.applications.runs.html import embed, embed_files, render_page

from .module import SoundMatching
from .plots import plot_convergence, plot_estimates, plot_loss, plot_pairs

PAIRS = 4
DPI = 110


def write_report(
    folder: Path,
    model: SoundMatching,
    estimate: Tensor,
    rows: Sequence[Mapping[str, float]],
    summary: Mapping[str, Any],
) -> Path:
    """Write ``report.html`` and what it shows: plots and ``audio/``, which are also inside it.

    Estimates are compared with true parameters only where these are known.

    Args:
        folder: Where to.
        model: The trained model, on the CPU.
        estimate: Estimated parameters of the test set, (n, U).
        rows: The rows of ``metrics.csv``.
        summary: The content of ``summary.json``.

    Returns:
        The path of the page.
    """
    synth, theta = model.synth, model.batches.splits["test"].theta
    found = synth.physical(estimate)
    true = None if theta is None else synth.physical(theta)
    names, units = synth.parameter_names, synth.parameter_units
    targets, reconstructions, players = _write_pairs(folder, model, estimate)
    headline = summary["headline"]
    figures = {
        "convergence.png": plot_convergence(rows, summary["loss"], column=headline),
        "loss.png": plot_loss(rows),
        "pairs.png": plot_pairs(
            model.features(targets),
            model.features(reconstructions),
            [_name(each) for each in summary["sounds"]],
            model.features,
        ),
    }
    if true is not None:
        figures["estimates.png"] = plot_estimates(true, found, names, units)
    pictures = {name: drawn(figure, "png", DPI) for name, figure in figures.items()}
    for name, content in pictures.items():
        write_bytes(folder / name, content)
    return render_page(
        folder / "report.html",
        "run.html.jinja",
        heading=model.config.task.heading,
        summary=summary,
        errors=summary[summary["errors"]],
        config=model.config.to_dict(),
        parameters=[f"{name} ({unit})" for name, unit in zip(names, units, strict=True)],
        knows_theta=true is not None,
        figures={name: embed("image/png", content) for name, content in pictures.items()},
        files=embed_files(folder),
        pairs=[
            {
                "name": name,
                "true": None if true is None else true[i].tolist(),
                "found": found[i].tolist(),
                "target": target,
                "reconstruction": reconstruction,
            }
            for i, (name, (target, reconstruction)) in enumerate(
                zip(summary["sounds"], players, strict=True)
            )
        ],
    )


def _name(recording: str) -> str:
    """What a picture has room for: a recording without its folder."""
    return recording.rpartition("/")[2]


def _write_pairs(
    folder: Path, model: SoundMatching, estimate: Tensor
) -> tuple[Tensor, Tensor, list[tuple[str, str]]]:
    """Save the first test targets and their reconstructions, with the same nuisance if possible.

    Returns:
        The sounds, and both of each pair for the page.
    """
    (folder / "audio").mkdir(exist_ok=True)
    batch = next(model.batches.all_of("test", size=PAIRS))
    nuisance = batch.nuisance if batch.targets.nuisance is None else batch.targets.nuisance
    with torch.no_grad():
        targets = model.sounds(batch.targets)
        reconstructions = model.synth(estimate[: len(targets)], nuisance)
    rate = round(model.config.task.sample_rate)
    players = []
    for i, pair in enumerate(torch.stack([targets, reconstructions], dim=1)):
        loud = 0.9 * pair / pair.abs().max().clamp_min(1e-9)
        sounds = [playable(sound, rate) for sound in loud]
        for name, sound in zip(("target", "reconstruction"), sounds, strict=True):
            write_audio(folder / "audio" / f"{i}_{name}.wav", *sound)
        players.append((data_uri(*sounds[0]), data_uri(*sounds[1])))
    return targets, reconstructions, players
