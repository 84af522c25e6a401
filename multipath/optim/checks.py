"""What path-wise optimizers refuse: hyperparameters out of range, states that are not theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from multipath.errors import ConfigurationError

if TYPE_CHECKING:
    from .base import PathwiseOptimizer

CLOCKS = ("paths", "returns")
STATE_DTYPES = (None, torch.bfloat16, torch.float32, torch.float64)


def check_group(group: dict[str, Any], name: str) -> None:
    """Refuse a parameter group with values outside the range of the algorithm.

    Raises:
        ConfigurationError: Naming the value and its range.
    """
    for key in ("lr", "weight_decay", "eps"):
        if not group.get(key, 0.0) >= 0.0:
            raise ConfigurationError(f"{key} must not be negative, got {group[key]}")
    betas = group.get("betas", (0.0, 0.0))
    pair = isinstance(betas, tuple | list) and len(betas) == 2
    if not (pair and all(0.0 <= beta < 1.0 for beta in betas)):
        raise ConfigurationError(f"betas must be two numbers in [0, 1), got {betas}")
    if not 0.0 <= group.get("alpha", 1.0) <= 1.0:
        raise ConfigurationError(f"alpha must be in [0, 1], got {group['alpha']}")
    if group["clock"] not in CLOCKS:
        raise ConfigurationError(f'clock must be "paths" or "returns", got {group["clock"]!r}')
    if group["state_dtype"] not in STATE_DTYPES:
        raise ConfigurationError(
            "state_dtype must be None, torch.bfloat16, torch.float32 or torch.float64, got "
            f"{group['state_dtype']}"
        )
    if any(parameter.is_complex() for parameter in group["params"]):
        raise ConfigurationError(
            f"{name} does not support complex parameters; optimise torch.view_as_real of them"
        )


def check_state(optimizer: PathwiseOptimizer, state_dict: dict[str, Any]) -> None:
    """Refuse a saved state that the optimizer would misunderstand.

    Raises:
        ConfigurationError: Naming the difference.
    """
    name = type(optimizer).__name__
    groups = state_dict["param_groups"]
    # which torch adds to the defaults, but to no group, when it first loads a state
    expected = set(optimizer.defaults) - {"differentiable"}
    for group in groups:
        missing = expected - set(group)
        if missing:
            raise ConfigurationError(
                f"this state is not that of a {name}, or was saved by another version: its "
                f"parameter groups lack {', '.join(sorted(missing))}"
            )
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    owners = [(key, group) for group in groups for key in group["params"]]
    for (key, group), parameter in zip(owners, parameters, strict=False):  # torch counts them
        state = state_dict["state"].get(key)
        if state is None:
            continue
        _check_names(name, {"step", "paths", *optimizer.parameter_state()}, state)
        for path, entry in state["paths"].items():
            _check_names(name, {"last_step", "age", *optimizer.path_state(group)}, entry)
            if path >= optimizer.n_paths:
                raise ConfigurationError(
                    f"this state knows path {path} and the loss has {optimizer.n_paths} paths; "
                    "load it into an optimizer for the loss that it was saved with"
                )
            for kept in entry.values():
                if isinstance(kept, torch.Tensor) and kept.shape != parameter.shape:
                    raise ConfigurationError(
                        f"this state is of a parameter of shape {tuple(kept.shape)} and the "
                        f"parameter has shape {tuple(parameter.shape)}"
                    )


def _check_names(name: str, expected: set[str], found: dict[str, Any]) -> None:
    differing = expected ^ set(found)
    if differing:
        raise ConfigurationError(
            f"this state is not that of a {name}, or was saved by another version: it differs in "
            f"{', '.join(sorted(differing))}"
        )
