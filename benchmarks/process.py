"""The driver's end of the workers: start them, ask them, survive their death."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from .environment import available_memory

ROOT = Path(__file__).resolve().parents[1]
MEMORY_TO_SPARE = 3 * 2**29  # 1.5 GB stay free for the system and the other worker


class NotMeasuredError(Exception):
    """A request that brought no measurement; the text says why, for the tables."""

    def __init__(self, reason: str, unavailable: bool = False) -> None:
        super().__init__(reason)
        self.unavailable = unavailable


class Worker:
    """One worker process.

    Args:
        python: Interpreter of its environment.
        threads: Of torch, OpenMP and MKL.
    """

    def __init__(self, python: Path | str, threads: int) -> None:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env=os.environ | self._environment(threads),
        )
        self._received = b""

    @staticmethod
    def _environment(threads: int) -> dict[str, str]:
        free = available_memory()
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "BENCHMARK_MEMORY_LIMIT": str(max(free - MEMORY_TO_SPARE, 0) if free else 0),
        }

    def ask(self, request: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            NotMeasuredError: If the worker reports an error, ends, or takes longer than timeout
                (seconds), in which case it is stopped.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise NotMeasuredError(self._last_words()) from None
        reply = json.loads(self._read_line(timeout))
        if "error" in reply:
            raise NotMeasuredError(reply["error"], reply["unavailable"])
        return dict(reply)

    def _read_line(self, timeout: float | None) -> bytes:
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        end = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._received:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([stream], [], [], left)[0]:
                self._process.kill()
                raise NotMeasuredError(f"stopped after {timeout:.0f} s without an answer")
            chunk = os.read(stream, 2**16)
            if not chunk:
                raise NotMeasuredError(self._last_words())
            self._received += chunk
        line, self._received = self._received.split(b"\n", 1)
        return line

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

    def close(self) -> None:
        """End the process; it leaves when its requests end, or is made to."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
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
    """

    def __init__(self, peers: Path | str, threads: int) -> None:
        self._pythons: dict[str, Path | str] = {"ours": Path(sys.executable), "peers": peers}
        self._threads = threads
        self._running: dict[str, Worker] = {}

    def ask(
        self,
        side: str,
        request: dict[str, Any],
        timeout: float | None = None,
        fresh: bool = False,
    ) -> dict[str, Any]:
        """Ask the worker of a side (``"ours"`` or ``"peers"``), or a fresh one for this only.

        Raises:
            NotMeasuredError: If that side has no interpreter, or as :meth:`Worker.ask`.
        """
        python = self._pythons[side]
        if isinstance(python, str):
            raise NotMeasuredError(python, unavailable=True)
        if fresh:
            alone = Worker(python, self._threads)
            try:
                return alone.ask(request, timeout)
            finally:
                alone.close()
        if side in self._running and not self._running[side].alive:
            self._running.pop(side).close()
        if side not in self._running:
            self._running[side] = Worker(python, self._threads)
        return self._running[side].ask(request, timeout)

    def rest(self) -> None:
        """End all workers; the next request starts new ones, with memory and caches empty."""
        while self._running:
            self._running.popitem()[1].close()

    def __enter__(self) -> Workers:
        """Use in a ``with`` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all workers; one that is busy after an interruption is not waited for."""
        if error is not None:
            for worker in self._running.values():
                worker._process.kill()
        self.rest()
