"""Lists of tensors for torch's foreach functions: batches that fit the cache, scratch, rounding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# Weights in a batch on the CPU: a batch and its scratch stay in the cache from one operation to
# the next. Elsewhere launching kernels is what costs, so a batch is everything.
CPU_BATCH = 2**17

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: multiples of it spread evenly
MASK = 2**64 - 1


def batches(tensors: Sequence[Tensor]) -> Iterator[slice]:
    """Slices of a list of tensors of one device, each small enough to be processed together."""
    limit = CPU_BATCH if tensors[0].device.type == "cpu" else None
    start = size = 0
    for end, tensor in enumerate(tensors):
        if limit is not None and size and size + tensor.numel() > limit:
            yield slice(start, end)
            start, size = end, 0
        size += tensor.numel()
    yield slice(start, len(tensors))


def local(tensor: Tensor) -> Tensor:
    """The part of a distributed tensor that this rank holds; any other tensor as it is.

    All that path-wise optimizers do is elementwise, so the parts need not know of each other.
    """
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


class Scratch:
    """Memory for intermediate results, by name, shaped like a batch of tensors.

    On the CPU it is kept: fresh pages from the system cost more than the arithmetic done on them.
    Elsewhere the allocator of the device keeps it. Copies and pickles start empty.

    Example:
        >>> scratch = Scratch()
        >>> first = scratch.like([torch.zeros(2, 3), torch.zeros(1)], torch.float32, "gradient")
        >>> [tuple(tensor.shape) for tensor in first]
        [(2, 3), (1,)]
    """

    def __init__(self) -> None:
        self._memory: dict[tuple[str, torch.dtype], Tensor] = {}
        self._views: dict[tuple[object, ...], list[Tensor]] = {}

    def like(self, tensors: Sequence[Tensor], dtype: torch.dtype, name: str) -> list[Tensor]:
        """Tensors of these shapes and arbitrary values, side by side in memory."""
        device = tensors[0].device
        if device.type != "cpu":
            flat = torch.empty(sum(t.numel() for t in tensors), dtype=dtype, device=device)
            return _split(flat, tensors)
        key = (name, dtype, *(t.shape for t in tensors))
        if key not in self._views:
            size = sum(t.numel() for t in tensors)
            flat = self._memory.get((name, dtype), torch.empty(0, dtype=dtype))
            if flat.numel() < size:
                flat = self._memory[name, dtype] = torch.empty(size, dtype=dtype)
                self._views = {k: v for k, v in self._views.items() if k[:2] != (name, dtype)}
            self._views[key] = _split(flat, tensors)
        return self._views[key]

    def __reduce__(self) -> tuple[type[Scratch], tuple[()]]:
        return Scratch, ()


def round_into(stored: Sequence[Tensor], values: list[Tensor], seed: int, scratch: Scratch) -> None:
    r"""Store values in a narrower dtype and set them to what was stored.

    Rounding to bfloat16 is stochastic: x between neighbours :math:`a < b` becomes b with
    probability :math:`(x - a) / (b - a)`, so the stored value is x in expectation and an average
    that moves by less than half a unit in the last place still moves. The random bits are
    :math:`(i\, \phi + \text{seed}) \bmod 2^{16}` for weight i: a low-discrepancy sequence shifted
    at random, the same for the same seed on every rank and after every resume.

    Args:
        stored: Where to store.
        values: From :meth:`Scratch.like`: side by side in memory.
        seed: Decides the rounding; another one for every call.
        scratch: Memory for the random bits.

    Example:
        >>> scratch, stored = Scratch(), [torch.zeros(4096, dtype=torch.bfloat16)]
        >>> values = scratch.like(stored, torch.float32, "values")
        >>> values[0].fill_(1.001).unique()  # its neighbours are 1 and 1.0078
        tensor([1.0010])
        >>> round_into(stored, values, 0, scratch)
        >>> stored[0].unique()
        tensor([1.0000, 1.0078], dtype=torch.bfloat16)
        >>> round(stored[0].double().mean().item(), 4)
        1.001
    """
    if stored[0].dtype == torch.bfloat16:
        flat = _join(values)
        bits = (flat if flat.dtype == torch.float32 else flat.float()).view(torch.int32)
        noise = _join(scratch.like(values, torch.int32, "noise"))
        torch.arange(noise.numel(), out=noise)
        noise.mul_(GOLDEN >> 48).add_(mix(seed) & 0xFFFF).bitwise_and_(0xFFFF)
        bits.add_(noise).bitwise_and_(-0x10000)  # a carry out of the lower half rounds up
        flat.copy_(bits.view(torch.float32))
    torch._foreach_copy_(list(stored), values)
    torch._foreach_copy_(values, list(stored))


def mix(*numbers: int) -> int:
    """A hash of integers (splitmix64), the same in every process; neighbours are unrelated."""
    x = 0
    for number in numbers:
        x = (x ^ number) + GOLDEN & MASK
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
        x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
        x ^= x >> 31
    return x


def _split(flat: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    parts, start = [], 0
    for tensor in tensors:
        parts.append(flat[start : start + tensor.numel()].view(tensor.shape))
        start += tensor.numel()
    return parts


def _join(parts: Sequence[Tensor]) -> Tensor:
    """The inverse of :func:`_split`."""
    return parts[0].as_strided((sum(part.numel() for part in parts),), (1,))
