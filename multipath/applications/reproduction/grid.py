"""Which runs make which table: a row of a table is a loss on a task, run once for each seed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks.base import ScatteringSettings
from multipath.applications.synths.chirplet import CHIRPLETS
from multipath.errors import ConfigurationError

__all__ = ["BASELINE", "DRUM_COLUMNS", "TABLES", "Column", "Row", "Table"]


@dataclass(frozen=True)
class Column:
    """One number of a row.

    Args:
        name: What it is called in the files and in the paper's numbers.
        title: Its heading, with the unit.
        factor: What the number is multiplied by.
    """

    name: str
    title: str
    factor: float = 1.0


@dataclass(frozen=True)
class Row:
    """A loss on a task.

    Args:
        method: What ``--only`` selects.
        loss: Its name in ``LOSSES``.
        task: Name of a task.
        changes: Settings that replace the preset's.
        quick: Settings that do so at the scale ``quick`` alone.
        paper: Settings that do so at the scale ``paper`` alone.
        importance: Whether paths are drawn from probabilities that theta-importance finds first.
        label: Which of several tasks of a table it is.
        after: Method whose runs it starts from, each from that of its own seed.
        runs: What its runs are called, if other tables have the method on the task with other
            settings. Default: after the task.
    """

    method: str
    loss: str
    task: str = "granular"
    changes: Mapping[str, Any] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=dict)
    paper: Mapping[str, Any] = field(default_factory=dict)
    importance: bool = False
    label: str = ""
    after: str = ""
    runs: str = ""

    @property
    def name(self) -> str:
        """Unique in its table."""
        return f"{self.method} {self.label}".strip()

    @property
    def case(self) -> str:
        """What its runs are called, fit for a file name."""
        if self.runs:
            return self.runs
        label = "" if self.label == self.task else self.label
        return f"{self.task}-{label}".rstrip("-")

    def config(self, scale: str, seed: int, data: str | None = None) -> MatchConfig:
        """The run of a seed, drawing uniformly.

        Raises:
            ConfigurationError: If the task or one of the settings does not exist.
        """
        changes = {**self.changes, **(self.quick if scale == "quick" else self.paper)}
        if data is not None:
            changes["data"] = data
        return preset(scale, self.task, loss=self.loss, seed=seed, **changes)


@dataclass(frozen=True)
class Table:
    """Rows and columns, and which runs fill them.

    Args:
        name: What it is called on the command line.
        title: Its heading.
        rows: In their order.
        columns: In their order.
        kind: ``"match"``: runs of sound matching; ``"cost"``: measurements of time and memory.
        seeds: How many the paper took.
        figure: ``"curves"`` over training, or ``"cost"``: error against time per step.
        scales: Those that its settings are made for.
    """

    name: str
    title: str
    rows: Sequence[Row]
    columns: Sequence[Column]
    kind: str = "match"
    seeds: int = 20
    figure: str = "curves"
    scales: Sequence[str] = ("quick", "paper")

    def choose(self, methods: Sequence[str] = ()) -> list[Row]:
        """The rows of some methods; all if none is named. Networks without weights are left out.

        Raises:
            ConfigurationError: If the table has no such method, or its weights are missing.
        """
        known = dict.fromkeys(row.method for row in self.rows)
        for method in methods:
            if method not in known:
                raise ConfigurationError(
                    f"{self.name} has no method {method!r}; choose from {', '.join(known)}"
                )
            if method in WEIGHTS and not os.environ.get(WEIGHTS[method]):
                raise ConfigurationError(
                    f"{method} needs weights: name their file in the environment variable "
                    f"{WEIGHTS[method]}"
                )
        chosen = methods or [m for m in known if m not in WEIGHTS or os.environ.get(WEIGHTS[m])]
        return [row for row in self.rows if row.method in chosen]

    def row(self, method: str, label: str) -> Row:
        """The row of a method on the task of a label."""
        return next(row for row in self.rows if (row.method, row.label) == (method, label))


BASELINE = "mss-log"
"""What costs are divided by."""

WEIGHTS = {"clap": "MULTIPATH_CLAP", "panns": "MULTIPATH_PANNS"}
"""Where the weights of published networks are found; without them, they are left out."""

PATHWISE: Mapping[str, Any] = {"learning_rate": 3e-4, "steps": 4000}
"""One path per step is noisier than the whole loss: at the rate of 1e-3 little is learnt."""

WHOLE: Mapping[str, Any] = {"steps": 1200}
"""All paths in each step are expensive: these runs take half of the time of their tables."""

PUBLISHED_SYNTH: Mapping[str, Any] = {"synth": "published"}
"""At the scale of the paper its textures are compared with its numbers."""

METHODS: dict[str, Row] = {
    row.method: replace(row, paper=PUBLISHED_SYNTH)
    for row in (
        Row("jtfs", "jtfs", quick=WHOLE),
        Row("scrapl-adam", "scrapl-adam", quick=PATHWISE),
        Row("scrapl-padam", "scrapl-padam", quick=PATHWISE),
        Row("scrapl", "scrapl", quick=PATHWISE),
        Row("scrapl-theta", "scrapl", quick=PATHWISE, importance=True),
        Row("kpaths", "kpaths"),
        Row("mss-linear", "mss-linear"),
        Row("mss-log", "mss-log"),
        Row("mss-revisited", "mss-revisited"),
        Row("mss-random", "mss-random"),
        Row("clap", "embedding:multipath.applications.networks.clap:load"),
        Row("panns", "embedding:multipath.applications.networks.panns:load"),
        Row("ploss", "ploss"),
    )
}
"""The methods of the paper and those of this project, on granular textures."""


def _rows(*methods: str, **changes: Any) -> list[Row]:
    return [_on(METHODS[method], **changes) for method in methods]


def _on(row: Row, task: str = "granular", label: str = "", **changes: Any) -> Row:
    # learning rates of a method were chosen on granular textures
    own = task == "granular"
    quick, paper = (row.quick, row.paper) if own else ({}, {})
    return replace(row, task=task, changes=changes, quick=quick, paper=paper, label=label)


_ERRORS = (
    Column("theta", "theta (per mille)"),
    Column("density", "density"),
    Column("slope", "slope"),
)
_CHIRPLET_ERRORS = _ERRORS[0], Column("AM", "AM"), Column("FM", "FM")
_SPEED = (
    Column("steps", "steps to < 100"),
    Column("variation", "total variation"),
    Column("time", "ms per step", 1000.0),
)
DRUM_COLUMNS = (
    Column("mss", "MSS distance x 1000", 1000.0),
    Column("jtfs", "JTFS distance x 1000", 1000.0),
    *(
        Column(f"{part}_{feature}", f"{part} {feature}{unit}", factor)
        for part in ("transient", "decay")
        for feature, unit, factor in (
            ("loudness", " x 100", 100.0),
            ("centroid", " x 10", 10.0),
            ("flatness", "", 1.0),
        )
    ),
)
"""In the units of the paper's tables 4, 8 and 9."""

