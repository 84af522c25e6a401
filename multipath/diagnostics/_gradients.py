"""Gradients of all paths with respect to the reconstruction, computed without side effects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from multipath._internal.modes import evaluating
from multipath._internal.units import progress_bars
from multipath.errors import InputError
from multipath.losses import PathDecomposedLoss
from multipath.losses.base import reduce_batch

MAX_BYTES = 2**31
"""Most memory, in bytes, that the gradients of all paths and their inner products may take."""


def path_gradients(
    loss: PathDecomposedLoss, input: Tensor, target: Tensor, progress: bool
) -> Tensor:
    """Gradients of all paths, flattened, shape (P, size of input), on the CPU."""
    # copies: tensors made under inference mode cannot be saved for a gradient
    x, y = input.detach().clone().requires_grad_(), target.detach().clone()
    n_paths = len(loss.paths)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    needed = n_paths * (x.numel() * dtype.itemsize + 4 * 8 * n_paths)
    if needed > MAX_BYTES:
        raise InputError(
            f"the gradients of {n_paths} paths with respect to {x.numel()} numbers, and their "
            f"inner products, need {needed / 2**30:.1f} GiB; at most {MAX_BYTES / 2**30:g} GiB are "
            "allowed: pass fewer or shorter items, or group the paths with loss.grouped(by=...)"
        )
    gradients = torch.zeros(n_paths, x.numel(), dtype=dtype, device="cpu")
    reduction = "mean" if loss.reduction == "none" else loss.reduction
    connected = False
    for p in tracked(n_paths, "gradients of paths") if progress else range(n_paths):
        value = reduce_batch(loss.evaluate(x, y, [p]), reduction)
        if not value.requires_grad:
            continue
        gradient: Tensor | None = torch.autograd.grad(value, x, allow_unused=True)[0]
        if gradient is None:
            continue
        connected = True
        if not bool(torch.isfinite(gradient).all()):
            raise InputError(
                f"the gradient of path {loss.paths[p].key!r} is not finite (its loss is "
                f"{value.item():g}): check input and target for NaN and infinite values"
            )
        gradients[p] = gradient.flatten()
    if not connected:
        raise InputError("no path of the loss depends on the input, so there is no gradient")
    return gradients


def inner_products(gradients: Tensor) -> Tensor:
    """The P x P inner products in float64, by blocks of columns to bound the memory."""
    n_paths = len(gradients)
    gram = torch.zeros(n_paths, n_paths, dtype=torch.float64, device="cpu")
    for columns in gradients.split(2**22 // n_paths + 1, dim=1):
        precise = columns.double()
        gram += precise @ precise.T
    return gram


@contextmanager
def undisturbed(loss: PathDecomposedLoss, input: Tensor, target: Tensor) -> Iterator[None]:
    """Enable gradients and evaluation mode; restore modes and random streams afterwards."""
    for name, x in {"input": input, "target": target}.items():
        if not isinstance(x, Tensor):
            raise InputError(f"{name} must be a tensor, got {type(x).__name__}")
    if not input.is_floating_point():
        raise InputError(f"input must hold real floating-point numbers, got {input.dtype}")
    devices = [input.device] if input.device.type == "cuda" else []
    with (
        evaluating(loss),
        torch.random.fork_rng(devices),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        yield


def tracked(count: int, what: str) -> Iterator[int]:
    """Numbers from 0, with a progress bar on standard error."""
    with progress_bars(wanted=True) as bar:
        task = bar.add_task(what, total=count)
        for number in range(count):
            yield number
            bar.advance(task)
