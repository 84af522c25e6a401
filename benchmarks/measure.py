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
    contenders: dict[str, Record] = {c.name: {} for c in case.contenders}
    for repeat in range(case.repeats):
        for contender in _rotated(case.contenders, repeat):
            record = contenders[contender.name]
            if "skipped" in record or not contender.takes_part(repeat):
                continue
            announce(contender.name)
            try:
                _check_memory(contender)
                _ask(case, contender, repeat, workers, record)
            except NotMeasuredError as error:
                record["skipped"] = str(error)
                record["failed"] = not error.unavailable
    return {"group": case.group, "what": case.what, **case.facts, "contenders": contenders}


def _rotated(contenders: tuple[Contender, ...], repeat: int) -> tuple[Contender, ...]:
    """Another one begins each time: nobody always follows the same neighbour."""
    first = repeat % len(contenders)
    return contenders[first:] + contenders[:first]


def _check_memory(contender: Contender) -> None:
    free = available_memory()
    if free is not None and free < contender.needs_bytes:
        raise NotMeasuredError(
            f"needs {contender.needs_bytes / 1e9:.0f} GB of memory, {free / 1e9:.0f} GB are free",
            unavailable=True,
        )


def _ask(case: Case, contender: Contender, repeat: int, workers: Workers, record: Record) -> None:
    if case.kind in ("count", "throughput"):
        record.update(workers.ask(contender.side, {"do": case.kind, **contender.request}))
    elif case.kind == "stages" or contender.fresh:
        request = {"do": "stages", "spec": contender.spec, "steps": case.steps}
        stages = workers.ask(contender.side, request, contender.timeout, fresh=True)["stages"]
        record.setdefault("stages", []).append(stages)
        if case.kind == "steps":
            record.setdefault("seconds", []).append(stages["step 1"]["seconds"])
    else:
        spec, new = contender.draw(repeat)
        request = {"do": "step", "spec": spec, "warm_up": new, "limit": contender.limit}
        _add_step(record, workers.ask(contender.side, request, contender.timeout))


def _add_step(record: Record, reply: dict[str, Any]) -> None:
    record.setdefault("seconds", []).append(reply["seconds"])
    record["paths"] = reply["paths"]
    if reply["construct_seconds"] is not None:
        record.setdefault("construct_seconds", reply["construct_seconds"])
    if reply.get("too_slow"):
        record["skipped"] = "a step took longer than the limit: measured once"
        record["failed"] = False
