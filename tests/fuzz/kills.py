"""Runs killed at any moment: they end, resumed, as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp

from tests import ROOT
from tests.applications.runs.cases import content

PROGRAM = """
import sys
from pathlib import Path
from multipath.applications.runs.folders import RunFolder
from tests.applications.runs.cases import RUNS

folder = Path(sys.argv[1])
unfinished = folder.exists() and RunFolder(folder).unfinished
print("begun", flush=True)
RUNS["resynthesis"](folder, resume=unfinished)
"""
TABLES = ("metrics.csv", "draws.csv", "resynthesis.wav")


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Begin or go on; yields once torch is imported. It never outlives this."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(folder: Path) -> None:
    """Go on to the end."""
    with running(folder) as process:
        _, errors = process.communicate()
        assert process.returncode == 0, errors


@cache
def whole() -> tuple[dict[str, bytes], float]:
    """What a run leaves that nobody kills, and how long it takes."""
    folder, begun = Path(mkdtemp(prefix="fuzz-whole-")) / "run", time.monotonic()
    finish(folder)
    return content(folder), time.monotonic() - begun


def killed_run(random: Random, folder: Path) -> str:
    """Kill a run one to three times, then let it end."""
    expected, seconds = whole()
    run = folder / "run"
    for _ in range(random.randint(1, 3)):
        with running(run) as process:
            time.sleep(random.uniform(0, 1.1 * seconds))
            process.send_signal(random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
            process.communicate()
        if (run / "summary.json").exists():
            break
    else:
        finish(run)
    found = content(run)
    for name in TABLES:
        assert found[name] == expected[name], f"{name} differs from that of a run left alone"
    ended, wanted = (json.loads(files["summary.json"]) for files in (found, expected))
    assert ended["distance"] == wanted["distance"]
    return "right"
