"""Lists of tensors for torch's foreach functions: batches that fit the cache, scratch, rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

# Weights in a batch on the CPU: a batch and its scratch stay in the cache from one operation to
# the next. Elsewhere launching kernels is what costs, so a batch is everything.
CPU_BATCH = 2**18

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: multiples of it spread evenly
MASK = 2**64 - 1

Name = tuple[str, torch.dtype]


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


class Scratch:
    """Memory for intermediate results, by name, for batches of tensors of the same shapes.

    On the CPU it is kept: fresh pages from the system cost more than the arithmetic done on them.
    Elsewhere the allocator of the device keeps it. Copies and pickles start empty.

    Example:
        >>> like = Scratch().batch([torch.zeros(2, 3), torch.zeros(1)])
        >>> [tuple(tensor.shape) for tensor in like("gradient", torch.float32)]
        [(2, 3), (1,)]
    """

    def __init__(self) -> None:
        self._memory: dict[Name, Tensor] = {}
        self._views: dict[tuple[torch.Size, ...], dict[Name, list[Tensor]]] = {}

    def batch(self, tensors: Sequence[Tensor]) -> Callable[[str, torch.dtype], list[Tensor]]:
        """A function from a name and a dtype to tensors of these shapes and arbitrary values.

        They lie side by side in memory, and are overwritten when the name is used again.
        """
        shapes, device = tuple(t.shape for t in tensors), tensors[0].device
        size = sum(t.numel() for t in tensors)
        kept = self._views.setdefault(shapes, {}) if device.type == "cpu" else {}

        def like(name: str, dtype: torch.dtype) -> list[Tensor]:
            views = kept.get((name, dtype))
            if views is None:
                flat = self._flat((name, dtype), size, device)
                views = kept[name, dtype] = _split(flat, tensors)
            return views

        return like

    def _flat(self, key: Name, size: int, device: torch.device) -> Tensor:
        if device.type != "cpu":
            return torch.empty(size, dtype=key[1], device=device)
        if key not in self._memory or self._memory[key].numel() < size:
            self._memory[key] = torch.empty(size, dtype=key[1], device="cpu")
            for views in self._views.values():
                views.pop(key, None)  # a smaller buffer is dropped
        return self._memory[key]

    def __reduce__(self) -> tuple[type[Scratch], tuple[()]]:
        return Scratch, ()


def round_into(stored: list[Tensor], values: list[Tensor], noise: list[Tensor], seed: int) -> None:
    r"""Store values in a narrower dtype and set them to what was stored.

    Rounding to bfloat16 is stochastic: x between neighbours :math:`a < b` becomes b with
    probability :math:`(x - a) / (b - a)`, so the stored value is x in expectation and an average
    that moves by less than half a unit in the last place still moves. The random bits are
    :math:`(i\, \phi + \text{seed}) \bmod 2^{16}` for weight i: a low-discrepancy sequence shifted
    at random, the same for the same seed on every rank and after every resume.

    Args:
        stored: Where to store.
        values: Side by side in memory, see :meth:`Scratch.batch`.
        noise: As ``values``, int32, to be overwritten by the random bits.
        seed: Decides the rounding; another one for every call.

    Example:
        >>> stored = [torch.zeros(4096, dtype=torch.bfloat16)]
        >>> values = [torch.full((4096,), 1.001)]  # its neighbours are 1 and 1.0078
        >>> round_into(stored, values, [torch.zeros(4096, dtype=torch.int32)], seed=0)
        >>> stored[0].unique()
        tensor([1.0000, 1.0078], dtype=torch.bfloat16)
        >>> round(stored[0].double().mean().item(), 4)
        1.001
    """
    if stored[0].dtype == torch.bfloat16:
        flat, random = _join(values), _join(noise)
        bits = (flat if flat.dtype == torch.float32 else flat.float()).view(torch.int32)
        torch.arange(random.numel(), out=random, device=random.device)
        random.mul_(GOLDEN >> 48).add_(mix(seed) & 0xFFFF).bitwise_and_(0xFFFF)
        bits.add_(random).bitwise_and_(-0x10000)  # a carry out of the lower half rounds up
        if flat.dtype != torch.float32:
            flat.copy_(bits.view(torch.float32))
    torch._foreach_copy_(stored, values)
    if stored[0].dtype != torch.bfloat16:
        torch._foreach_copy_(values, stored)


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
    sizes = [tensor.numel() for tensor in tensors]
    parts = flat[: sum(sizes)].split(sizes)
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _join(parts: Sequence[Tensor]) -> Tensor:
    """The inverse of :func:`_split`."""
    return parts[0].as_strided((sum(part.numel() for part in parts),), (1,))
