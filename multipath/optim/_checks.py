"""What hyperparameters may be, and what a saved state must be to be loaded."""

from __future__ import annotations

from math import inf
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from multipath._internal.inputs import described, is_whole
from multipath._internal.settings import choice, is_scalar, real, several, switch
from multipath._internal.state import (
    ANOTHER,
    check_names,
    loaded_integer,
    loaded_real,
    loaded_tensor,
    refused,
)
from multipath.errors import ConfigurationError, InputError

from ._shards import local, shard

CLOCKS = ("paths", "visits")
STATE_DTYPES = (None, torch.bfloat16, torch.float32, torch.float64)
MOST = 1e18
"""Of hyperparameters: their products stay within float32."""
LEAST = 1e-30
"""Numbers of a state are shares and scales: but for 0, neither they nor their inverses are less."""


class Keeper(Protocol):
    """What is asked of the optimizer whose state is loaded; see its own documentation."""

    never_negative: ClassVar[frozenset[str]]
    n_paths: int
    defaults: dict[str, Any]
    param_groups: list[dict[str, Any]]

    def path_state(self, group: dict[str, Any]) -> dict[str, float | None]: ...

    def parameter_state(self) -> dict[str, float | None]: ...


def check_group(group: dict[str, Any], name: str) -> None:
    """Refuse values outside the range of the algorithm; numbers of numpy become plain ones.

    Raises:
        ConfigurationError: Naming the value and its range.
    """
    make_plain(group)
    choice("clock", group["clock"], *CLOCKS)
    choice("state_dtype", group["state_dtype"], *STATE_DTYPES)
    if any(parameter.is_complex() for parameter in group["params"]):
        raise ConfigurationError(
            f"{name} does not support complex parameters; optimise torch.view_as_real of them"
        )


def make_plain(group: dict[str, Any]) -> None:
    """Make plain Python numbers of the hyperparameters, in place, if they are in range.

    Raises:
        ConfigurationError: Naming the value and its range.
    """
    for key in ("lr", "weight_decay", "eps"):
        if key in group:
            if not real(group[key]) >= 0.0:
                raise ConfigurationError(f"{key} must not be negative, got {described(group[key])}")
            if real(group[key]) > MOST:
                raise ConfigurationError(f"{key} must be at most {MOST:g}, got {group[key]}")
            group[key] = real(group[key])
    for key in ("adaptive", "maximize"):
        if key in group:
            group[key] = switch(key, group[key])
    if "betas" in group:
        given = group["betas"]
        betas = () if is_scalar(given) else tuple(map(real, several("betas", given)))
        if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ConfigurationError(f"betas must be two numbers in [0, 1), got {given}")
        group["betas"] = betas
    if "alpha" in group:
        if not 0.0 <= real(group["alpha"]) <= 1.0:
            raise ConfigurationError(f"alpha must be in [0, 1], got {group['alpha']}")
        group["alpha"] = real(group["alpha"])


def check_state(
    optimizer: Keeper, state_dict: Any
) -> tuple[list[dict[str, Any]], dict[int | str, dict[str, Any]]]:
    """Refuse a saved state that the optimizer would misunderstand, or that none can have saved.

    Returns:
        Its parameter groups, with plain numbers, and the states of the parameters.

    Raises:
        ConfigurationError: Naming the difference, or the hyperparameter that is out of range.
        InputError: If a part is damaged.
    """
    name = type(optimizer).__name__
    given = dict(state_dict) if isinstance(state_dict, dict) else state_dict
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    shards = [shard(parameter) for parameter in parameters]
    if isinstance(given, dict) and given.pop("shards", shards) != shards:
        raise ConfigurationError(
            "this state holds other parts of the parameters than this rank does: load on each rank "
            "the file that it saved, with as many ranks; for another number, save and load with "
            "torch.distributed.checkpoint"
        )
    check_names(name, given, ("state", "param_groups"))
    groups = _checked_groups(optimizer, given["param_groups"])
    states = given["state"]
    owners = [(key, group) for group in groups for key in group["params"]]
    keys = {key for key, _ in owners}
    if not isinstance(states, dict) or not states.keys() <= keys:
        raise refused(f"the state of {name}", f"that of {len(keys)} parameters", states)
    states = {key: _tidied(state) for key, state in states.items()}
    for (key, group), parameter in zip(owners, parameters, strict=True):
        if key in states:
            _check_parameter(optimizer, group, parameter, states[key])
    return groups, states


def _checked_groups(optimizer: Keeper, groups: Any) -> list[dict[str, Any]]:
    name, own = type(optimizer).__name__, optimizer.param_groups
    if not isinstance(groups, list | tuple) or not all(isinstance(each, dict) for each in groups):
        raise refused(f"the parameter groups of {name}", "a list of dictionaries", groups)
    # which torch adds to the defaults, but to no group, when it first loads a state
    expected = {"params", *optimizer.defaults} - {"differentiable"}
    for group in groups:
        missing = expected - set(group)
        if missing:
            raise ConfigurationError(
                f"this state is not that of a {name}, or was saved by another version: its "
                f"parameter groups lack {', '.join(sorted(missing))}"
            )
        keys = group["params"]
        # distributed checkpoints name parameters, others number them
        if not isinstance(keys, list | tuple) or not all(type(key) in (int, str) for key in keys):
            raise refused(f"the parameters of a group of {name}", "a list of numbers", keys)
        for key, value in optimizer.defaults.items():
            if type(value) is bool and key in group and type(group[key]) is not bool:
                raise refused(f"{key} of {name}", "True or False", group[key])
    found, wanted = ([len(group["params"]) for group in some] for some in (groups, own))
    if found != wanted:
        raise ConfigurationError(
            f"this state is of groups of {found} parameters and the optimizer has {wanted}; make "
            "it with the groups that the state was saved with"
        )
    checked = [{**group, "params": mine["params"]} for group, mine in zip(groups, own, strict=True)]
    for group in checked:
        if isinstance(kept := group["state_dtype"], str):
            group["state_dtype"] = getattr(torch, kept, kept)
        check_group(group, name)
    return [
        {**group, "params": list(each["params"])}
        for group, each in zip(checked, groups, strict=True)
    ]


