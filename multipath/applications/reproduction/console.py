"""What the terminal shows while jobs run, and the files that grow with them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from multipath._internal.names import visible
from multipath._internal.progress import redirected
from multipath.applications.runs.files import read_json

from .figures import write_figures
from .plan import Job, Plan
from .queue import LocalProcesses, Slurm, run_jobs
from .results import write_results

__all__ = ["show_jobs"]


def show_jobs(plan: Plan, cluster: LocalProcesses | Slurm, at_once: int) -> dict[str, str]:
    """Run the jobs of a plan; rewrite its table with each that ends, its figures in the end.

    Args:
        plan: What to run.
        cluster: Where.
        at_once: How many at a time.

    Returns:
        Why jobs failed, by name.
    """
    jobs = plan.jobs
    total = sum(job.size for job in jobs)
    finished = sum(job.done for job in jobs)
    if finished:
        print(f"{finished} of {len(jobs)} jobs are finished already")
    file = write_results(plan)
    console = Console(stderr=True)
    bar: Any = redirected(console) or Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        speed_estimate_period=600.0,
    )
    task = bar.add_task(_count(jobs), total=total, completed=_progress(jobs))

    def ended(job: Job, reason: str) -> None:
        print(visible(f"{job.name}: {reason or _headline(job)}"), flush=True)
        write_results(plan)

    def waiting() -> None:
        bar.update(task, description=_count(jobs), completed=_progress(jobs))

    def blocked(job: Job) -> None:
        print(visible(f"{job.name}: waiting for another process that is writing to {job.target}"))

    try:
        with bar, _stopped_as_by_hand():
            failures = run_jobs(
                jobs, cluster, at_once=at_once, ended=ended, waiting=waiting, blocked=blocked
            )
    finally:
        write_results(plan)
        figures = write_figures(plan)
    print(file.read_text(encoding="utf-8"))
    for each in (file, *figures):
        print(visible(f"written: {each}"))
    return failures


@contextmanager
def _stopped_as_by_hand() -> Iterator[None]:
    """A scheduler that ends this process stops its jobs too, like the terminal's interrupt."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _count(jobs: list[Job]) -> str:
    return f"{sum(job.done for job in jobs)} of {len(jobs)} jobs"


def _progress(jobs: list[Job]) -> int:
    return sum(job.progress for job in jobs)


def _headline(job: Job) -> str:
    if job.kind == "importance":
        return "probabilities found"
    summary = read_json(job.summary)
    if job.kind == "cost":
        memory = summary["memory"]
        held = "" if memory is None else f", {memory:.4g} MB"
        return f"{1000 * summary['time']:.4g} ms{held}"
    error = summary[summary["errors"]][summary["headline"]]
    return f"{summary['headline']} {error:.4g}, {summary['training_seconds']:.0f} s of training"
