"""A process that calls functions of this package on request and sends back what they return.

Started as ``python -m benchmarks.worker PIPE BYTES [FOLDER]`` with the interpreter of one
environment, once for the project, once for its peers and once for an older state of the project,
whose FOLDER comes before the libraries of the interpreter. A library is imported by the first
function that needs it.
"""

from __future__ import annotations

import sys
import traceback
from multiprocessing.connection import Connection
from pkgutil import resolve_name

try:
    import resource
except ImportError:  # Windows
    resource = None


def limit_memory(limit: int) -> None:
    """Make an allocation too many fail here instead of bringing the machine down."""
    if limit and hasattr(resource, "RLIMIT_DATA"):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def explain(error: Exception) -> str:
    """An error in one line; for a refused allocation, what that means."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return "does not fit in the memory of this machine"
    return f"{type(error).__name__}: {text}"


def main() -> None:
    """Answer until the requests end."""
    pipe = Connection(int(sys.argv[1]))
    limit_memory(int(sys.argv[2]))
    sys.path[:0] = sys.argv[3:]
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            reply = resolve_name(f"benchmarks.{function}")(**arguments), None
        except Exception as error:
            traceback.print_exc()  # to the log, which the driver keeps
            reply = None, explain(error)
        pipe.send(reply)


if __name__ == "__main__":
    main()
