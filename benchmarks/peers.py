"""The environment of the peers: made at first use, apart from the project's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from .process import NotMeasuredError

FOLDER = Path(__file__).parent / ".peers"
STAMP = ".installed"


def requirements() -> list[str]:
    """What the peers' environment holds: the project's torch, and the libraries to compare with."""
    torch = version("torch").split("+")[0]
    # the kymatio inside scrapl-loss needs functions that scipy 1.15 dropped
    return [f"torch=={torch}", "scrapl-loss==0.1.0", "auraloss==0.4.0", "scipy<1.15"]


def add_options(parser: ArgumentParser) -> None:
    """Where the peers are, or that they are left out."""
    parser.add_argument("--peers-python", type=Path, help="interpreter that has the peers already")
    parser.add_argument("--no-peers", action="store_true", help="measure multipath alone")


def find_python(options: Namespace, say: Callable[[str], object]) -> Path | str:
    """The interpreter that the options ask for, or why there is none, which is also said."""
    try:
        if options.no_peers:
            raise NotMeasuredError("--no-peers")
        if options.peers_python:
            return check_python(options.peers_python)
        return peers_python(FOLDER, say)
    except NotMeasuredError as error:
        reason = f"the peers are not available ({error})"
        say(f"{reason}: measuring multipath alone")
        return reason


def peers_python(folder: Path, say: Callable[[str], object]) -> Path:
    """The interpreter of the peers' environment, which is made if it is missing or outdated.

    Raises:
        NotMeasuredError: If it cannot be made, for example without network.
    """
    python = folder / "bin" / "python"
    stamp = folder / STAMP
    wanted = "\n".join(requirements()) + "\n"
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    say(f"installing the peers into {folder}, once: {', '.join(requirements())}")
    try:
        make_environment(folder)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *requirements()])
        stamp.write_text(wanted)
    except NotMeasuredError as error:
        raise NotMeasuredError(f"is there a network? pip says: {error}") from None
    finally:
        if not stamp.is_file():  # half an environment would look like one
            shutil.rmtree(folder, ignore_errors=True)
    return python


def make_environment(folder: Path) -> None:
    """An empty virtual environment."""
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])


def check_python(python: Path) -> Path:
    """An interpreter that the user names, if it has the peers.

    Raises:
        NotMeasuredError: If it does not start or lacks one of them.
    """
    names = ("torch", "scrapl-loss", "auraloss")
    probe = f"from importlib.metadata import version\nfor n in {names!r}: version(n)"
    _run([str(python), "-c", probe])
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotMeasuredError(f"{command[0]} does not start: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        cause = (errors or lines or ["no message"])[-1].removeprefix("ERROR: ")
        raise NotMeasuredError(cause)
