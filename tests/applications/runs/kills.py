"""Goes on with what a run leaves if it is killed before any change of a file, and compares.

``python -m tests.applications.runs.kills PROGRAM FOLDER FIRST`` prints a line for each difference,
and in the end how often it went on. FIRST may be negative: only the last so many events.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import traceback
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import torch

from multipath.applications.cli.main import main
from multipath.applications.matching.train import run
from tests.applications.tiny import TINY, use_tiny_presets

from .cases import RUNS, content

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "open"}
TIMES = "seconds_per_step", "training_seconds"
UNLIKE = re.compile(r"[\d.]+ ms|[\d.]+ s (of training|in all)")
"""What pages tell of times."""


def do_importance(folder: Path, resume: bool = False) -> None:
    """The same command goes on."""
    options = ["--examples", "3", "--batch", "1", "--method", "gradient"]
    try:
        main(["importance", "chirplet", *options, "--out", str(folder / "pi.pt")])
    except SystemExit as ended:
        if ended.code:
            raise


def do_pnp(folder: Path, **options: bool) -> None:
    """Metrics come first, and the damping is saved with the checkpoint."""
    run(PNP, folder, **options)


PNP = TINY.changed(loss="pnp", n_targets=7, steps=2, validate_every=2)
EVERY = {"pnp": 3}
"""Only each third event: what comes after the metrics is as in any other match."""
PROGRAMS = {**RUNS, "importance": do_importance, "pnp": do_pnp}


def changes_a_file(event: str, arguments: tuple, folder: Path) -> bool:
    """Whether an audit event is about to change a file of the run; logs are written by a thread."""
    if event not in CHANGES or not str(arguments[0]).startswith(str(folder)):
        return False
    reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
    return not reads and "tensorboard" not in str(arguments[0])


def attempt(program: str, folder: Path, resume: bool, copies: Path | None = None) -> int:
    """Exit status of a process of its own.

    Args:
        program: What runs.
        folder: Where.
        resume: Whether it goes on with what is there.
        copies: Where to copy the folder before each change of a file: what would be left if the
            process were killed at that moment.
    """
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    count, copying = 0, False

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count, copying
        if copies and not copying and changes_a_file(event, arguments, folder):
            copying = True
            if folder.exists():
                shutil.copytree(folder, copies / str(count), symlinks=True)
            count, copying = count + 1, False

    sys.addaudithook(hook)
    status = 0
    try:
        PROGRAMS[program](folder, **({"resume": True} if resume else {}))
    except BaseException:
        traceback.print_exc()
        status = 1
    os._exit(status)


def result(folder: Path) -> dict[str, bytes]:
    """The files of a run, without what differs between equal runs: logs, and times."""
    found = {}
    for name, text in content(folder).items():
        if name == "summary.json":
            summary = json.loads(text)
            text = str({key: value for key, value in summary.items() if key not in TIMES}).encode()
        elif name.endswith(".html"):
            text = UNLIKE.sub("", text.decode()).encode()
        # a process that is killed may leave a draft beside a result that is no run folder
        if not name.startswith("tensorboard") and not name.startswith(".pi."):
            found[name] = text
    return found


def resume_everywhere(program: str, root: Path, first: int) -> int:
    copies = root / "copies"
    copies.mkdir(parents=True)
    with redirect_stdout(StringIO()):  # what is imported now need not be in every process
        PROGRAMS[program](root / "first")
    assert attempt(program, root / "whole", resume=False, copies=copies) == 0
    expected = result(root / "whole")
    count = 1 + max(int(copy.name) for copy in copies.iterdir())
    numbers = range(count)[first :: EVERY.get(program, 1)]
    for number in numbers:
        folder = copies / str(number)
        status = attempt(program, folder, resume=(folder / "config.json").exists())
        found = result(folder)
        unlike = [n for n in {**expected, **found} if expected.get(n) != found.get(n)]
        if status or unlike:
            print(f"event {number}: status {status}, other files {unlike}", flush=True)
    return len(numbers)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_presets(patch)
        if int(sys.argv[3]) >= 0:  # plots take longer than these runs
            patch.setattr("multipath.applications.matching.train.write_report", lambda *_: None)
            patch.setattr("multipath.applications.resynthesis.run._write_report", lambda *_: None)
        print("resumed", resume_everywhere(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
