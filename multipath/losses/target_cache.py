"""Targets that recur: what all their paths share is computed once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from multipath._internal.settings import positive, switch
from multipath.errors import ConfigurationError, InputError
from multipath.transforms.base import Transform


@dataclass(frozen=True)
class _Item:
    """One target and what was prepared from it."""

    target: Tensor
    prepared: list[Tensor]

    @property
    def size(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.target, *self.prepared))


class TargetCache:
    """Keeps what the paths of a target share, for targets that come again, epoch after epoch.

    For a scattering transform that is its first layer, which is most of a path's cost and the
    same for every path drawn: a target seen before costs little more than its last steps. Give the
    cache to a :class:`~multipath.TransformLoss` and say, around each call, which targets come.

    Outside of ``keyed`` nothing is looked up or kept. The targets least recently used make room
    for new ones.

    Args:
        max_bytes: Never hold more than this; a second of sound at 44.1 kHz takes about 4 MB for a
            JTFS in float32.
        verify: Compare each target with the one remembered under its key, and refuse another. On
            an accelerator this waits for it; with ``False`` the keys are trusted.

    Attributes:
        hits, misses: How many targets were found, and how many had to be computed.

    Raises:
        ConfigurationError: If max_bytes is not positive.

    Example:
        >>> from multipath import TransformLoss
        >>> from multipath.transforms import Scattering1D
        >>> cache = TargetCache(max_bytes=2**20)
        >>> loss = TransformLoss(Scattering1D(1024, J=5, Q=(2, 1), T=256), cache=cache)
        >>> generator = torch.Generator().manual_seed(0)
        >>> sounds = torch.randn(2, 1024, generator=generator)
        >>> for epoch in range(3):
        ...     with cache.keyed(["kick", "snare"]):
        ...         value = loss(0.5 * sounds, sounds)
        >>> cache.hits, cache.misses
        (4, 2)
    """

    def __init__(self, max_bytes: int, verify: bool = True) -> None:
        self.max_bytes = int(positive("max_bytes", max_bytes))
        self.verify = switch("verify", verify)
        self.hits = self.misses = 0
        self._items: OrderedDict[Hashable, _Item] = OrderedDict()
        self._keys: list[Hashable] | None = None
        self._owner: Transform | None = None

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(item.size for item in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    @contextmanager
    def keyed(self, keys: Iterable[Hashable] | Tensor) -> Iterator[None]:
        """Name the targets of the batches to come.

        Args:
            keys: One hashable for each target of a batch (an index of the data set, a file name);
                a tensor of integers will do. A key stands for one target only.
        """
        before = self._keys
        self._keys = keys.tolist() if isinstance(keys, Tensor) else list(keys)
        try:
            yield
        finally:
            self._keys = before

    @property
    def active(self) -> bool:
        """Whether targets have been named."""
        return self._keys is not None

    def clear(self) -> None:
        """Forget all targets."""
        self._items.clear()

    def prepared(self, transform: Transform, targets: Tensor) -> list[Tensor]:
        """What ``transform.prepare(targets)`` returns, computed for new targets only.

        Raises:
            InputError: If there are not as many keys as targets, or one names another target.
            ConfigurationError: If the cache already serves another transform.
        """
        if self._owner not in (None, transform):
            raise ConfigurationError("this cache serves another transform; make one for each")
        self._owner = transform
        keys = self._keys or []
        if len(keys) != len(targets):
            raise InputError(f"expected a key for each of the {len(targets)} targets, got {keys}")
        found = [self._look_up(key, target) for key, target in zip(keys, targets, strict=True)]
        missing = [i for i, item in enumerate(found) if item is None]
        self.misses += len(missing)
        self.hits += len(found) - len(missing)
        if missing:
            self._compute(transform, targets, keys, missing, found)
        items = [item for item in found if item is not None]
        return [torch.stack(parts) for parts in zip(*(i.prepared for i in items), strict=True)]

    def _look_up(self, key: Hashable, target: Tensor) -> _Item | None:
        item = self._items.get(key)
        if item is None or (item.target.device, item.target.dtype) != (target.device, target.dtype):
            return None
        if self.verify and not torch.equal(item.target, target):
            raise InputError(
                f"the target under key {key!r} is not the one remembered: a key must stand for one "
                "target (leave the keys out for targets that are augmented, or clear the cache)"
            )
        self._items.move_to_end(key)
        return item

    def _compute(
        self,
        transform: Transform,
        targets: Tensor,
        keys: Sequence[Hashable],
        missing: Sequence[int],
        found: list[_Item | None],
    ) -> None:
        some = torch.stack([targets[i] for i in missing])
        with torch.no_grad():
            prepared = transform.prepare(some)
        for place, i in enumerate(missing):
            # copies: a view would hold the whole batch
            item = _Item(some[place].clone(), [part[place].clone() for part in prepared])
            found[i] = item
            if item.size <= self.max_bytes:
                self._items[keys[i]] = item
        held = self.size
        while held > self.max_bytes:
            held -= self._items.popitem(last=False)[1].size

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles start empty."""
        return {**self.__dict__, "_items": OrderedDict(), "_keys": None, "_owner": None}

    def __repr__(self) -> str:
        """How full it is."""
        return f"TargetCache({len(self)} targets, {self.size} of {self.max_bytes} bytes)"
