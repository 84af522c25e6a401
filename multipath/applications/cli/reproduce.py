"""The command ``multipath reproduce``; what is slow to import waits until it is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

from multipath._internal.names import visible
from multipath.errors import ConfigurationError


def reproduce(
    table: Literal["table1", "table2", "table3", "table4", "table5", "figure1", "pnp", "demo"],
    /,
    *,
    scale: Literal["quick", "paper"] = "quick",
    seeds: int | None = None,
    out: Path | None = None,
    cluster: Literal["local", "slurm"] = "local",
    jobs: int | None = None,
    only: list[str] | None = None,
    steps: int | None = None,
    data: str | None = None,
    cluster_option: list[str] | None = None,
) -> int:
    """Make a table or figure of the paper again, run by run; the same command goes on.

    Args:
        table: What to make.
        scale: quick (for a CPU) or paper (for a GPU).
        seeds: Runs of each method. Default: 3, or as published.
        out: Folder. Default: reproduction/SCALE; tables share runs.
        cluster: Where jobs run: processes of this machine, or a cluster through submitit.
        jobs: How many run at once. Default: one for each GPU or else core; 1000 on a cluster.
        only: A method; may be repeated.
        steps: Training steps, instead of the table's own.
        data: Folder of drum recordings, for table4.
        cluster_option: NAME=VALUE of submitit, such as slurm_partition=gpu; may be repeated.
    """
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
