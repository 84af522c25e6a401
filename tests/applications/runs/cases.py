"""A run of each program, small enough to be killed and repeated."""

from __future__ import annotations

from pathlib import Path

import torch

from multipath.applications.matching.train import run
from multipath.applications.resynthesis.run import run_resynthesis
from multipath.applications.resynthesis.settings import ResynthesisSettings
from tests.applications.tiny import TINY

MATCH = TINY.changed(loss="scrapl", steps=8)


TONE = torch.sin(0.3 * torch.arange(2048.0)) * torch.linspace(1, 0.1, 2048)


SEARCH = ResynthesisSettings.for_recording(
    2048, 8192, "scattering1d", J=5, steps=6, interval=2, draws=4
)


def do_match(folder, **options):
    return run(MATCH, folder, **options)["theta_error"]


def do_resynthesis(folder, **options):
    return run_resynthesis(TONE, SEARCH, folder, **options)["distance"]


RUNS = {"match": do_match, "resynthesis": do_resynthesis}


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
