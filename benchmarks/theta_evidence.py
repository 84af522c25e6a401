"""What theta-importance finds for the four chirplet synthesizers: tables, and figure 6 of SCRAPL.

For each of NAME in the four synthesizers, make results with

    multipath importance chirplet --synth NAME --preset paper --method METHOD --out NAME_METHOD.pt

and then, whatever is missing,

    python -m benchmarks.theta_evidence FOLDER --plot docs/plots/theta_importance.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from multipath._plots.importance import draw_ratios, label_colors, octave_limit
from multipath._plots.path_plane import MARK, outline, path_plane
from multipath.applications.matching.presets import preset
from multipath.applications.runs.files import replacing
from multipath.applications.synths.chirplet import CHIRPLETS
from multipath.importance import ThetaImportance

from .tables import table

EXACT = "eigenvalue"
PROXIES = ("hutchinson", "gradient", "gradient_ema")
Results = dict[tuple[str, str], ThetaImportance]


def read(folder: Path) -> Results:
    """Files ``*NAME_METHOD.pt`` of a folder, by name and method."""
    found = {}
    for name in CHIRPLETS:
        for method in (EXACT, *PROXIES):
            for file in sorted(folder.glob(f"*{name}_{method}.pt")):
                found[name, method] = ThetaImportance.load(file)
    return found


def share_table(results: Results, preset_name: str) -> str:
    """How much of the probability lies inside each synthesizer's rectangle, beside uniform."""
    rows = []
    for (name, method), result in results.items():
        config = preset(preset_name, synth=name)
        cells = [name, method]
        for spacings in (0.0, 0.5):
            chosen = config.task.inside(result.paths, spacings)
            uniform = float(chosen.double().mean())
            cells += [str(int(chosen.sum())), f"{uniform:.1%}", f"{result.share(chosen):.1%}"]
        rows.append(cells)
    header = ["synthesizer", "method", "inside", "uniform", "pi"]
    return table([*header, "within half a filter", "uniform", "pi"], rows, words=(0, 1))


def correlation_table(results: Results) -> str:
    """Spearman's rank correlation over paths of every proxy with the eigenvalues."""
    rows = []
    for (name, method), proxy in results.items():
        exact = results.get((name, EXACT))
        if method == EXACT or exact is None:
            continue
        pairs = [*zip(proxy.curvature, exact.curvature, strict=True)]
        pairs.append((proxy.probabilities(), exact.probabilities()))
        correlations = [spearmanr(a.numpy(), b.numpy()).statistic for a, b in pairs]
        rows.append([name, method, *(f"{value:.3f}" for value in correlations)])
    return table(["synthesizer", "proxy", "AM", "FM", "pi"], rows, words=(0, 1))


def draw(results: Results, preset_name: str, method: str, file: Path) -> None:
    """The four pi over rate and scale, with their rectangles; colours are shared."""
    shown = {name: results[name, method] for name in CHIRPLETS if (name, method) in results}
    ratios = {name: (len(r.paths) * r.probabilities()).numpy() for name, r in shown.items()}
    limit = octave_limit(np.concatenate(list(ratios.values())))
    figure = Figure(figsize=(10.0, 7.0), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True, squeeze=False)
    mesh = None
    for axes in panels.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, (name, result) in zip(panels.flat, shown.items(), strict=False):
        config = preset(preset_name, synth=name)
        strict, wider = (config.task.inside(result.paths, spacings) for spacings in (0.0, 0.5))
        mesh = draw_ratios(axes, result.paths, ratios[name], strict.numpy(), limit)
        plane = path_plane(result.paths, wider.numpy().astype(float))
        if plane is not None and not torch.equal(strict, wider):
            outline(axes, plane[0] > 0, colors=MARK, linewidths=1, linestyles="dotted")
        (slow, fast), (flat, steep) = config.task.ranges.am, config.task.ranges.fm
        axes.set_title(
            f"{name}: AM {slow:g} to {fast:g} Hz, FM {flat:g} to {steep:g} octaves/s", fontsize=9
        )
        axes.label_outer()
    if mesh is not None:
        label_colors(figure, list(panels.flat), mesh, limit)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as draft:
        figure.savefig(draft, dpi=110)


def main() -> None:
    """Print the tables and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="paper", help="the preset of the results")
    parser.add_argument("--method", default=EXACT, help="which ones the plot shows")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    results = read(options.folder)
    if not results:
        parser.error(f"{options.folder} holds no files NAME_METHOD.pt of {', '.join(CHIRPLETS)}")
    print(share_table(results, options.preset), end="\n\n")
    print(correlation_table(results))
    if options.plot is not None:
        if not any(method == options.method for _, method in results):
            parser.error(f"no results of {options.method} to draw; choose another --method")
        draw(results, options.preset, options.method, options.plot)


if __name__ == "__main__":
    main()
