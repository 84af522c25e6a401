"""Runs jobs, some at a time: in processes of this machine, or on a cluster through submitit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from multipath.applications.runs.files import write_json
from multipath.applications.runs.folders import is_locked
from multipath.errors import ConfigurationError

from .plan import Job
from .work import do

__all__ = ["Handle", "LocalProcesses", "Slurm", "run_jobs", "visible_gpus"]

GRACE = 20.0  # seconds for an interrupted run to leave its folder in order
# Windows knows no interrupt for a single process: there it ends at once, its files whole.
INTERRUPT = signal.SIGTERM if sys.platform == "win32" else signal.SIGINT


class Handle(Protocol):
    """A job under way; that of submitit is one."""

    def done(self) -> bool:
        """Whether it has ended."""

    def result(self) -> Any:
        """Raises what went wrong."""

    def cancel(self) -> Any:
        """Stop it."""


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name: the GPUs of this machine, or those it names already."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return named.split(",")[:count] if named else [str(index) for index in range(count)]


class LocalProcesses:
    """One process a job, with one thread each; what it says is kept in a log file.

    They end with this process, however it ends.

    Args:
        folder: Where the jobs' descriptions and logs go.
        gpus: Names for CUDA_VISIBLE_DEVICES, shared out evenly: a process sees one of them. If
            there are none, processes see what this one does.
    """

    def __init__(self, folder: Path, gpus: Sequence[str] = ()) -> None:
        self.folder = folder
        self.at_work: dict[str, list[_Process]] = {gpu: [] for gpu in gpus}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, job: Job) -> Handle:
        """Begin a job."""
        file, log = (self.folder / f"{job.name}.{suffix}" for suffix in ("json", "log"))
        write_json(file, job.to_dict())
        settings = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        for busy in self.at_work.values():
            busy[:] = [handle for handle in busy if not handle.done()]
        gpu = min(self.at_work, key=lambda gpu: len(self.at_work[gpu]), default=None)
        if gpu is not None:
            settings["CUDA_VISIBLE_DEVICES"] = gpu
        inlet, lifeline = os.pipe()  # its end here is closed with this process: the job ends too
        with log.open("w") as stream, os.fdopen(inlet) as reading:
            process = subprocess.Popen(
                [sys.executable, "-m", "multipath.applications.reproduction.work", str(file)],
                stdin=reading,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=os.environ | settings,
                start_new_session=True,  # the terminal's interrupt comes through cancel() alone
            )
        handle = _Process(process, log, lifeline)
        if gpu is not None:
            self.at_work[gpu].append(handle)
        return handle


class _Process:
    def __init__(self, process: subprocess.Popen[bytes], log: Path, lifeline: int) -> None:
        self.process = process
        self.log = log
        self.lifeline = lifeline

    def done(self) -> bool:
        return self.process.poll() is not None

    def result(self) -> None:
        self.process.wait()
        os.close(self.lifeline)
        if self.process.returncode:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"it ended with status {self.process.returncode}"
            raise RuntimeError(f"{reason} ({self.log})")

    def cancel(self) -> None:
        if not self.done():
            self.process.send_signal(INTERRUPT)

    def kill(self, deadline: float) -> None:
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)  # what it has started, too
            else:
                self.process.kill()
        os.close(self.lifeline)


class Slurm:
    """Jobs of a SLURM cluster, through submitit.

    Args:
        folder: For submitit's files; all nodes must see it.
        options: Passed to ``submitit.AutoExecutor.update_parameters``, beside one task with one
            GPU.

    Raises:
        ConfigurationError: If submitit is not installed, or finds no cluster.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any] | None = None) -> None:
        try:
            import submitit
        except ModuleNotFoundError:
            raise ConfigurationError(
                "--cluster slurm needs submitit: pip install 'multipath-loss[cluster]'"
            ) from None
        try:
            self.executor = submitit.AutoExecutor(folder=str(folder), cluster="slurm")
            self.executor.update_parameters(
                **{
                    "name": "multipath",
                    "timeout_min": 24 * 60,
                    "cpus_per_task": 2,
                    "gpus_per_node": 1,
                    **(options or {}),
                }
            )
        except (RuntimeError, NameError, ValueError) as error:
            raise ConfigurationError(f"jobs cannot be submitted: {error}") from error

    def start(self, job: Job) -> Handle:
        """Begin a job."""
        handle: Handle = self.executor.submit(do, job.to_dict())
        return handle


def run_jobs(
    jobs: Sequence[Job],
    cluster: LocalProcesses | Slurm,
    *,
    at_once: int,
    ended: Callable[[Job, str], None],
    waiting: Callable[[], None] = lambda: None,
    blocked: Callable[[Job], None] = lambda job: None,
    pause: float = 0.5,
) -> dict[str, str]:
    """Start whatever can be started until all is done; interrupted, stop what runs.

    Args:
        jobs: In the order in which they are begun; those that are done are passed over.
        cluster: Starts them.
        at_once: How many may run.
        ended: Called when one has ended, with the reason if it failed, else with "".
        waiting: Called now and then.
        blocked: Called, once for each job, when it could begin but has to wait for another process
            that is writing to its folder.
        pause: Seconds between two looks at what runs.

    Returns:
        Why jobs failed, by name. What needs a failed one fails as well.
    """
    failures: dict[str, str] = {}
    pending = [job for job in jobs if not job.done]
    blocking = {job.name for job in pending}
    running: dict[str, tuple[Job, Handle]] = {}
    told: set[str] = set()

    def end(job: Job, reason: str) -> None:
        if reason:
            failures[job.name] = reason
        else:
            blocking.discard(job.name)
        ended(job, reason)

    try:
        while pending or running:
            for job in list(pending):
                if job.needs in failures:
                    pending.remove(job)
                    end(job, f"{job.needs} failed")
                elif len(running) >= at_once or job.needs in blocking:
                    continue
                elif is_locked(job.target):
                    if job.name not in told:
                        told.add(job.name)
                        blocked(job)
                else:
                    pending.remove(job)
                    running[job.name] = job, cluster.start(job)
            for name, (job, handle) in list(running.items()):
                if handle.done():
                    del running[name]
                    end(job, _outcome(job, handle))
            waiting()
            if pending or running:
                time.sleep(pause)
    finally:
        _stop([handle for _, handle in running.values()])
    return failures


def _stop(handles: Sequence[Handle]) -> None:
    """All at once; those that are processes get some time to leave their folders in order."""
    for handle in handles:
        handle.cancel()
    deadline = time.monotonic() + GRACE
    for handle in handles:
        if isinstance(handle, _Process):
            handle.kill(deadline)


def _outcome(job: Job, handle: Handle) -> str:
    """Why it failed, in one line; empty if it did not."""
    try:
        handle.result()
    except Exception as error:  # of any kind: it comes from another process
        return " ".join(str(error).split()) or type(error).__name__
    return "" if job.done else "it ended without a result"
