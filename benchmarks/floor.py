"""The floor: what the machine can do, and what a step asks of it.

A step is run once under a recorder that sees every operation torch dispatches. Each distinct
Fourier transform and matrix product is then timed on its own, in the shape in which it occurred;
their sum is what the step would take if everything else were free.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .cases import Spec
from .timing import construct, step_of

Operation = tuple[Any, ...]

FOURIER = {"_fft_r2c": "real", "_fft_c2r": "inverse real", "_fft_c2c": "complex"}
PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}  # where the first factor stands
LENGTHS = (65536, 8192, 1024)
REPEATS = 5


class Recorder(TorchDispatchMode):
    """Counts Fourier transforms and matrix products by shape, and bytes of everything else."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: Counter[Operation] = Counter()
        self.other_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the operation, then note it."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in FOURIER:
            self._note_fourier(name, args, result)
        elif name == "_linear_pointwise":  # oneDNN, with a transposed second factor
            self.operations["product", 1, *args[0].shape, len(args[1])] += 1
        elif name in PRODUCTS:
            first = PRODUCTS[name]
            left, right = args[first], args[first + 1]
            batch = left.shape[0] if left.ndim == 3 else 1
            shape = (batch, left.shape[-2], left.shape[-1], right.shape[-1])
            self.operations["product", *shape] += 1
        elif not func.is_view and not name.startswith("empty"):
            leaves = tree_leaves((args, kwargs, result))
            tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
            self.other_bytes += sum(x.numel() * x.element_size() for x in tensors)
        return result

    def _note_fourier(self, name: str, args: tuple[Any, ...], result: torch.Tensor) -> None:
        shape = (result if name == "_fft_c2r" else args[0]).shape
        length = math.prod(shape[dim] for dim in args[1])
        self.operations[FOURIER[name], math.prod(shape) // length, length] += 1


def count(spec: Spec) -> dict[str, Any]:
    """Counts of one step, the seconds of its parts alone, and those of the whole step."""
    step = step_of(construct(spec)[0], spec)
    step()
    measured = median(step() for _ in range(3))
    with Recorder() as recorder:
        step()
    fourier = [item for item in recorder.operations.items() if item[0][0] != "product"]
    products = [item for item in recorder.operations.items() if item[0][0] == "product"]
    return {
        "seconds": [measured],
        "fourier_points": sum(times * math.prod(op[1:]) for op, times in fourier),
        "fourier_seconds": sum(times * seconds_of(op) for op, times in fourier),
        "product_flops": sum(2 * times * math.prod(op[1:]) for op, times in products),
        "product_seconds": sum(times * seconds_of(op) for op, times in products),
        "other_bytes": recorder.other_bytes,
    }


def seconds_of(operation: Operation) -> float:
    """Median seconds of one operation on its own."""
    kind, *shape = operation
    if kind == "product":
        from multipath.transforms._scattering.products import product

        batch, m, k, n = shape
        left, right = torch.randn(batch, m, k), torch.randn(batch, k, n)
        return _time(lambda: left @ right if batch > 1 else product(left[0], right[0]))
    rows, length = shape
    if kind == "real":
        values = torch.randn(rows, length)
        return _time(lambda: torch.fft.rfft(values))
    if kind == "inverse real":
        spectrum = torch.fft.rfft(torch.randn(rows, length))
        return _time(lambda: torch.fft.irfft(spectrum, n=length))
    spectrum = torch.randn(rows, length, dtype=torch.complex64)
    return _time(lambda: torch.fft.fft(spectrum))


def throughput(spec: Spec) -> dict[str, Any]:
    """Rates of the machine in points, flops and bytes a second, in float32."""
    small = spec["small"]
    points = 2**18 if small else 2**22
    rates: dict[str, float] = {}
    for length in LENGTHS:
        for kind in ("real", "inverse real"):
            seconds = seconds_of((kind, points // length, length))
            rates[f"{kind} FFT of {length}: points"] = points / seconds
    size = 256 if small else 1024
    rates["matrix product: flops"] = 2 * size**3 / seconds_of(("product", 1, size, size, size))
    source = torch.randn(2**25)  # larger than any cache
    sink = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()  # read and written
    rates["copy: bytes"] = moved / _time(lambda: sink.copy_(source))
    return {"rates": rates, "threads": torch.get_num_threads()}


def _time(action: Callable[[], Any]) -> float:
    action()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return median(seconds)
