"""Saved states of torch's Adam and AdamW, which torch itself loads unseen."""

from __future__ import annotations

from math import inf
from typing import Any

import torch
from torch.optim import Optimizer

from multipath._internal.state import check_names, loaded_real, loaded_tensor, refused
from multipath.errors import ConfigurationError

__all__ = ["check_adam"]


def check_adam(optimizer: Optimizer, state: Any) -> None:
    """Refuse a state that is not that of this optimizer after some steps.

    It fits :meth:`torch.optim.Optimizer.register_load_state_dict_pre_hook`.

    Args:
        optimizer: With the settings that it should have, but for the learning rate.
        state: What is to be loaded.

    Raises:
        ConfigurationError: If it has other settings or parts.
        InputError: If a part is not of its kind, shape or range.
    """
    name = type(optimizer).__name__
    check_names(name, state, ("state", "param_groups"))
    groups, own = state["param_groups"], optimizer.state_dict()["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(own):
        raise refused(f"the parameter groups of {name}", f"a list of {len(own)}", groups)
    for group, mine in zip(groups, own, strict=True):
        if not isinstance(group, dict):
            raise refused(f"a parameter group of {name}", "a dictionary", group)
        check_names(f"a group of {name}", group, {*mine} | ({"initial_lr"} & {*group}))
        loaded_real(f"the learning rate of {name}", group["lr"])
        if not all(_is_same(group[key], value) for key, value in mine.items() if key != "lr"):
            raise ConfigurationError(f"this state of {name} has other settings than the optimizer")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states = state["state"]
    if not isinstance(states, dict) or not states.keys() <= set(range(len(parameters))):
        raise refused(f"the state of {name}", f"that of {len(parameters)} parameters", states)
    for key, each in states.items():
        shape, dtype = tuple(parameters[key].shape), parameters[key].dtype
        parts: dict[str, tuple[tuple[int, ...], torch.dtype, float]] = {
            "step": ((), torch.float32, 1.0),
            "exp_avg": (shape, dtype, -inf),
            "exp_avg_sq": (shape, dtype, 0.0),
        }
        check_names(name, each, parts)
        for part, expected in parts.items():
            loaded_tensor(f"{part} of {name}", each[part], *expected)


def _is_same(value: Any, own: Any) -> bool:
    """Whether a setting is what it was, of the same type and so are its parts."""
    if type(value) is not type(own):
        return False
    if isinstance(own, list | tuple):
        return len(value) == len(own) and all(map(_is_same, value, own))
    return bool(value == own)