_BEST = [method for method in METHODS if method not in ("scrapl-adam", "scrapl-padam")]
_COSTS = [method for method in _BEST if method != "scrapl-theta"]  # one path costs what it costs
_COMPARED = ["jtfs", "scrapl", "kpaths", "mss-linear", "mss-log", "mss-revisited", "mss-random"]

_PNP: Mapping[str, Any] = {
    "n_targets": 400,
    "validate_every": 60,
    "test_sounds": 32,
    "scattering": ScatteringSettings(
        J=9, Q=(8, 1), J_fr=2, Q_fr=1, T=1024, F=8, sampling="reduced", eps=1e-3
    ),
}
"""At the scale ``quick``: few targets and paths, since metrics of all targets come first."""

_PNP_SHORT = {"kpaths": 120, "mss-log": 240}
"""Steps that take the time of 600 with P-loss."""


def _pnp_rows() -> Iterator[Row]:
    sounds = {"test_sounds": 32}
    for task in ("chirplet", "amchirp", "drum"):
        for method in ("ploss", "pnp", "mss-log", "kpaths"):
            yield Row(method, method, task, sounds, _PNP, label=task, runs=f"pnp-{task}")
        for method, steps in _PNP_SHORT.items():
            short = {**_PNP, "steps": steps}
            name = f"{method}-short"
            yield Row(name, method, task, sounds, short, label=task, runs=f"pnp-{task}")
        more = {**_PNP, "steps": _PNP_SHORT["kpaths"], "learning_rate": 3e-4}
        yield Row(
            "pnp-kpaths", "kpaths", task, sounds, more, label=task, after="pnp", runs=f"pnp-{task}"
        )


