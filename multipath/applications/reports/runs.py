"""Read finished and unfinished runs, and group those that differ only in their seed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from multipath.applications.matching.tasks.find import find_task, task_names
from multipath.applications.runs.files import read_draws, read_json, read_numbers
from multipath.errors import InputError

__all__ = ["Group", "Interval", "Run", "Section", "interval", "read_run", "read_runs", "sections"]

FIRST_IN_LABELS = "loss", "transform"
NO_SETTINGS = "seed", "source", "recording"


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        folder: The folder of the run.
        name: A short name, unique among the runs compared.
        kind: ``"match"`` or ``"resynthesis"``.
        task: What was matched: the synthesizer, or the recording.
        settings: Its configuration, flat, without the seed.
        seed: Its seed.
        measure: The quantity that ``curve`` shows, with its unit.
        curve: Errors by step, as far as it went: theta errors in per mille, or distances, relative
            ones in percent.
        errors: Final errors by name (for ``match`` per mille of theta, or distances; percent and
            distance for ``resynthesis``); empty if it is not finished.
        draws: The rows of its ``draws.csv``, if there is one.
        heard: What its sounds are called, as far as that is known.
        recording: A digest that tells recordings, or folders of recordings, of the same name
            apart; empty where there are none.
    """

    folder: Path
    name: str
    kind: str
    task: str
    settings: Mapping[str, Any]
    seed: int
    measure: str
    curve: dict[int, float]
    errors: Mapping[str, float]
    draws: Sequence[Mapping[str, Any]]
    recording: str
    heard: Sequence[str] = ()

    @property
    def finished(self) -> bool:
        """Whether the run has finished, and so has a summary."""
        return bool(self.errors)

    @property
    def last_step(self) -> int:
        """The last step that was evaluated."""
        return next(reversed(self.curve), 0)

    @property
    def sounds(self) -> list[tuple[str, Path, Path]]:
        """Names of sounds, and the files of their targets and reconstructions."""
        if self.kind == "resynthesis":
            pairs = [(self.folder / "target.wav", self.folder / "resynthesis.wav")]
        else:
            targets = sorted((self.folder / "audio").glob("*_target.wav"))
            pairs = [(t, t.with_name(t.name.replace("target", "reconstruction"))) for t in targets]
        numbered = [f"sound {i + 1}" for i in range(len(pairs))]
        names = [*self.heard, *numbered[len(self.heard) :]]
        found = zip(names, pairs, strict=False)
        return [(name, *pair) for name, pair in found if all(file.is_file() for file in pair)]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its 95 % interval, ``mean - margin`` to ``mean + margin``.

    Attributes:
        mean: The mean.
        margin: Half the width of the interval; NaN with a single seed.
        count: Number of seeds.
    """

    mean: float
    margin: float
    count: int


@dataclass
class Group:
    """Runs that differ only in their seed.

    Attributes:
        label: The settings in which they differ from the other groups.
        runs: All runs of the group.
    """

    label: str
    runs: list[Run] = field(default_factory=list)

    @property
    def independent(self) -> list[Run]:
        """Finished runs, one per seed, over which means and intervals are taken."""
        return list({run.seed: run for run in reversed(self.runs) if run.finished}.values())[::-1]

    @property
    def errors(self) -> dict[str, Interval]:
        """The interval of each final error."""
        runs = self.independent
        names = list(runs[0].errors) if runs else []
        return {name: interval([run.errors[name] for run in runs]) for name in names}

    @property
    def band(self) -> tuple[list[int], list[Interval]]:
        """The steps that all finished runs evaluated, and the interval of the error at each."""
        curves = [run.curve for run in self.independent]
        steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
        return steps, [interval([curve[step] for curve in curves]) for step in steps]

    @property
    def draws(self) -> list[dict[str, Any]]:
        """How often each path was drawn, summed over the runs that drew from the same paths."""
        drawn = [run.draws for run in self.runs if run.draws]
        if not drawn:
            return []
        same = [rows for rows in drawn if len(rows) == len(drawn[0])]
        return [
            {**row, "count": sum(rows[index]["count"] for rows in same)}
            for index, row in enumerate(drawn[0])
        ]


@dataclass
class Section:
    """Runs of the same task, whose sounds and errors can be compared.

    Attributes:
        kind: ``"match"`` or ``"resynthesis"``.
        task: The synthesizer, or the recording.
        groups: Its groups, in order of appearance.
        notes: Remarks for the reader.
    """

    kind: str
    task: str
    groups: list[Group]
    notes: list[str]

    @property
    def runs(self) -> list[Run]:
        """All runs of the section, group by group."""
        return [run for group in self.groups for run in group.runs]

    @property
    def measure(self) -> str:
        """The quantity that the curves show, with its unit."""
        return self.runs[0].measure


def interval(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    r"""Compute a mean and the 95 % interval of Student's t: :math:`t_{0.975, n-1}\, s / \sqrt n`.

    Example:
        >>> interval([1.0, 2.0, 3.0])
        Interval(mean=2.0, margin=2.484..., count=3)
    """
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    if count < 2:
        return Interval(float(array.mean()), float("nan"), count)
    margin = student.ppf(0.975, count - 1) * array.std(ddof=1) / np.sqrt(count)
    return Interval(float(array.mean()), float(margin), count)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read runs, and name each by as much of its path as tells it apart.

    Args:
        folders: Run folders.

    Raises:
        InputError: If there is no folder, one is given twice, or one cannot be read.
    """
    if not folders:
        raise InputError("there is nothing to compare; pass the folders of one run or more")
    real = [folder.resolve() for folder in folders]
    for index, folder in enumerate(real):
        if folder in real[:index]:
            raise InputError(f"{folders[index]} is given twice; pass each run once")
    names = [folder.name for folder in real]
    if len(set(names)) < len(names):
        common = Path(os.path.commonpath(real))
        names = [folder.relative_to(common).as_posix() for folder in real]
    return [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def read_run(folder: Path, name: str | None = None) -> Run:
    """Read one run, finished or not.

    Args:
        folder: The folder of the run.
        name: The name of the run. Default: that of the folder.

    Raises:
        InputError: If there is no such folder, it holds no run, or a file of the run is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; pass the folder of a run")
    if not (folder / "config.json").is_file():
        inside = sorted(file.parent.name for file in folder.glob("*/config.json"))
        hint = f"the runs in it: {', '.join(inside[:4])}" if inside else "the folder of a run"
        raise InputError(f"{folder} holds no run (no config.json); pass {hint}")
    given = read_json(folder / "config.json")
    kind = "resynthesis" if given.get("task") == "resynthesis" else "match"
    if kind == "match" and not isinstance(given.get("task"), Mapping):
        raise InputError(
            f"{folder}: expected a run of match or resynthesize, got another config.json"
        )
    summary = _optional(folder / "summary.json", read_json, {})
    try:
        config = _flat(_ungrouped(given) if kind == "match" else given)
        column, scale, measure = _judged_by(given, summary)
        rows = _optional(folder / "metrics.csv", read_numbers, [])
        return Run(
            folder,
            name or folder.resolve().name,
            kind,
            task=str(config["task" if kind == "match" else "source"]),
            settings={key: value for key, value in config.items() if key not in NO_SETTINGS},
            seed=int(config["seed"]),
            measure=measure,
            curve={int(row["step"]): scale * row[column] for row in rows},
            errors=_errors(kind, summary) if summary else {},
            draws=_optional(folder / "draws.csv", read_draws, []),
            recording=str(config.get("recording", "")) or _digest(folder / "sources.json"),
            heard=[str(config["source"]) or "recording"]
            if kind == "resynthesis"
            else _names(summary),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{folder}: a file of the run is damaged or of another version ({error!r}); run it "
            "again"
        ) from error


def sections(runs: Sequence[Run]) -> list[Section]:
    """Sort runs by task, and within a task by all settings but the seed."""
    by_task: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        by_task.setdefault((run.kind, run.task, run.recording), []).append(run)
    found = []
    for (kind, task, recording), members in by_task.items():
        groups, notes = _grouped(members)
        if sum(each[:2] == (kind, task) for each in by_task) > 1:
            notes.insert(0, f"Several recordings are called {task}: these are of {recording}")
        found.append(Section(kind, task, groups, notes))
    return found


def _grouped(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    groups: dict[str, Group] = {}
    notes = []
    for run in runs:
        key = repr(sorted(run.settings.items()))
        group = groups.setdefault(key, Group(""))
        twin = next((other for other in group.runs if other.seed == run.seed), None)
        if twin is not None:
            notes.append(
                f"{run.name} has the settings and the seed of {twin.name}: intervals count them "
                "once"
            )
        if not run.finished:
            notes.append(f"{run.name} is unfinished: shown up to step {run.last_step}")
        group.runs.append(run)
    found = [group.runs[0].settings for group in groups.values()]
    for group in groups.values():
        group.label = _label(group.runs[0].settings, found)
    return list(groups.values()), notes


def _label(settings: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """Name the loss or the transform, and every other setting that differs between the groups."""
    main = next((name for name in FIRST_IN_LABELS if name in settings), None)
    parts = [str(settings[main])] if main else []
    for name, value in settings.items():
        if name != main and any(other.get(name) != value for other in others):
            parts.append(f"{name}={value}")
    return ", ".join(parts) or "all"


def _errors(kind: str, summary: Mapping[str, Any]) -> dict[str, float]:
    if kind == "resynthesis":
        relative, distance = float(summary["relative"]), float(summary["distance"])
        return {"relative (%)": 100 * relative, "distance": distance}
    return {name: float(value) for name, value in summary[summary["errors"]].items()}


def _judged_by(config: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[str, float, str]:
    """The column of ``metrics.csv`` with the errors, its scale, and what it measures."""
    if config["task"] == "resynthesis":
        return "relative", 100.0, "relative distance (%)"
    name, headline = config["task"].get("name"), summary.get("headline")
    if not headline:
        headline = find_task(name).judged_by.headline if name in task_names() else "theta"
    return headline, 1.0, "error (per mille)" if headline == "theta" else f"{headline} distance"


def _ungrouped(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name the settings of a match without their groups, as ``MatchConfig.changed`` takes them.

    The title of the task is not a setting.
    """
    task = config["task"]
    variants = "synth", "alignment", "data"
    named = [task.get(name) for name in ("name", *variants)]
    # a folder of recordings goes by its name, however its path was given
    title = " ".join(Path(str(e)).name or str(e) for e in named if e is not None)
    settings = {name: value for name, value in task.items() if name not in ("name", *variants)}
    for group in ("objective", "encoder", "training"):
        settings |= config.get(group, {})
    return {"task": title, **settings, "preset": config.get("preset"), "seed": config["seed"]}


def _names(summary: Mapping[str, Any]) -> list[str]:
    """What the sounds of a match are called, which runs of earlier versions do not say."""
    names = summary.get("sounds", [])
    if not isinstance(names, list):
        raise ValueError("sounds")
    return [str(name) for name in names]


def _digest(sources: Path) -> str:
    """Digest the recordings themselves, whatever they are called and wherever they are."""
    found = _optional(sources, read_json, {})
    text = "".join(sorted(map(str, found.values())))
    return hashlib.sha256(text.encode()).hexdigest()[:16] if found else ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _optional(file: Path, read: Any, default: Any) -> Any:
    return read(file) if file.is_file() else default
