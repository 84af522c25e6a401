"""Measure one case: its contenders in turn, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cases import Case, Contender
from .environment import available_memory
from .process import NotMeasuredError, Workers

Record = dict[str, Any]


def measure(case: Case, workers: Workers, announce: Callable[[str], object] = str) -> Record:
    """Run a case; what cannot be measured says why under ``skipped``.

    Args:
        case: What to measure.
        workers: Who measures.
        announce: Called with the name of each contender before its turn.

    Returns:
        The case's facts and, by name, ``contenders`` with ``seconds`` (steps) or ``stages``
        (fresh processes), or the answer of a ``count`` or ``throughput`` request.
    """
    found: dict[str, Record] = {contender.name: {} for contender in case.contenders}
    for repeat in range(case.repeats):
        first = repeat % len(case.contenders)  # nobody always follows the same neighbour
        for contender in case.contenders[first:] + case.contenders[:first]:
            record = found[contender.name]
            if "skipped" in record or (contender.needs_bytes and repeat != case.repeats // 2):
                continue
            announce(contender.name)
            try:
                _ask(case, contender, repeat, workers, record)
            except NotMeasuredError as error:
                record |= {"skipped": str(error), "failed": True}
    return {"group": case.group, "what": case.what, **case.facts, "contenders": found}


def _ask(case: Case, contender: Contender, repeat: int, workers: Workers, record: Record) -> None:
    side, needed, free = contender.side, contender.needs_bytes, available_memory()
    if free is not None and free < needed:
        raise NotMeasuredError(
            f"needs {needed / 1e9:.0f} GB of memory, {free / 1e9:.0f} GB are free"
        )
    spec = contender.spec | contender.draws[repeat % len(contender.draws)]
    if case.kind in ("count", "throughput"):
        record |= workers.ask(side, f"floor:{case.kind}", spec=spec)
    elif case.kind == "stages" or needed:
        stages = workers.ask(side, "stages:run_stages", fresh=True, spec=spec, steps=case.steps)
        record.setdefault("stages", []).append(stages)
        if case.kind == "steps":
            record.setdefault("seconds", []).append(stages["step 1"]["seconds"])
    else:
        new, limit = repeat < len(contender.draws), contender.limit
        reply = workers.ask(
            side, "timing:step", timeout=contender.timeout, spec=spec, warm_up=new, limit=limit
        )
        record.setdefault("seconds", []).append(reply["seconds"])
        record["paths"] = reply["paths"]
        if reply["construct_seconds"] is not None:
            record.setdefault("construct_seconds", reply["construct_seconds"])
        if reply.get("too_slow"):
            record["skipped"] = "a step took longer than the limit: measured once"
