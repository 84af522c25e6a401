"""A page on which to hear where a distance comes from: groups of paths, resynthesised alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path as FilePath
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from multipath._internal.settings import whole
from multipath.applications.audio.players import data_uri
from multipath.applications.audio.spectrograms import magma, plot_spectrograms
from multipath.applications.resynthesis.search import Resynthesis
from multipath.applications.resynthesis.settings import ResynthesisSettings
from multipath.applications.runs.files import drawn
from multipath.applications.runs.html import embed, render_page
from multipath.errors import ConfigurationError, InputError
from multipath.paths import Path

from .compare import LEVELS, Comparison

__all__ = ["GROUPS", "LONGEST", "STEPS", "Group", "group_paths", "span", "write_page"]

GROUPS = 12
"""Groups that are resynthesised unless others are asked for."""
STEPS = 12
"""Steps of each resynthesis: a group has few paths, which converge quickly."""
LONGEST = 2**16
"""Samples of recordings whose page takes minutes."""
OCTAVES = 2
"""Rates and scales of a group span as much."""
PEAK = 0.9


@dataclass(frozen=True)
class Group:
    """Paths with similar rates and scales, and what they add to a distance.

    Attributes:
        rates: Lowest and highest rate of the paths, in Hz.
        scales: Lowest and highest scale of the paths, in cycles/octave.
        spin: 1 for patterns that rise in frequency, -1 for those that fall, 0 for neither.
        keys: The keys of the paths.
        share: The share of the paths in the sum of distances over all paths, in [0, 1].
        row: Band of scales, negative for falling patterns.
        column: Band of rates.
    """

    rates: tuple[float, float]
    scales: tuple[float, float]
    spin: int
    keys: frozenset[Any]
    share: float
    row: int
    column: int

    @property
    def words(self) -> str:
        """What the paths hear."""
        direction = {1: ", rising", -1: ", falling"}.get(self.spin, "")
        return f"{span(self.rates)} Hz, {span(self.scales)} cycles/octave{direction}"

    def holds(self, path: Path) -> bool:
        """Whether a path is one of them."""
        return path.key in self.keys


def span(values: tuple[float, float]) -> str:
    """Write a range of numbers with two digits, or all of those before the point.

    Example:
        >>> span((0.0619, 0.25)), span((21.3, 1364.3)), span((0.0, 0.0))
        ('0.062–0.25', '21–1364', '0')
    """
    texts = [f"{value:.0f}" if value >= 10 else f"{value:.2g}" for value in values]
    return "–".join(dict.fromkeys(texts))


def group_paths(comparison: Comparison) -> list[Group]:
    """Gather paths of joint scattering in bands of two octaves of rate and scale, by spin.

    Args:
        comparison: A comparison by joint time-frequency scattering.

    Returns:
        Groups that hold every path once, those that differ most first.

    Raises:
        InputError: If the comparison is not by ``"jtfs"``.

    Example:
        >>> import torch
        >>> from .compare import compare
        >>> t = torch.arange(1024) / 1024
        >>> slow, fast = (torch.sin(1000 * t) * torch.sin(f * t) for f in (30, 120))
        >>> groups = group_paths(compare(slow, fast, sample_rate=1024))
        >>> round(sum(group.share for group in groups), 6)
        1.0
    """
    if comparison.settings["transform"] != "jtfs":  # resynthesis knows no other settings of it
        raise InputError(
            "a map of rates and scales needs a comparison by jtfs, got one by "
            f"{comparison.settings['transform']}"
        )
    found = comparison.contributions()
    lowest = [
        min(value for item in found if (value := item.path.metadata[name]) > 0)
        for name in ("rate", "scale")
    ]

    def band(value: float, start: float) -> int:
        """0 for none, then 1, 2, ...; the margin is for rounding errors."""
        return 1 + int(log2(value / start) / OCTAVES + 1e-6) if value > 0 else 0

    cells: dict[tuple[int, int, int], list[Any]] = {}
    for item in found:
        known = item.path.metadata
        row, column = band(known["scale"], lowest[1]), band(known["rate"], lowest[0])
        cells.setdefault((row, known["spin"], column), []).append(item)
    groups = []
    for (row, spin, column), items in cells.items():
        rates, scales = ([x.path.metadata[name] for x in items] for name in ("rate", "scale"))
        groups.append(
            Group(
                rates=(min(rates), max(rates)),
                scales=(min(scales), max(scales)),
                spin=spin,
                keys=frozenset(item.path.key for item in items),
                share=sum(item.share for item in items),
                row=row * (spin or 1),
                column=column,
            )
        )
    return sorted(groups, key=lambda group: -group.share)


def write_page(
    comparison: Comparison,
    recordings: Sequence[Tensor],
    names: Sequence[str],
    file: FilePath,
    *,
    groups: int = GROUPS,
    steps: int = STEPS,
    notes: Sequence[str] = (),
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Write a page with both recordings and a map of rates and scales that plays groups of paths.

    Each group is resynthesised for each of the recordings: noise of its colour is changed until the
    coefficients on the paths of the group, and on no others, are those of the recording
    (:class:`~multipath.applications.resynthesis.search.Resynthesis`).

    Args:
        comparison: What :func:`~multipath.applications.distance.compare.compare` made of the
            recordings by ``"jtfs"``.
        recordings: The two recordings, each of shape (T,).
        names: What they are called.
        file: The page, written whole or not at all. Sounds and plots are inside it.
        groups: How many groups can be heard, those that differ most.
        steps: Steps of each resynthesis.
        notes: What was done to the recordings before they were compared.
        progress: Called after each step with the number of steps done, ``2 * groups * steps`` in
            all, and the relative distance that the search began at.

    Raises:
        InputError: If the comparison is not by joint time-frequency scattering.
        ConfigurationError: If the number of groups or steps is not positive.
    """
    if whole("groups", groups) < 1:
        raise ConfigurationError(f"groups must be at least 1, got {groups}")
    found = group_paths(comparison)
    n_samples, rate = comparison.settings["n_samples"], comparison.settings["sample_rate"]
    level = LEVELS[comparison.settings["level"]]
    padded = [pad(recording, (0, n_samples - len(recording)))[None] for recording in recordings]
    pair = [level(recording)[0] for recording in padded]
    settings = ResynthesisSettings.for_recording(
        n_samples,
        rate,
        start="colour",
        steps=steps,
        interval=steps,  # a single round
    )
    tasks = [(group, sound) for group in found[:groups] for sound in pair]
    searches = []
    for number, (group, sound) in enumerate(tasks):
        search = Resynthesis(settings, sound, group.holds)
        search.advance(_counted(progress, number * steps, search.rows[0]["relative"]))
        searches.append(search)
    loudest = max(float(sound.abs().max()) for sound in (*pair, *(s.signal for s in searches)))
    gain, largest = PEAK / loudest, found[0].share or 1.0
    sounds = [
        {
            "words": group.words,
            "sounds": [data_uri(gain * search.signal, rate) for search in both],
            "missing": [round(100 * search.rows[-1]["relative"]) for search in both],
        }
        for group, *both in zip(found, searches[::2], searches[1::2], strict=False)
    ]
    figure = plot_spectrograms(
        {f"{letter}: {name}": (x, rate) for letter, name, x in zip("AB", names, pair, strict=True)}
    )
    render_page(
        file,
        "distance.html.jinja",
        comparison=comparison,
        names=list(names),
        span=span,
        notes=[*notes, *comparison.notes],
        cells=[(group, *_colors(group.share / largest)) for group in found],
        rows={group.row: group for group in sorted(found, key=lambda group: -group.row)},
        columns={group.column: group for group in sorted(found, key=lambda group: group.column)},
        whole=[data_uri(gain * sound, rate) for sound in pair],
        sounds=sounds,
        magma=magma(),
        spectrograms=embed("image/png", drawn(figure, "png", 110)),
    )


def _counted(
    progress: Callable[[int, float], None] | None, before: int, relative: float
) -> Callable[[int], None]:
    """What a search calls after its steps, where others have made some before."""

    def after_step(step: int) -> None:
        if progress is not None:
            progress(before + step, relative)

    return after_step


def _colors(value: float) -> tuple[str, str]:
    """Color of a value in [0, 1] as in spectrograms, bright for loud, and of the text on it."""
    colors = magma(256)
    color = colors[round(value * (len(colors) - 1))]
    dark = sum(share * part for share, part in zip((0.3, 0.6, 0.1), color, strict=True)) < 128
    return f"rgb{color}", "#fff" if dark else "#000"
