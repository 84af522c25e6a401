"""Does one job; ``python -m multipath.applications.reproduction.work JOB.json`` in a process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

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
    if resume:  # the same settings, but perhaps another way to the file of probabilities
        begun = MatchConfig.from_dict(read_json(job.settings))
        config = replace(config, objective=begun.objective)
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
    torch.set_num_threads(1)
    # what is started in the background of a shell would ignore an interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        do(read_json(Path(arguments[0])))
    except KeyboardInterrupt:
        return 130
    except (MultipathError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
