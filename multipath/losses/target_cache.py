"""Targets that recur: what all their paths share is computed once and kept, and so are paths."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from multipath._internal.settings import positive, switch
from multipath.errors import ConfigurationError, InputError
from multipath.paths import check_indices
from multipath.transforms.base import Transform


@dataclass
class _Item:
    """One target, what was prepared from it, and coefficients of the paths that were asked for.

    Attributes:
        target: The signal.
        prepared: What its paths share.
        coefficients: Those of some paths, by index.
        size: Bytes of all that.
    """

    target: Tensor
    prepared: list[Tensor]
    coefficients: dict[int, Tensor] = field(default_factory=dict)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(t.nbytes for t in (self.target, *self.prepared))

    def keep(self, index: int, coefficients: Tensor) -> None:
        """Add the coefficients of a path."""
        if index not in self.coefficients:  # a target may come twice in a batch
            self.coefficients[index] = coefficients
            self.size += coefficients.nbytes

    def forget(self) -> int:
        """Let the coefficients go; returns their bytes."""
        freed = sum(c.nbytes for c in self.coefficients.values())
        self.coefficients.clear()
        self.size -= freed
        return freed


class TargetCache:
    """Keeps what is computed of targets that come again, epoch after epoch.

    First of all that is what the paths of a target share: for a scattering transform its first
    layer, which is most of a path's cost and the same for every path drawn. Where there is room,
    it is also the coefficients of the paths drawn so far, so that a path drawn again of the same
    target costs nothing. Give the cache to a :class:`~multipath.TransformLoss` and say, around
    each call, which targets come.

    Outside of ``keyed`` nothing is looked up or kept. The targets least recently used make room
    for new ones, and coefficients never take the room of a target.

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
        return _stacked(self._items_of(transform, targets))

    def coefficients(
        self, transform: Transform, targets: Tensor, indices: Sequence[int] | Tensor
    ) -> list[Tensor]:
        """What ``transform.coefficients(targets, indices)`` returns, computed where it is new.

        Raises:
            InputError: As :meth:`prepared`, and if an index is out of range.
            ConfigurationError: As :meth:`prepared`.
        """
        chosen = check_indices(indices, len(transform.paths))
        items = self._items_of(transform, targets)
        if type(transform).finish is Transform.finish:  # all is prepared
            return transform.finish(_stacked(items), chosen)
        known = [dict(item.coefficients) for item in items]
        lacking = [place for place, found in enumerate(known) if not found.keys() >= {*chosen}]
        if lacking:
            new = [i for i in dict.fromkeys(chosen) if any(i not in known[p] for p in lacking)]
            with torch.no_grad():
                found = transform.finish(_stacked([items[place] for place in lacking]), new)
            room = self.max_bytes - self.size
            for index, rows in zip(new, found, strict=True):
                for place, row in zip(lacking, rows, strict=True):
                    if index in known[place]:
                        continue
                    known[place][index] = row
                    if row.nbytes <= room:
                        items[place].keep(index, row.clone())
                        room -= row.nbytes
        return [torch.stack([found[index] for found in known]) for index in chosen]

    def _items_of(self, transform: Transform, targets: Tensor) -> list[_Item]:
        """What is known of some targets, at least what is prepared from them."""
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
        return [item for item in found if item is not None]

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
        for item in self._items.values():
            if held <= self.max_bytes:
                break
            held -= item.forget()
        while held > self.max_bytes:
            held -= self._items.popitem(last=False)[1].size

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles start empty."""
        return {**self.__dict__, "_items": OrderedDict(), "_keys": None, "_owner": None}

    def __repr__(self) -> str:
        """How full it is."""
        return f"TargetCache({len(self)} targets, {self.size} of {self.max_bytes} bytes)"


def _stacked(items: Iterable[_Item]) -> list[Tensor]:
    """What was prepared from some targets, the batch first."""
    return [torch.stack(parts) for parts in zip(*(i.prepared for i in items), strict=True)]