def _check_parameter(
    optimizer: Keeper, group: dict[str, Any], parameter: Tensor, state: Any
) -> None:
    own = optimizer.parameter_state()
    flagged, flags = isinstance(state, dict) and "visited_paths" in state, None
    if flagged:
        flags = state["visited_paths"]
        state = {key: value for key, value in state.items() if key != "visited_paths"}
    _check_names(optimizer, {"step", "paths", *own}, state)
    step = loaded_integer("the step of a parameter", state["step"])
    paths = state["paths"]
    if not isinstance(paths, dict):
        raise refused("the paths of a parameter", "a dictionary", paths)
    of_path = optimizer.path_state(group)
    for path, entry in paths.items():
        _check_names(optimizer, {"last_step", "age", *of_path}, entry)
        if loaded_integer("the number of a path", path) >= optimizer.n_paths:
            raise ConfigurationError(
                f"this state knows path {path} and the loss has {optimizer.n_paths} paths; "
                "load it into an optimizer for the loss that it was saved with"
            )
        loaded_integer("the last step of a path", entry["last_step"], high=step)
        loaded_real("the age of a path", entry["age"])
        _check_values(optimizer, of_path, parameter, entry)
    if parameter.is_meta and isinstance(flags, Tensor) and flags.is_meta:
        flagged = False  # they have no values
    visited = _visited(flags, optimizer.n_paths) if flagged else set[int]()
    if not visited <= set(paths):
        raise ConfigurationError(
            f"this state holds {len(paths)} of the {len(visited)} paths that were visited: call "
            "multipath.optim.prepare_for_checkpoint before torch.distributed.checkpoint.load, "
            "which only fills what is there"
        )
    _check_values(optimizer, own, parameter, state)


def _visited(flags: Any, n_paths: int) -> set[int]:
    """The paths with a flag."""
    name = "visited_paths of a parameter"
    found = loaded_tensor(name, flags, (n_paths,), torch.uint8, low=0, high=1)
    return set(found.nonzero().flatten().tolist())


def _check_values(
    optimizer: Keeper,
    names: dict[str, float | None],
    parameter: Tensor,
    state: dict[str, Any],
) -> None:
    """Refuse numbers and tensors of other kinds than those that begin with these values."""
    for name, initial in names.items():
        value, words = state[name], f"{name} in the state of {type(optimizer).__name__}"
        low = 0.0 if name in optimizer.never_negative else -inf
        if initial is not None:
            if 0.0 < abs(loaded_real(words, value, low)) < LEAST or abs(value) > 1 / LEAST:
                raise refused(words, f"0 or between {LEAST:g} and {1 / LEAST:g}", value)
            continue
        if not isinstance(value, Tensor) or value.dtype not in STATE_DTYPES:
            raise refused(words, "a tensor of bfloat16, float32 or float64", value)
        if value.shape != parameter.shape:
            raise ConfigurationError(
                f"this state is of a parameter of shape {tuple(value.shape)} and the parameter has "
                f"shape {tuple(parameter.shape)}"
            )
        if shard(value) not in (None, shard(parameter)):
            raise ConfigurationError(
                "this state is split over ranks as the parameter is not: make the optimizer after "
                "sharding with as many ranks as saved it, or save and load with "
                "torch.distributed.checkpoint"
            )
        part = local(value)
        if part.is_meta and parameter.is_meta:
            continue  # neither has numbers
        if not is_whole(part):
            raise refused(words, "a dense tensor", part)
        if not bool((part.isfinite() & (part >= low)).all()):
            least = "" if low else " and not negative"
            raise InputError(f"{words} must be finite{least}, and is not; {ANOTHER}")


def _check_names(optimizer: Keeper, expected: set[str], found: Any) -> None:
    name = type(optimizer).__name__
    if not isinstance(found, dict):
        raise refused(f"the state of a parameter of {name}", "a dictionary", found)
    differing = expected ^ set(found)
    if differing:
        raise ConfigurationError(
            f"this state is not that of a {name}, or was saved by another version: it differs in "
            f"{', '.join(sorted(map(str, differing)))}"
        )


def _tidied(state: Any) -> Any:
    """A state with its paths as integers.

    Distributed checkpoints are read into the tensors of a state, but the numbers of a path get an
    entry of their own, under the path as a string.
    """
    if not isinstance(state, dict) or not isinstance(state.get("paths"), dict):
        return state
    paths: dict[Any, Any] = {}
    for path, entry in state["paths"].items():
        number = int(path) if isinstance(path, str) and path.isdecimal() else path
        before = paths.get(number, {})
        both = isinstance(before, dict) and isinstance(entry, dict)
        paths[number] = before | entry if both else entry
    return {**state, "paths": paths}
