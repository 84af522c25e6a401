"""Units of work shared between the processes of a distributed job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d
from torch.distributed.distributed_c10d import PrefixStore

from ..errors import ConfigurationError
from ._journal import Record

_rounds = count()


class Workers:
    """The processes of ``torchrun``, or this one alone.

    Each takes the next unit when it is done with one, so that quick processes do more. What a unit
    gives does not depend on who computes it.
    """

    def __init__(self) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.size = dist.get_world_size() if together else 1

    def agree(self, fingerprint: str) -> None:
        """Refuse ranks with other weights, batches or settings.

        Raises:
            ConfigurationError: On every rank.
        """
        if len(set(self._gather(fingerprint))) > 1:
            raise ConfigurationError(
                "the ranks must be given the same loss, weights, batches and settings: seed them "
                "alike, and load the same checkpoint"
            )

    def run(
        self,
        units: Sequence[str],
        done: dict[str, Record],
        work: Callable[[str], Sequence[Tensor]],
        keep: Callable[[str, Record], None],
    ) -> dict[str, Record]:
        """Results of all units, on every rank.

        Args:
            units: Their names, the costliest first; the same on every rank.
            done: Results that are there already.
            work: Computes a unit.
            keep: Told of each result as it comes.
        """
        known: dict[str, Record] = {}
        for part in self._gather({unit: done[unit] for unit in units if unit in done}):
            known.update(part)
        left = [unit for unit in units if unit not in known]
        own: dict[str, Record] = {}
        for unit in self._claims(left):
            own[unit] = tuple(work(unit))
            keep(unit, own[unit])
        for part in self._gather(own):
            known.update(part)
        return known

    def _claims(self, units: Sequence[str]) -> Any:
        """The units that fall to this process."""
        if self.size == 1:
            yield from units
            return
        store = PrefixStore(
            f"multipath/theta_importance/{next(_rounds)}", distributed_c10d._get_default_store()
        )
        while (number := store.add("next", 1) - 1) < len(units):
            yield units[number]

    def _gather(self, value: Any) -> list[Any]:
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found
