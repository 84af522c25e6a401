"""Run folders in which something was changed: a report or a resumption says so in one line."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import pytest

from tests.applications.runs.cases import RUNS, content

from .commands import run_command


@cache
def finished(name: str) -> Path:
    """A run of each program, made once."""
    folder = Path(mkdtemp(prefix="fuzz-finished-")) / name
    with pytest.MonkeyPatch.context() as patch:
        for module in ("matching.train.write_report", "resynthesis.run._write_report"):
            patch.setattr(f"multipath.applications.{module}", lambda *_: None)
        RUNS[name](folder)
    return folder


def tampered_folder(random: Random, folder: Path) -> str:
    """A file of a run cut off, changed, replaced or gone; nothing else may change."""
    name = random.choice(list(RUNS))
    run = Path(shutil.copytree(finished(name), folder / "run"))
    files = sorted(file for file in run.rglob("*") if file.is_file())
    for file in random.sample(files, random.choice([1, 1, 1, 2])):
        tamper(random, file)
    before = content(run)
    ended = run_command(["report", "run", "--out", "page.html"], folder)
    assert content(run) == before, "a report changed the run"
    return ended


def tamper(random: Random, file: Path) -> None:
    whole = file.read_bytes()
    match random.randrange(7):
        case 0:
            file.write_bytes(whole[: random.randint(0, len(whole))])
        case 1:
            changed = bytearray(whole)
            for _ in range(random.choice([1, 1, 10])):
                if changed:
                    changed[random.randrange(len(changed))] = random.randrange(256)
            file.write_bytes(changed)
        case 2:
            file.unlink()
        case 3:
            file.unlink()
            file.mkdir()
        case 4:
            file.unlink()
            os.symlink("nowhere", file)
        case 5:
            file.write_text(random.choice(["", "null", "[]", "{}", '{"a": NaN}', "a,b\n1", "\x00"]))
        case 6:
            text = whole.decode("latin-1")
            word = random.choice(['"', "0", "1", ".", ",", ":"])
            file.write_text(text.replace(word, random.choice(["", "-", "e", "null"])), "latin-1")
