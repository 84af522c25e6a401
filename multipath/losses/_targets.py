"""What targets are like, path by path: measured once, before training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from multipath._internal.bookkeeping import bookkept
from multipath._internal.inputs import check_tensor
from multipath.errors import InputError


def average_over_targets(
    batches: Iterable[Tensor] | Tensor, measure: Callable[[Tensor], Tensor]
) -> Tensor:
    """Mean over all targets of what is measured on each path.

    Args:
        batches: Target tensors, batch first; one tensor is one batch.
        measure: From a batch to values of shape (P, batch).

    Returns:
        Float64 of shape (P,) on the CPU.

    Raises:
        InputError: If there is no batch, or one that is not a tensor of finite numbers.
    """
    total: Tensor | None = None
    count = 0
    for batch in checked_batches(batches):
        with torch.no_grad():
            values = measure(batch)
        found = bookkept(values).sum(dim=1)
        total = found if total is None else total + found
        count += values.shape[1]
    if total is None or not count:
        raise InputError("no batch of targets came; pass at least one")
    if not bool(torch.isfinite(total).all()):
        raise InputError("the targets hold NaN or infinite values; check the data")
    return total / count


def checked_batches(batches: Iterable[Tensor] | Tensor) -> Iterator[Tensor]:
    """The batches of targets; one tensor is one batch.

    Raises:
        InputError: If one is not a tensor.
    """
    if batches is None or isinstance(batches, np.ndarray):
        check_tensor(batches, "targets")
    for batch in [batches] if isinstance(batches, Tensor) else batches:
        if isinstance(batch, tuple | list):
            raise InputError(
                f"batches must be tensors of targets, got {type(batch).__name__}; for pairs "
                "pass (target for _, target in loader)"
            )
        check_tensor(batch, "a batch of targets")
        yield batch
