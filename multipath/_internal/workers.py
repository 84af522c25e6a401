"""Units of work shared among the processes of a distributed job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from uuid import uuid4

import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d
from torch.distributed.distributed_c10d import PrefixStore

from multipath.errors import ConfigurationError, InputError

from .journal import Record
from .ranks import several_ranks


class Workers:
    """The processes of ``torchrun``, or this one alone.

    Each takes the next unit when it has finished one, so that fast processes do more. The result of
    a unit does not depend on which process computes it.

    Args:
        kind: What is worked at, for messages.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        together = several_ranks()
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
        elsewhere: Callable[[Record], None],
    ) -> dict[str, Record]:
        """Results of all units, on every rank.

        A rank that fails stops the others once they have finished their present unit.

        Args:
            units: Names of the units, the costliest first; the same on every rank.
            done: Results that are known already.
            work: Computes a unit.
            keep: Called with each result computed here, as soon as it is known.
            elsewhere: Called with each result that was known already or comes from another rank.

        Raises:
            InputError: If another rank failed; that rank raises its own error.
        """
        known: dict[str, Record] = {}
        for part in self._gather({unit: done[unit] for unit in units if unit in done}):
            known.update(part)
        for record in known.values():
            elsewhere(record)
        left = [unit for unit in units if unit not in known]
        own: dict[str, Record] = {}
        failure: Exception | None = None
        claim = self._claim()
        try:
            while (number := claim(1)) < len(left):
                unit = left[number]
                own[unit] = tuple(work(unit))
                keep(unit, own[unit])
        except Exception as error:
            if self.size == 1:
                raise
            failure = error
            claim(len(left))  # leaves nothing for the others to claim
        failures = self._gather(None if failure is None else str(failure))
        if failure is not None:
            raise failure
        for rank, message in enumerate(failures):
            if message is not None:
                raise InputError(f"{self.kind} failed on rank {rank}: {message}")
        for part in self._gather(own):
            for unit in part.keys() - own.keys():
                elsewhere(part[unit])
            known.update(part)
        return known

    def _claim(self) -> Callable[[int], int]:
        """A function that takes so many units and returns the number of the first of them."""
        if self.size == 1:
            numbers = count()
            return lambda amount: next(numbers)
        # The store of torchrun outlives the processes that it starts again, and counters with it.
        name = self._gather(uuid4().hex)[0]
        store = PrefixStore(f"multipath/{self.kind}/{name}", distributed_c10d._get_default_store())
        return lambda amount: int(store.add("next", amount)) - amount

    def _gather(self, value: Any) -> list[Any]:
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found
