"""Does one job; ``python -m multipath.applications.reproduction.work JOB.json`` in a process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ...errors import MultipathError
from ...importance import ThetaImportance, theta_importance
from ..configuration import MatchConfig
from ..data import seeded
from ..files import read_json, write_json
from ..objectives import scattering_loss
from .cost import measure_cost
from .plan import Job

__all__ = ["do", "main"]

QUICK_EXAMPLES = 16


def do(values: Mapping[str, Any]) -> None:
    """Do a job, or go on with it; nothing happens if it is done.

    Args:
        values: Of :meth:`Job.to_dict <multipath.applications.reproduction.plan.Job.to_dict>`:
            plain, so that any scheduler can carry them.
    """
    job = Job.from_dict(values)
    if not job.done:
        WORK[job.kind](job, MatchConfig.from_dict(job.config))


def _match(job: Job, config: MatchConfig) -> None:
    from ..run import run

    file = job.target / "config.json"
    resume = file.is_file()
    if resume:  # the same settings, but perhaps another way to the file of probabilities
        config = MatchConfig.from_dict(read_json(file))
    run(config, job.target, resume=resume)


def _importance(job: Job, config: MatchConfig) -> None:
    job.target.parent.mkdir(parents=True, exist_ok=True)
    measure = _stand_in
    if find_spec("multipath.applications.importance_run"):
        measure = import_module("multipath.applications.importance_run").measure
    measure(config, journal=job.target.with_suffix(".journal")).save(job.target)


def _cost(job: Job, config: MatchConfig) -> None:
    found = measure_cost(config)
    job.target.mkdir(parents=True, exist_ok=True)
    write_json(job.target / "config.json", config.to_dict())
    write_json(job.summary, found)


def _stand_in(config: MatchConfig, journal: Path) -> ThetaImportance:
    """Until ``multipath importance`` is there: a few training targets, the untrained encoder."""
    from ..matching import SoundMatching

    with torch.random.fork_rng():
        torch.manual_seed(seeded(config.seed, "weights").initial_seed())
        plain = config.changed(loss="jtfs", batch_size=min(QUICK_EXAMPLES, 4))
        model = SoundMatching(plain).eval()
    batches = []
    for index in range(QUICK_EXAMPLES // 4):
        targets, chance = model.batches.training_batch(index)
        sounds = model.sounds(targets)
        with torch.no_grad():
            batches.append((model.picture(sounds), sounds, chance))
    return theta_importance(
        scattering_loss(config),
        model.encoder,
        model.synth,
        batches,
        journal=journal,
    )


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
