"""The driver's end of the workers: start them, ask them, survive their death."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import closing
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from .environment import available_memory

ROOT = Path(__file__).resolve().parents[1]
MEMORY_TO_SPARE = 3 * 2**29  # 1.5 GB stay free for the system and the other workers


class NotMeasuredError(Exception):
    """Something could not be measured; the text says why, for the tables."""


class Worker:
    """One worker process, see :mod:`benchmarks.worker`.

    Args:
        python: Interpreter of its environment.
        threads: Of torch, OpenMP and MKL.
        library: A folder whose libraries come before those of the interpreter.
    """

    def __init__(self, python: Path | str, threads: int, library: Path | str | None = None) -> None:
        free = available_memory()
        limit = max(free - MEMORY_TO_SPARE, 0) if free else 0
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [
                    str(python),
                    "-m",
                    "benchmarks.worker",
                    str(theirs.fileno()),
                    str(limit),
                    *([str(library)] if library else []),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                cwd=ROOT,
                env=os.environ
                | {
                    "PYTHONPATH": os.pathsep.join(paths),
                    "PYTHONUNBUFFERED": "1",
                    "OMP_NUM_THREADS": str(threads),
                    "MKL_NUM_THREADS": str(threads),
                },
            )

    def ask(self, function: str, timeout: float | None = None, **arguments: Any) -> Any:
        """What a function of this package, ``module:name``, returns there.

        Raises:
            NotMeasuredError: If the worker reports an error, ends, or takes longer than timeout
                (seconds), in which case it is stopped.
        """
        try:
            self._pipe.send((function, arguments))
            if not self._pipe.poll(timeout):
                self._process.kill()
                raise NotMeasuredError(f"stopped after {timeout:.0f} s without an answer")
            found, error = self._pipe.recv()
        except (EOFError, OSError):
            raise NotMeasuredError(self._last_words()) from None
        if error:
            raise NotMeasuredError(error)
        return found

    def _last_words(self) -> str:
        status = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        cause = "out of memory?" if status == -9 else (lines[-1] if lines else "no message")
        return f"its process ended with status {status} ({cause})"

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process without waiting for what it is doing."""
        self._process.kill()

    def close(self) -> None:
        """End the process; it leaves when its requests end, or is made to."""
        self._pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


class Workers:
    """The worker of each side, started when first asked and again after it died.

    Args:
        peers: Interpreter of the peers, or a text that says why there is none.
        threads: Of each worker.
        older: A checkout of an older state of this project, if one takes part.
    """

    def __init__(self, peers: Path | str, threads: int, older: Path | None = None) -> None:
        ours = Path(sys.executable)
        self._pythons: dict[str, Path | str] = {
            "ours": ours,
            "peers": peers,
            "older": ours if older else "no older state was named",
        }
        self._threads, self._older = threads, older
        self._running: dict[str, Worker] = {}

    def ask(self, side: str, function: str, fresh: bool = False, **arguments: Any) -> Any:
        """Ask the worker of a side, or a fresh one for this only.

        Sides are ``"ours"``, ``"peers"`` and ``"older"``.

        Raises:
            NotMeasuredError: If that side has no interpreter, or as :meth:`Worker.ask`.
        """
        python = self._pythons[side]
        if isinstance(python, str):
            raise NotMeasuredError(python)
        if fresh:
            with closing(self._start(side)) as alone:
                return alone.ask(function, **arguments)
        if side in self._running and not self._running[side].alive:
            self._running.pop(side).close()
        if side not in self._running:
            self._running[side] = self._start(side)
        return self._running[side].ask(function, **arguments)

    def _start(self, side: str) -> Worker:
        library = self._older if side == "older" else None
        return Worker(self._pythons[side], self._threads, library)

    def rest(self) -> None:
        """End all workers; the next request starts new ones, with memory and caches empty."""
        while self._running:
            self._running.popitem()[1].close()

    def __enter__(self) -> Workers:
        """Use in a ``with`` statement."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End all workers; one that is busy after an interruption is not waited for."""
        if kind is not None:
            for worker in self._running.values():
                worker.kill()
        self.rest()
