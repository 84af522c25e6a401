"""What timings depend on: the machine and the versions."""

from __future__ import annotations

import os
import platform
import re
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
        "load": os.getloadavg()[0],
        "system": platform.platform(),
    }


def describe_interpreter(packages: list[str]) -> dict[str, Any]:
    """Versions inside a worker's interpreter, and the threads torch uses there."""
    import torch

    if "multipath" in packages:  # by import: from a checkout it need not be installed
        from multipath import __version__
    mkl = re.search(r"Math Kernel Library Version ([\d.]+)", torch.__config__.show())
    found: dict[str, Any] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    found["torch"] = torch.__version__
    if "multipath" in packages:
        found["multipath"] = __version__
    found["mkl"] = mkl.group(1) if mkl else None
    found["threads"] = torch.get_num_threads()
    return found


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
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def available_memory() -> int | None:
    """Bytes that can be taken now without swapping; None where the system does not say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
