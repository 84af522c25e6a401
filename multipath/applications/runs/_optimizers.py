"""Saved states of torch's Adam, AdamW and L-BFGS, which torch itself loads unseen."""

from __future__ import annotations

from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from multipath._internal.state import (
    check_names,
    loaded_integer,
    loaded_real,
    loaded_tensor,
    refused,
)
from multipath.errors import ConfigurationError, InputError

__all__ = ["check_adam", "check_lbfgs"]


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
    parameters = _check_groups(optimizer, state)
    name, states = type(optimizer).__name__, state["state"]
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


def check_lbfgs(optimizer: Optimizer, state: Any) -> None:
    """Refuse a state that is not that of this L-BFGS, for one parameter, after some steps.

    Args:
        optimizer: With the settings that it should have.
        state: What is to be loaded.

    Raises:
        ConfigurationError: If it has other settings or parts.
        InputError: If a part is not of its kind, shape or range.
    """
    (parameter,) = _check_groups(optimizer, state)
    for each in state["state"].values():
        vectors, lists = ("d", "prev_flat_grad"), ("old_dirs", "old_stps", "ro")
        numbers, counts = ("t", "H_diag", "prev_loss"), ("func_evals", "n_iter")
        later = {"al"} & {*each} if isinstance(each, dict) else set[str]()
        check_names("LBFGS", each, {*vectors, *lists, *numbers, *counts, *later})
        for count in counts:
            loaded_integer(f"{count} of LBFGS", each[count])
        for number in numbers:
            _check_number(number, each[number], parameter.dtype)
        most = optimizer.param_groups[0]["history_size"]
        for name in (*lists, *later):
            if not isinstance(each[name], list) or len(each[name]) > most:
                raise refused(f"{name} of LBFGS", f"a list of at most {most}", each[name])
        if len({len(each[name]) for name in lists}) > 1:
            raise InputError("the history of LBFGS has parts of several lengths; start again")
        for name, values in [
            *((name, [each[name]]) for name in vectors),
            *((name, each[name]) for name in lists[:2]),
        ]:
            for value in values:
                loaded_tensor(f"{name} of LBFGS", value, (parameter.numel(),), parameter.dtype)
        for value in each["ro"]:
            loaded_tensor("ro of LBFGS", value, (), parameter.dtype)
        if later and len(each["al"]) != most:
            raise refused("al of LBFGS", f"a list of {most}", each["al"])
        for value in each.get("al", []):
            if value is not None:  # of a history that is not full yet
                loaded_tensor("al of LBFGS", value, (), parameter.dtype)


def _check_number(name: str, value: Any, dtype: torch.dtype) -> None:
    """Refuse what is neither a finite number nor a tensor that holds one."""
    if isinstance(value, Tensor):
        loaded_tensor(f"{name} of LBFGS", value, (), dtype)
    else:
        loaded_real(f"{name} of LBFGS", value, -inf)


def _check_groups(optimizer: Optimizer, state: Any) -> list[Tensor]:
    """Refuse other groups, or the state of other parameters; returns the parameters."""
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
    return parameters


def _is_same(value: Any, own: Any) -> bool:
    """Whether a setting is what it was, of the same type and so are its parts."""
    if type(value) is not type(own):
        return False
    if isinstance(own, list | tuple):
        return len(value) == len(own) and all(map(_is_same, value, own))
    return bool(value == own)
