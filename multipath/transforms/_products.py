"""Matrix products by the fastest library at hand."""

from __future__ import annotations

import torch
from torch import Tensor


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of two matrices.

    torch gives products in single precision to MKL, which leaves half of the vector units of
    processors by other makers than Intel idle. oneDNN, which comes with torch as well, does not.
    torch offers it for dense tensors only under the operation that compiled models call, which has
    no gradient: products that one may be asked of go the usual way.
    """
    if not (_single(left) and _single(right)):
        return left @ right
    if torch.is_grad_enabled() and (left.requires_grad or right.requires_grad):
        return left @ right
    weight = right.mT  # whole matrices only, of either layout: parts of rows would take it ages
    if not (right.is_contiguous() or weight.is_contiguous()):
        weight = right.contiguous().mT
    result: Tensor = torch.ops.mkldnn._linear_pointwise(left, weight, None, "none", [], "")
    return result


def _single(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.device.type == "cpu" and _HAS_ONEDNN


_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)
