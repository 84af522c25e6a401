"""Memory and seconds of a loss by stage, in a process that does nothing else.

Stages are import, construction and steps. The kernel's peak is reset before each stage where it
can be (Linux), so that what construction needed for a moment does not hide what a step needs.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .cases import Spec
from .environment import proc
from .subjects import SUBJECTS
from .timing import step_of

try:
    import resource
except ImportError:  # Windows
    resource = None

Stages = dict[str, dict[str, float]]

CLEAR_REFERENCES = Path("/proc/self/clear_refs")


def run_stages(spec: Spec, steps: int) -> Stages:
    """Seconds, peak and remaining bytes of ``import``, ``construct``, ``step 1``, ``step 2`` ..."""
    subject = SUBJECTS[spec["subject"]]
    stages: Stages = {}

    _staged(stages, "import", lambda: (subject.load(), touch_torch()))
    loss = _staged(stages, "construct", lambda: subject.construct(**spec["settings"]))
    step = step_of(loss, spec)
    for number in range(1, steps + 1):
        _staged(stages, f"step {number}", step)
    return stages


def _staged(stages: Stages, name: str, action: Callable[[], Any]) -> Any:
    reset_peak()
    start = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - start
    peak = peak_bytes()
    give_back()
    stages[name] = {"seconds": seconds, "peak_bytes": peak, "rest_bytes": resident_bytes()}
    return result


def touch_torch() -> None:
    """Load what torch loads on first use (FFT and BLAS kernels, autograd), not any loss's doing."""
    import torch

    x = torch.zeros(64, 64, requires_grad=True)
    spectrum = torch.view_as_real(torch.fft.rfft(x @ x))
    back = torch.fft.irfft(torch.view_as_complex(spectrum))
    (back.square().sum() + spectrum.square().sum().sqrt()).backward()


def give_back() -> None:
    """Return freed memory to the system, so that what remains is what is held."""
    gc.collect()
    with suppress(AttributeError, TypeError):  # where the C library is glibc
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak() -> None:
    """Forget the peak so far, where the system can."""
    if CLEAR_REFERENCES.exists():
        CLEAR_REFERENCES.write_text("5")


def peak_bytes() -> int:
    """Most memory resident at once since the last reset."""
    if peak := _status("VmHWM"):
        return peak
    if resource is None:
        raise OSError("this system does not say how much memory a process holds")
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident_bytes() -> int:
    """Memory resident now; the peak where the system does not say."""
    return _status("VmRSS") or peak_bytes()


def _status(field: str) -> int | None:
    value = proc("self/status", field)
    return 1024 * int(value.split()[0]) if value else None


def above_filters(stages: Stages) -> float:
    """Bytes that the steps needed on top of what import and construction left behind."""
    peaks = [stage["peak_bytes"] for name, stage in stages.items() if name.startswith("step")]
    return max(peaks) - stages["construct"]["rest_bytes"]


def process_peak(stages: Stages) -> float:
    """Most bytes that the process ever held."""
    return max(stage["peak_bytes"] for stage in stages.values())


def construction(stages: Stages) -> float:
    """Seconds to construct."""
    return stages["construct"]["seconds"]


def constructed_bytes(stages: Stages) -> float:
    """Bytes that construction needed on top of what import left behind."""
    return stages["construct"]["peak_bytes"] - stages["import"]["rest_bytes"]
