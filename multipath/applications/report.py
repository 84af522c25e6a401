"""The report of a sound matching run: plots, sounds, and one page that shows them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from scipy.signal import resample_poly
from torch import Tensor

from .matching import SoundMatching
from .plots import plot_convergence, plot_estimates, plot_pairs

PAIRS = 4
LOWEST_RATE = 8000
"""Browsers refuse to play lower sample rates; sounds below it are resampled for the page."""


def write_report(
    folder: Path,
    model: SoundMatching,
    tested: tuple[Tensor, Tensor],
    rows: Sequence[Mapping[str, float]],
    summary: Mapping[str, Any],
) -> Path:
    """Write ``report.html`` and what it shows: three plots and ``audio/``.

    Args:
        folder: Where to.
        model: The trained model, on the CPU.
        tested: True and estimated parameters of the test set, both (n, U).
        rows: The rows of ``metrics.csv``.
        summary: The content of ``summary.json``.

    Returns:
        The path of the page.
    """
    synth = model.synth
    theta, estimate = tested
    true, found = synth.physical(theta), synth.physical(estimate)
    pairs = _write_pairs(folder, model, theta, estimate)
    untrained = summary["untrained_error"]["theta"]
    figures = {
        "convergence.png": plot_convergence({summary["loss"]: rows}, untrained=untrained),
        "estimates.png": plot_estimates(true, found, synth.parameter_names, synth.parameter_units),
        "pairs.png": plot_pairs(*(model.picture(sounds) for sounds in pairs)),
    }
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=110)
    return render_page(
        folder / "report.html",
        "run.html.jinja",
        summary=summary,
        config=model.config.to_dict(),
        parameters=[
            f"{name} ({unit})"
            for name, unit in zip(synth.parameter_names, synth.parameter_units, strict=True)
        ],
        pairs=[
            {
                "values": list(zip(true[i].tolist(), found[i].tolist(), strict=True)),
                "target": f"audio/{i}_target.wav",
                "reconstruction": f"audio/{i}_reconstruction.wav",
            }
            for i in range(len(pairs[0]))
        ],
    )


def render_page(file: Path, template: str, **values: Any) -> Path:
    """Fill one of the package's templates and write it; text is escaped for HTML."""
    loader = PackageLoader("multipath.applications", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    file.write_text(environment.get_template(template).render(**values), encoding="utf-8")
    return file


def read_metrics(file: Path) -> list[dict[str, float]]:
    """The rows of a ``metrics.csv``."""
    with file.open(newline="") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def _write_pairs(
    folder: Path, model: SoundMatching, theta: Tensor, estimate: Tensor
) -> tuple[Tensor, Tensor]:
    """Render the first test targets and their reconstructions, unshifted, and save them."""
    (folder / "audio").mkdir(exist_ok=True)
    with torch.no_grad():
        targets, reconstructions = model.synth(theta[:PAIRS]), model.synth(estimate[:PAIRS])
    rate = round(model.synth.sample_rate)
    factor = -(-LOWEST_RATE // rate)
    for i, pair in enumerate(torch.stack([targets, reconstructions], dim=1)):
        loud = 0.9 * pair / pair.abs().max().clamp_min(1e-9)
        for name, sound in zip(("target", "reconstruction"), loud, strict=True):
            samples = resample_poly(sound.numpy(), factor, 1) if factor > 1 else sound.numpy()
            soundfile.write(folder / "audio" / f"{i}_{name}.wav", samples, rate * factor)
    return targets, reconstructions
