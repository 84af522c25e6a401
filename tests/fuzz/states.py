"""State that was saved, changed somewhere, and loaded again."""

from __future__ import annotations

import copy
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from multipath import StochasticLoss
from multipath._internal.state import pack, unpack
from multipath.optim import PSAGA, PAdam
from multipath.stochastic import STATE
from multipath.testing import QuadraticLoss

from .objects import make_sampler
from .values import ABSURD


def tampered_state(random: Random, folder: Path) -> str:
    """Load a state with one value changed; what is accepted must go on drawing and stepping."""
    n_paths, seed = random.randint(2, 6), random.randrange(2**32)

    def make() -> tuple[StochasticLoss, torch.nn.Parameter, torch.optim.Optimizer]:
        sampler = make_sampler(Random(seed), n_paths)
        criterion = StochasticLoss(QuadraticLoss(n_paths), sampler, generator=1)
        weight = torch.nn.Parameter(torch.ones(1, 3))
        return criterion, weight, (PAdam if seed % 2 else PSAGA)([weight], criterion, lr=0.01)

    criterion, weight, optimizer = make()
    for _ in range(4):
        train(criterion, weight, optimizer)
    criterion(weight, torch.zeros(1, 3))  # a draw that waits
    fresh, weight, optimizer_of_fresh = make()
    if random.random() < 0.5:
        state = unpack(criterion.state_dict()["_extra_state"], criterion, STATE)
        fresh.load_state_dict({"_extra_state": pack(tampered(random, state))})
    else:
        optimizer_of_fresh.load_state_dict(tampered(random, optimizer.state_dict()))
    for _ in range(4):
        train(fresh, weight, optimizer_of_fresh)
    return "right"


def train(criterion: StochasticLoss, weight: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    criterion(weight, torch.zeros(1, 3)).backward()
    optimizer.step()


def tampered(random: Random, state: Any) -> Any:
    """A copy with one leaf changed."""
    state = copy.deepcopy(state)
    holder, key = state, None
    while isinstance(holder[key] if key is not None else state, dict | list):
        holder = holder if key is None else holder[key]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            return state
        key = random.choice(keys)
    if random.random() < 0.1 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = changed(random, holder[key])
    return state


def changed(random: Random, value: Any) -> Any:
    if not isinstance(value, Tensor) or random.random() < 0.2:
        storable = (bool, int, float, str, list, dict, tuple, type(None))
        return random.choice([v for v in ABSURD if type(v) in storable])
    made = [
        *(value[:-1] if value.ndim else value[None], value[None], value.to(torch.complex64)),
        *(value.double() * float("nan"), -value.double() - 1, value.to_sparse(), value.bool()),
        torch.zeros(1).expand(2**40) if value.ndim else value.to("meta"),
    ]
    return random.choice(made)
