"""Matrix products by the fastest library available."""

from __future__ import annotations

import math
import platform
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from multipath._internal.tracing import is_traced

# oneDNN compiles a kernel for every shape and keeps it, which takes a millisecond and half a
# megabyte: that is worth it for shapes that are large and recur.
LONGEST_SIDE, MULTIPLICATIONS = 2**10, 2**22


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of two matrices.

    torch leaves products in single precision to MKL. On an AMD EPYC, oneDNN, which also comes with
    torch, was measured to be twice as fast; on an Intel Xeon it took 1.05 to 2.3 times as long. For
    dense tensors torch offers it only by the operation that compiled models call, which has no
    gradient: products that may need one go the usual way.
    """
    if not _pays(left, right) or is_traced(left) or is_traced(right):
        return left @ right
    if torch.is_grad_enabled() and (left.requires_grad or right.requires_grad):
        return left @ right
    weight = right.mT  # oneDNN is slow on parts of rows: only whole matrices, of either layout
    if not (right.is_contiguous() or weight.is_contiguous()):
        weight = right.contiguous().mT
    return _onednn(left, weight)


def add_product(into: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left @ right`` to a matrix, without gradient."""
    if _pays(left, right):
        into.add_(product(left, right))
    else:
        into.addmm_(left, right)


def _pays(left: Tensor, right: Tensor) -> bool:
    sides = (*left.shape, right.shape[1])
    large = max(sides) >= LONGEST_SIDE and math.prod(sides) >= MULTIPLICATIONS
    single = left.dtype == torch.float32 and left.is_cpu
    return large and single and not _mkl_is_at_home() and _has_onednn()


@cache
def _mkl_is_at_home() -> bool:
    """Whether torch comes with MKL and the processor is Intel's, which MKL is written for."""
    try:
        processor = Path("/proc/cpuinfo").read_text()
    except OSError:  # elsewhere than on Linux
        processor = platform.processor()
    return torch.backends.mkl.is_available() and "GenuineIntel" in processor


def _has_onednn() -> bool:
    """Whether torch comes with oneDNN and the user has not switched it off."""
    return bool(torch.backends.mkldnn.enabled) and _onednn_works()


@cache
def _onednn_works() -> bool:
    """Whether the operation exists and gives a product, since torch does not promise to keep it."""
    if not torch.backends.mkldnn.is_available():
        return False
    left = torch.arange(6, dtype=torch.float32, device="cpu").reshape(2, 3)
    try:
        return torch.equal(_onednn(left, left + 1), left @ (left + 1).mT)
    except (AttributeError, RuntimeError, TypeError):
        return False


def _onednn(left: Tensor, weight: Tensor) -> Tensor:
    """Compute ``left @ weight.mT``."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(left, weight, None, "none", [], "")
    return result
