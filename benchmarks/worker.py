"""A process that measures on request: one JSON line in, one JSON line out.

Started as ``python -m benchmarks.worker`` with the interpreter of one environment, once for the
project and once for its peers; it imports a library when the first request needs it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from typing import Any

from .stages import run_stages
from .subjects import UnavailableError
from .timing import Stepper


def limit_memory(limit: int) -> None:
    """Make an allocation too many fail here instead of bringing the machine down."""
    if limit and hasattr(resource, "RLIMIT_DATA"):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def answer(request: dict[str, Any], stepper: Stepper) -> dict[str, Any]:
    """What a request asks for, by its field ``do``."""
    match request["do"]:
        case "describe":
            from .environment import describe_interpreter

            return describe_interpreter(request["packages"])
        case "step":
            return stepper.step(request["spec"], request["warm_up"], request["limit"])
        case "stages":
            return {"stages": run_stages(request["spec"], request["steps"])}
        case "throughput":
            from .floor import throughput

            return throughput(request["spec"]["small"])
        case "count":
            from .floor import implied_floor

            return implied_floor(stepper, request["spec"])
    raise ValueError(f"unknown request {request['do']!r}")


def explain(error: BaseException) -> str:
    """An error in one line; for a refused allocation, what that means."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return "does not fit in the memory of this machine"
    return text if isinstance(error, UnavailableError) else f"{type(error).__name__}: {text}"


def main() -> None:
    """Answer until the requests end."""
    # Libraries print: keep their words away from the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    limit_memory(int(os.environ.get("BENCHMARK_MEMORY_LIMIT", "0")))
    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    stepper = Stepper()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if threads and request["do"] != "stages":
                import torch

                torch.set_num_threads(threads)
            reply = answer(request, stepper)
        except Exception as error:
            traceback.print_exc()  # to stderr, which the driver keeps
            reply = {
                "error": explain(error),
                "unavailable": isinstance(error, UnavailableError),
            }
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
