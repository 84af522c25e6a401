"""The command ``multipath reproduce``; what is slow to import waits until it is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from multipath.errors import ConfigurationError

NAMES = "table1, table2, table3, table4, table5 or figure1"


def reproduce(
    table: Annotated[str, typer.Argument(help=NAMES, metavar="TABLE")],
    scale: Annotated[str, typer.Option(help="quick (a CPU) or paper (a GPU).")] = "quick",
    seeds: Annotated[
        int | None, typer.Option(help="Runs of each method. Default: 3, or as published.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder. Default: reproduction/SCALE; tables share runs.")
    ] = None,
    cluster: Annotated[
        str, typer.Option(help="local: processes here; slurm: through submitit.")
    ] = "local",
    jobs: Annotated[
        int | None,
        typer.Option(help="How many at once. Default: one a GPU, else a core; on a cluster 1000."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A method; may be repeated.", metavar="METHOD")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of the table's own.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder of drum recordings, for table4.", metavar="DIR")
    ] = None,
    cluster_option: Annotated[
        list[str] | None,
        typer.Option(help="Of submitit, e.g. slurm_partition=gpu.", metavar="NAME=VALUE"),
    ] = None,
) -> None:
    """Make a table or figure of the paper again, run by run; the same command goes on."""
    from multipath.applications.reproduction.grid import find_table
    from multipath.applications.reproduction.plan import make_plan
    from multipath.applications.reproduction.queue import LocalProcesses, Slurm, visible_gpus

    chosen = find_table(table, scale)
    if data is not None and table != "table4":
        raise ConfigurationError("--data is for table4 alone; leave it out")
    if cluster not in ("local", "slurm"):
        raise ConfigurationError(f"unknown cluster {cluster!r}; choose local or slurm")
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

    try:
        failures = show_jobs(plan, where, jobs or at_once)
    except KeyboardInterrupt:
        print("multipath: interrupted; the same command goes on", file=sys.stderr)
        raise typer.Exit(130) from None
    if failures:
        print(
            f"multipath: {len(failures)} of {len(plan.jobs)} jobs failed; the same command tries "
            "them again",
            file=sys.stderr,
        )
        raise typer.Exit(1)


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
