"""What has to be done for a table: jobs, each with a folder or a file that says it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from multipath._internal.state import check_names, refused
from multipath.applications.matching.config import MatchConfig
from multipath.applications.runs.files import read_csv, read_json
from multipath.applications.runs.folders import RunFolder, changed_files, check_place
from multipath.applications.runs.settings import differences
from multipath.errors import ConfigurationError

from .grid import Row, Table

__all__ = ["Job", "Plan", "make_plan"]

REMEDY = "remove its folder, and the same command makes it again"
ON = "task", "encoder", "preset", "seed"  # what importance depends on


KINDS = "match", "importance", "cost"
JOB = {"name": str, "kind": str, "target": str | Path, "config": Mapping, "needs": str | None}


@dataclass(frozen=True)
class Job:
    """One thing to do, in a process of its own; doing it again continues it.

    Args:
        name: Unique, fit for a file name.
        kind: ``"match"``, ``"importance"`` or ``"cost"``.
        target: What is written: the folder of a run or measurement, the file of probabilities.
        config: The run, as plain values.
        needs: Name of the job whose result it reads.
    """

    name: str
    kind: str
    target: Path
    config: Mapping[str, Any]
    needs: str | None = None

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self.summary.is_file()

    @property
    def summary(self) -> Path:
        """Written last."""
        return self.target if self.kind == "importance" else RunFolder(self.target).summary

    @property
    def settings(self) -> Path:
        """Where the settings that led to the result are written down."""
        if self.kind == "importance":
            return self.target.with_suffix(".json")
        return RunFolder(self.target).config

    @property
    def size(self) -> int:
        """Training steps; one for what is no training."""
        return int(self.config["training"]["steps"]) if self.kind == "match" else 1

    @property
    def progress(self) -> int:
        """How much of :attr:`size` is done."""
        if self.done:
            return self.size
        metrics = RunFolder(self.target).metrics
        if self.kind != "match" or not metrics.is_file():
            return 0
        rows = read_csv(metrics)
        return int(float(rows[-1]["step"])) if rows else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """The inverse of :meth:`to_dict`.

        Raises:
            InputError: If a value is not of its type.
            ConfigurationError: If values are missing or unknown.
        """
        check_names("a job", values, [field.name for field in fields(cls)])
        for name, kinds in JOB.items():
            if not isinstance(values[name], kinds):
                raise refused(f"{name} of a job", "of another type", values[name])
        if values["kind"] not in KINDS:
            raise refused("the kind of a job", f"one of {', '.join(KINDS)}", values["kind"])
        return cls(**{**values, "target": Path(values["target"])})


@dataclass(frozen=True)
class Plan:
    """A table and the jobs that fill it.

    Args:
        table: The table.
        scale: ``"quick"`` or ``"paper"``.
        folder: Where everything goes. Tables of one scale share it, and the runs in it.
        rows: Those chosen, each with the jobs of its seeds.
        needed: Jobs that come first, because others need what they find and no row has them.
    """

    table: Table
    scale: str
    folder: Path
    rows: Sequence[tuple[Row, Sequence[Job]]]
    needed: Sequence[Job]

    @property
    def jobs(self) -> list[Job]:
        """All: those needed first, then seed by seed, so that every row fills at the same pace."""
        by_seed = zip(*(jobs for _, jobs in self.rows), strict=True)
        return [*self.needed, *(job for jobs in by_seed for job in jobs)]


def make_plan(
    table: Table,
    scale: str,
    folder: Path,
    seeds: int,
    *,
    only: Sequence[str] = (),
    data: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan a table, and refuse a folder with runs of other settings or on other recordings.

    Args:
        table: The table.
        scale: ``"quick"`` or ``"paper"``.
        folder: Where everything goes.
        seeds: How many runs each row has: seeds 0, 1, ...
        only: Methods; all if empty.
        data: Folder of recordings, for drums.
        changes: Settings that replace the table's own in every run, such as ``steps``.

    Raises:
        ConfigurationError: If there are no seeds, no such methods, or no such scale, or the folder
            holds runs with other settings or on other recordings, or cannot be written to.
        InputError: If there are no recordings to compare with those of a run that is there.
    """
    check_place(folder)
    if seeds < 1:
        raise ConfigurationError(f"at least one seed is needed, got {seeds}")
    if scale not in table.scales:
        raise ConfigurationError(
            f"{table.name} has settings of the scale {' and '.join(table.scales)} alone, got "
            f"{scale}; leave out --scale"
        )
    preset = "paper" if table.kind == "cost" else scale  # costs are those of the paper's signals
    needed: dict[str, Job] = {}

    def job_of(row: Row, seed: int) -> Job:
        """The run of a row and a seed; what it needs is noted."""
        config, needs = row.config(preset, seed, data).changed(**(changes or {})), None
        if row.importance and table.kind == "match":
            needs = f"importance-{row.case}"
            file = folder / "importance" / f"{needs}.pt"
            needed.setdefault(needs, Job(needs, "importance", file, config.to_dict()))
            config = config.changed(probabilities=str(file))
        if row.after:
            before = job_of(table.row(row.after, row.label), seed)
            needs = needed.setdefault(before.name, before).name
            config = config.changed(start=str(before.target))
        name = f"{table.kind}-{row.case}-{row.method}-{seed}"
        place = folder / ("costs" if table.kind == "cost" else "runs") / name
        return Job(name, table.kind, place, config.to_dict(), needs)

    rows = [(row, [job_of(row, seed) for seed in range(seeds)]) for row in table.choose(only)]
    names = {job.name for _, jobs in rows for job in jobs}
    first = [job for job in needed.values() if job.name not in names]
    plan = Plan(table, scale, folder, rows, first)
    _check(plan.jobs)
    return plan


def _check(jobs: Sequence[Job]) -> None:
    """Refuse results that other settings or recordings have led to."""
    recordings: dict[str | None, Mapping[str, str]] = {}  # digests, read once for each folder
    found = {job.target: changed for job in jobs if (changed := _changed(job, recordings))}
    if found:
        first, changed = next(iter(found.items()))
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        what = "; ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
        raise ConfigurationError(
            f"{first}{more} was made with other settings or recordings: {what}; choose another "
            f"folder (--out), or remove {'them' if more else 'it'}"
        )


def _changed(job: Job, recordings: dict[str | None, Mapping[str, str]]) -> list[str]:
    """What differs from what was written down with the result, in words."""
    if not job.settings.is_file():
        return []
    before, now = read_json(job.settings, REMEDY), job.to_dict()["config"]
    sources = _sources(job, before)
    if job.kind == "importance":  # it depends on nothing else
        before, now = ({name: each.get(name) for name in ON} for each in (before, now))
    for values in (before, now):  # files may be reached by other paths
        _forget(values, "objective", "probabilities")
        _forget(values, "training", "start")
    folder = now["task"].get("data")
    if not sources or folder is None:
        return list(differences(before, now))
    for values in (before, now):  # recordings are known by what they are
        _forget(values, "task", "data")
    if folder not in recordings:
        recordings[folder] = MatchConfig.from_dict(job.config).task.fingerprint()
    return [*differences(before, now), *changed_files(sources, recordings[folder])]


def _sources(job: Job, before: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Digests of the recordings that led to the result, None if none were written down."""
    if job.kind == "importance":
        return before.get("sources")
    file = job.target / "sources.json"
    return read_json(file, REMEDY) if file.is_file() else None


def _forget(values: dict[str, Any], group: str, setting: str) -> None:
    if isinstance(values.get(group), Mapping):
        values[group] = {name: v for name, v in values[group].items() if name != setting}
