"""Command lines made at random: each ends with success or with one line."""

from __future__ import annotations

import io
import os
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile

from multipath.applications.cli.main import main
from tests.applications.tiny import use_tiny_presets

WORDS = [
    *(
        "0",
        "-1",
        "1",
        "2",
        "3",
        "16",
        "1e38",
        "nan",
        "inf",
        "1.5",
        "9" * 30,
        "true",
        "jtfs",
        "none",
    ),
    *("chirplet", "tr808", "granular", "uniform", "scattering1d", "$x$", "[red]", "\u202edrow", ""),
    *(
        "a.wav",
        "b.wav",
        "silent.wav",
        "text.wav",
        "missing.wav",
        ".",
        "/",
        "runs",
        "two words",
        "ä",
    ),
]
OPTIONS = [
    *("--out", "--steps", "--lr", "--seed", "--J", "--Q", "--T", "--F", "--draws", "--transform"),
    *("--duration", "--offset", "--sample-rate", "--loss", "--preset", "--batch-size", "--resume"),
    *(
        "--overwrite",
        "--plot",
        "--json",
        "--nonsense",
        "--help",
        "--start",
        "--floor",
        "--interval",
    ),
]
STARTS = [
    *(["list"], ["paths"], ["check"], ["report"], ["distance", "a.wav", "b.wav"], ["nonsense"]),
    *(["distance", "a.wav", "silent.wav", "--transform", "scattering1d"], ["report", "runs/a"]),
    ["resynthesize", "a.wav", "--steps", "2", "--transform", "scattering1d", "--J", "4"],
    ["match", "chirplet", "--steps", "2"],
    ["importance", "chirplet"],
    ["paths", "chirplet"],
]
EXIT_CODES = {0, 1, 2, 130}


def command_line(random: Random, folder: Path) -> str:
    """A command that nearly makes sense."""
    words = list(random.choice(STARTS))
    if words[0] in ("match", "importance"):
        words += ["--preset", "quick"]
        words += ["--lr", "-1"] if random.random() < 0.9 else []  # most are to end at once
    for _ in range(random.choice([0, 1, 1, 2, 3])):
        words.append(random.choice(OPTIONS))
        if random.random() < 0.9:
            words.append(random.choice(WORDS))
    if random.random() < 0.1:
        words[random.randrange(len(words))] = random.choice(WORDS)
    sounds(folder)
    return run_command(words, folder)


def run_command(words: list[str], folder: Path) -> str:
    """Give a command in a folder; its ending must be one that a user can make sense of."""
    output, errors = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    code = None
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        use_tiny_presets(patch)
        with redirect_stdout(output), redirect_stderr(errors):
            try:
                main(words)
            except SystemExit as ended:
                code = ended.code or 0
    said = [line for line in errors.getvalue().splitlines() if line.startswith("multipath: ")]
    assert code in EXIT_CODES, f"{words}: exit code {code}"
    assert "Traceback" not in errors.getvalue(), f"{words}: {errors.getvalue()}"
    assert code in (0, 1) or len(said) == 1, f"{words}: {errors.getvalue()}"
    return "refused" if code else "right"


def sounds(folder: Path) -> None:
    """Some recordings, one of them none."""
    time = np.arange(2048) / 8192
    soundfile.write(folder / "a.wav", np.sin(2000 * time), 8192)
    soundfile.write(folder / "b.wav", 0.5 * np.sin(3000 * time), 8192)
    soundfile.write(folder / "silent.wav", np.zeros(2048), 8192)
    (folder / "text.wav").write_text("no sound")
    os.makedirs(folder / "runs" / "a")
