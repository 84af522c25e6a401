"""What timings depend on: the machine and the versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

OUR_PACKAGES = ("multipath", "torch", "numpy", "scipy")
PEER_PACKAGES = ("scrapl-loss", "auraloss", "torch", "numpy", "scipy")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, system, and how busy it was in the minute before."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_available_bytes": available_memory(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
    }


def describe_interpreter(packages: list[str]) -> dict[str, Any]:
    """Versions inside a worker's interpreter, and the threads torch uses there."""
    import torch

    mkl = re.search(r"Math Kernel Library Version ([\d.]+)", torch.__config__.show())
    found: dict[str, Any] = {"python": platform.python_version()}
    for package in packages:
        try:
            # by import: from a checkout it need not be installed
            ours = import_module(package) if package == "multipath" else None
            found[package] = ours.__version__ if ours else version(package)
        except PackageNotFoundError:
            found[package] = None
    found["torch"] = torch.__version__  # with its build, such as +cpu
    found["mkl"] = mkl.group(1) if mkl else None
    found["threads"] = torch.get_num_threads()
    return found


def describe_checkout(folder: Path) -> str:
    """The commit of a checkout of this project, or its folder where that is unknown.

    Raises:
        ValueError: If there is no such project in the folder.
    """
    if not (folder / "multipath" / "__init__.py").is_file():
        raise ValueError(
            f"{folder} is no checkout of this project: it has no multipath/__init__.py"
        )
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return folder.name
    return found.stdout.strip() or folder.name


def here() -> dict[str, Any]:
    """The machine and our interpreter, as a report keeps them."""
    return {"machine": describe_machine(), "ours": describe_interpreter([*OUR_PACKAGES])}


def in_words(environment: dict[str, Any]) -> str:
    """What :func:`here` found, in half a sentence."""
    machine, torch = environment["machine"], environment["ours"]["torch"]
    return (
        f"{machine['processor']}, load {machine['load']:.1f} before, torch {torch}, "
        f"{machine['system']}"
    )


def processor() -> str:
    """Model of the processor as the system names it."""
    return proc("cpuinfo", "model name") or platform.processor() or platform.machine()


def available_memory() -> int | None:
    """Bytes that can be taken now without swapping; None where the system does not say."""
    available = proc("meminfo", "MemAvailable")
    if available:
        return 1024 * int(available.split()[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def proc(file: str, field: str) -> str | None:
    """The first value of a field in a file of ``/proc``, None where the system has none."""
    path = Path("/proc", file)
    lines = path.read_text().splitlines() if path.is_file() else []
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == field), None)