def _pareto_rows() -> Iterator[Row]:
    for method in ("ploss", "mss-linear", "mss-log", "mss-revisited", "mss-random"):
        yield Row(method, method, "chirplet")
    for count in (1, 2, 4, 8, 16):
        yield Row(f"kpaths-{count}", "kpaths", "chirplet", {"n_draws": count})
    reduced = ScatteringSettings(J=10, Q=(8, 2), J_fr=3, Q_fr=2, T=1024, F=8, sampling="reduced")
    yield Row("kpaths-8-reduced", "kpaths", "chirplet", quick={"scattering": reduced})
    for method in ("scrapl", "jtfs"):
        yield Row(method, method, "chirplet")


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "table1",
            "Losses, granular textures",
            _rows(*_BEST),
            [*_ERRORS, *_SPEED],
        ),
        Table(
            "table2",
            "Ablation, granular textures",
            # the slowest first: what is begun last would keep one process waiting for another
            _rows("jtfs", "scrapl-adam", "scrapl-padam", "scrapl", "scrapl-theta", "kpaths"),
            [*_ERRORS, *_SPEED],
        ),
        Table(
            "table3",
            "Uniform draws and theta-importance, chirplets",
            [
                row
                for synth in CHIRPLETS
                for row in _rows(
                    "scrapl", "scrapl-theta", task="chirplet", label=synth, synth=synth
                )
            ],
            [*_CHIRPLET_ERRORS, *_SPEED],
        ),
        Table(
            "table4",
            "Losses, TR-808 drums",
            [
                row
                for alignment in ("micro", "meso")
                for row in _rows(
                    *_COMPARED[:2],
                    "scrapl-theta",
                    *_COMPARED[2:],
                    task="tr808",
                    label=alignment,
                    alignment=alignment,
                )
            ],
            [*DRUM_COLUMNS, _SPEED[-1]],
            seeds=40,
        ),
        Table(
            "table5",
            "One forward and backward, 32768 samples, batch 4",
            _rows(*_COSTS),
            [
                Column("time", "time (ms)", 1000.0),
                Column("memory", "memory (MB)"),
                Column("time_ratio", f"time / {BASELINE}"),
                Column("memory_ratio", f"memory / {BASELINE}"),
            ],
            kind="cost",
            seeds=3,
        ),
        Table(
            "figure1",
            "Error against cost, granular textures",
            _rows(*_BEST),
            [_ERRORS[0], _SPEED[-1]],
            figure="cost",
        ),
        Table(
            "batches",
            "Ablation by size of the batch, granular textures",
            [
                replace(row, quick={**row.quick, "batch_size": size}, label=label)
                for size, label in ((4, ""), (16, "batch-16"))  # the first are those of table2
                for row in _rows("scrapl-adam", "scrapl")
            ],
            [*_ERRORS, *_SPEED],
            seeds=3,
            scales=("quick",),
        ),
        Table(
            "pareto",
            "Error against cost, chirplets",
            list(_pareto_rows()),
            [*_CHIRPLET_ERRORS, _SPEED[-1]],
            seeds=3,
            figure="cost",
            scales=("quick",),
        ),
        Table(
            "pnp",
            "Distances between parameters and between sounds",
            list(_pnp_rows()),
            [
                _ERRORS[0],
                Column("distance", "scattering distance (%)", 100.0),
                _SPEED[-1],
            ],
            seeds=5,
            scales=("quick",),
        ),
        Table(
            "demo",
            "Four losses, chirplets",
            _rows("kpaths", "scrapl", "mss-log", "ploss", task="chirplet"),
            [*_CHIRPLET_ERRORS, Column("untrained", "untrained"), _SPEED[-1]],
        ),
    )
}
"""What can be reproduced, by name."""
