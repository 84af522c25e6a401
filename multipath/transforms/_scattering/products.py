"""Matrix products by the fastest library at hand."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from multipath.transforms._numerics.tracing import is_traced

# oneDNN compiles a kernel for every shape and keeps it, which takes a millisecond and half a
# megabyte: worth it for shapes that are large and recur.
LONGEST_SIDE, MULTIPLICATIONS = 2**10, 2**22


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of two matrices.

    torch gives products in single precision to MKL; on the processor that this was measured on, an
    AMD EPYC, oneDNN, which comes with torch as well, is twice as fast. torch offers it for dense
    tensors only under the operation that compiled models call, which has no gradient: products
    that one may be asked of go the usual way.
    """
    if not _pays(left, right) or is_traced(left) or is_traced(right):
        return left @ right
    if torch.is_grad_enabled() and (left.requires_grad or right.requires_grad):
        return left @ right
    weight = right.mT  # whole matrices only, of either layout: parts of rows would take it ages
    if not (right.is_contiguous() or weight.is_contiguous()):
        weight = right.contiguous().mT
    return _onednn(left, weight)


def _pays(left: Tensor, right: Tensor) -> bool:
    sides = (*left.shape, right.shape[1])
    large = max(sides) >= LONGEST_SIDE and math.prod(sides) >= MULTIPLICATIONS
    return large and left.dtype == torch.float32 and left.is_cpu and _has_onednn()


def _has_onednn() -> bool:
    """Whether torch comes with oneDNN and its user has not switched it off."""
    return bool(torch.backends.mkldnn.enabled) and _onednn_works()


@cache
def _onednn_works() -> bool:
    """Whether the operation is there and does what it did: no interface that torch promises."""
    if not torch.backends.mkldnn.is_available():
        return False
    left = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    try:
        return torch.equal(_onednn(left, left + 1), left @ (left + 1).mT)
    except (AttributeError, RuntimeError, TypeError):
        return False


def _onednn(left: Tensor, weight: Tensor) -> Tensor:
    """Compute ``left @ weight.mT``."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(left, weight, None, "none", [], "")
    return result
