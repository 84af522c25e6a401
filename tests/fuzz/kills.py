"""Runs killed at any moment: they end, resumed, as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
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


def start(folder: Path) -> subprocess.Popen[str]:
    """Begin or go on; returns once torch is imported."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@cache
def whole() -> tuple[dict[str, bytes], float]:
    """What a run leaves that nobody kills, and how long it takes."""
    folder = Path(mkdtemp(prefix="fuzz-whole-")) / "run"
    process, begun = start(folder), time.monotonic()
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return content(folder), time.monotonic() - begun


def killed_run(random: Random, folder: Path) -> str:
    """Kill a run one to three times, then let it end."""
    expected, seconds = whole()
    run = folder / "run"
    for _ in range(random.randint(1, 3)):
        process = start(run)
        time.sleep(random.uniform(0, 1.1 * seconds))
        process.send_signal(random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        process.communicate()
        if (run / "summary.json").exists():
            break
    else:
        _, errors = (process := start(run)).communicate()
        assert process.returncode == 0, errors
    found = content(run)
    for name in TABLES:
        assert found[name] == expected[name], f"{name} differs from that of a run left alone"
    ended, wanted = (json.loads(files["summary.json"]) for files in (found, expected))
    assert ended["distance"] == wanted["distance"]
    return "right"
