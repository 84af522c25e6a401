"""The command ``multipath reproduce``; what is slow to import waits until it is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal, cast

from multipath._internal.names import visible
from multipath.errors import ConfigurationError


def reproduce(
    table: Literal[
        "table1",
        "table2",
        "table3",
        "table4",
        "table5",
        "figure1",
        "batches",
        "pareto",
        "pnp",
        "demo",
        "distances",
    ],
    /,
    *,
    scale: Literal["quick", "paper"] | None = None,
    seeds: int | None = None,
    out: Path | None = None,
    cluster: Literal["local", "slurm"] = "local",
    jobs: int | None = None,
    only: list[str] | None = None,
    steps: int | None = None,
    data: str | None = None,
    reconstructions: Path | None = None,
    cluster_option: list[str] | None = None,
) -> int:
    """Make a table or figure of the paper again, run by run; the same command goes on.

    Args:
        table: What to make; distances is table4 from recordings that are there already.
        scale: quick (for a CPU) or paper (for a GPU). Default: quick; paper for distances.
        seeds: Runs of each method. Default: 3, or as published.
        out: Folder. Default: reproduction/SCALE; tables share runs.
        cluster: Where jobs run: processes of this machine, or a cluster through submitit.
        jobs: How many run at once. Default: one for each GPU or else core; 1000 on a cluster.
        only: A method; may be repeated.
        steps: Training steps, instead of the table's own.
        data: Folder of drum recordings, for table4.
        reconstructions: Folder of targets and reconstructions, for distances.
        cluster_option: NAME=VALUE of submitit, such as slurm_partition=gpu; may be repeated.
    """
    if table == "distances":
        given = {
            "--seeds": seeds,
            "--jobs": jobs,
            "--steps": steps,
            "--data": data,
            "--cluster-option": cluster_option,
            "--cluster": None if cluster == "local" else cluster,
        }
        return _distances(reconstructions, out, scale or "paper", only or [], given)
    if reconstructions is not None:
        raise ConfigurationError("--reconstructions is for distances alone; leave it out")
    scale = scale or "quick"
    from multipath.applications.reproduction.grid import TABLES
    from multipath.applications.reproduction.plan import make_plan
    from multipath.applications.reproduction.queue import LocalProcesses, Slurm, visible_gpus

    chosen = TABLES[table]
    if data is not None and table != "table4":
        raise ConfigurationError("--data is for table4 alone; leave it out")
    if jobs is not None and jobs < 1:
        raise ConfigurationError(f"--jobs must be at least 1, got {jobs}")
    options = _options(cluster_option or [], cluster)
    plan = make_plan(
        chosen,
        scale,
        out or Path("reproduction") / scale,
        seeds if seeds is not None else (3 if scale == "quick" else chosen.seeds),
        only=only or [],
        data=data,
        changes={} if steps is None else {"steps": steps},
    )
    folder = plan.folder / "jobs"
    if cluster == "slurm":
        where: Any = Slurm(folder, options)
        at_once = 1000
    else:
        gpus = visible_gpus()
        where = LocalProcesses(folder, gpus)
        # costs are measured one by one: they would disturb each other
        at_once = 1 if chosen.kind == "cost" else len(gpus) or os.cpu_count() or 1
    from multipath.applications.reproduction.console import show_jobs
    from multipath.applications.runs.folders import folder_lock

    def wait() -> None:
        words = f"multipath: waiting for another `multipath reproduce` in {plan.folder} to end"
        print(visible(words), file=sys.stderr)

    try:
        with folder_lock(plan.folder, wait):  # together they would run more than so many jobs
            failures = show_jobs(plan, where, jobs or at_once)
    except KeyboardInterrupt:
        print("multipath: interrupted; the same command goes on", file=sys.stderr)
        return 130
    if failures:
        print(
            f"multipath: {len(failures)} of {len(plan.jobs)} jobs failed; the same command tries "
            "them again",
            file=sys.stderr,
        )
        return 1
    return 0


def _distances(
    folder: Path | None, out: Path | None, scale: str, only: list[str], given: dict[str, Any]
) -> int:
    """Compare recordings, with a bar; what was compared before is not compared again."""
    from multipath._internal.units import progress_bars
    from multipath.applications.matching.presets import preset
    from multipath.applications.matching.tasks.tr808 import TR808Task
    from multipath.applications.reproduction.distances import find_pairs, measure, summary
    from multipath.applications.runs.files import write_text

    if folder is None:
        raise ConfigurationError("distances needs --reconstructions DIR")
    for option, value in given.items():
        if value is not None:
            raise ConfigurationError(f"{option} is not for distances; leave it out")
    task = cast(TR808Task, preset(scale, "tr808").task)
    pairs = find_pairs(folder)
    methods = dict.fromkeys(pair.method for pair in pairs)
    unknown = [method for method in only if method not in methods]
    if unknown:
        raise ConfigurationError(
            f"{folder} has no method {unknown[0]!r}; choose from {', '.join(methods)}"
        )
    chosen = [pair for pair in pairs if not only or pair.method in only]
    place = out or Path("reproduction") / scale
    place.mkdir(parents=True, exist_ok=True)
    table = place / "distances.md"
    alignment = folder.name if folder.name in ("micro", "meso") else ""
    rows: list[dict[str, Any]] = []
    try:
        with progress_bars(wanted=True) as bar:
            compared = bar.add_task("comparing", total=len(chosen))
            for row in measure(chosen, place / "distances.csv", task):
                rows.append(row)
                write_text(table, summary(rows, alignment))
                bar.advance(compared)
    except KeyboardInterrupt:
        print("multipath: interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(table.read_text(encoding="utf-8"))
    print(visible(f"written: {table}"))
    return 0


def _options(given: list[str], cluster: str) -> dict[str, str | int]:
    """Settings of submitit: numbers where they look like them."""
    if given and cluster != "slurm":
        raise ConfigurationError("--cluster-option needs --cluster slurm")
    found: dict[str, str | int] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigurationError(f"--cluster-option must be NAME=VALUE, got {text!r}")
        found[name] = int(value) if value.isdigit() else value
    return found
