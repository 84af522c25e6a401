"""Does one job; ``python -m multipath.applications.reproduction.work JOB.json`` in a process.

The process leads a group of its own, and lives as long as its standard input is open: the other end
is held by whoever has started it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from multipath._internal.names import visible
from multipath.applications.matching.config import MatchConfig
from multipath.applications.runs.files import read_json, write_json
from multipath.errors import MultipathError

from .cost import measure_cost
from .plan import Job

__all__ = ["do", "main"]


def do(values: Mapping[str, Any]) -> None:
    """Do a job, or go on with it; nothing happens if it is done.

    Args:
        values: Those of :meth:`Job.to_dict <multipath.applications.reproduction.plan.Job.to_dict>`:
            plain, so that any scheduler can carry them.
    """
    job = Job.from_dict(values)
    if not job.done:
        WORK[job.kind](job, MatchConfig.from_dict(job.config))


def _match(job: Job, config: MatchConfig) -> None:
    from multipath.applications.matching.train import run

    resume = job.settings.is_file()
    if resume:  # the same settings, but perhaps other ways to the files that it begins with
        begun = MatchConfig.from_dict(read_json(job.settings))
        config = replace(config, objective=begun.objective, training=begun.training)
    run(config, job.target, resume=resume)


def _importance(job: Job, config: MatchConfig) -> None:
    job.target.parent.mkdir(parents=True, exist_ok=True)
    from multipath.applications.matching.importance import measure

    result = measure(config, journal=job.target.with_suffix(".journal"))
    write_json(job.settings, {**config.to_dict(), "sources": config.task.fingerprint()})
    result.save(job.target)


def _cost(job: Job, config: MatchConfig) -> None:
    found = measure_cost(config)
    job.target.mkdir(parents=True, exist_ok=True)
    write_json(job.settings, config.to_dict())
    write_json(job.summary, found)


WORK = {"match": _match, "importance": _importance, "cost": _cost}


def main(arguments: list[str]) -> int:
    """Do the job in a file; an error that a user can understand ends in one line."""
    Thread(target=_end_with_standard_input, daemon=True).start()
    torch.set_num_threads(1)
    # what is started in the background of a shell would ignore an interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        do(read_json(Path(arguments[0])))
    except KeyboardInterrupt:
        return 130
    except (MultipathError, OSError) as error:
        print(visible(" ".join(str(error).split())), file=sys.stderr)
        return 2
    return 0


def _end_with_standard_input() -> None:
    """End, with all that was started here, once the process that started this one is no more.

    However that process ends, even by SIGKILL, the system closes its files. Nothing has to be left
    in order, because the files of a run are whole at any time.
    """
    while os.read(0, 1024):  # not sys.stdin, whose lock would trouble the end of the interpreter
        pass
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)  # Windows has no groups of processes


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
