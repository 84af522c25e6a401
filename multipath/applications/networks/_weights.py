"""Files of published weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from multipath._internal.inputs import brief, described, is_whole
from multipath.errors import ConfigurationError


def weights_file(weights: str | Path | None, variable: str, what: str) -> Path:
    """The file, given or named by an environment variable.

    Raises:
        ConfigurationError: If neither is there, or the file is not.
    """
    chosen = weights if weights is not None else os.environ.get(variable)
    if not chosen:
        raise ConfigurationError(
            f"no weights: pass the file of {what}, or name it in the environment variable "
            f"{variable}"
        )
    path = Path(chosen).expanduser()
    if not path.is_file():
        raise ConfigurationError(f"{path}: there is no such file; it should hold {what}")
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint, itself or under its key ``"model"``.

    Raises:
        ConfigurationError: If the file is no checkpoint of tensors.
    """
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged content may be anything
        raise ConfigurationError(
            f"{path}: this is not a readable checkpoint of tensors ({brief(error)})"
        ) from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigurationError(
            f'{path}: expected a state dict, or one under the key "model", got '
            f"{type(content).__name__}"
        )
    for name, value in state.items():
        if not isinstance(name, str) or value.is_complex() or not is_whole(value):
            raise ConfigurationError(
                f"{path}: expected dense, real weights, got {described(value)} for {name!r:.80}"
            )
        if not bool(value.isfinite().all()):
            raise ConfigurationError(f"{path}: {name} holds NaN or infinite values")
    return state


Network = TypeVar("Network", bound=nn.Module)


def build_with_weights(
    build: Callable[[dict[str, Tensor]], Network], state: dict[str, Tensor], path: Path, what: str
) -> Network:
    """Build a network of the sizes that weights have and load them, all of them and nothing else.

    Args:
        build: Makes the network.
        state: The weights.
        path: Their file, for the message.
        what: What they should be weights of.

    Raises:
        ConfigurationError: If names, shapes or dtypes do not fit.
    """
    try:
        network = build(state)
        for name, own in network.state_dict().items():
            if name in state and state[name].is_floating_point() != own.is_floating_point():
                raise TypeError(f"{name} is {state[name].dtype}")
        network.load_state_dict(state, strict=True)
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise ConfigurationError(
            f"{path}: these are not weights of {what} ({brief(error)})"
        ) from error
    return network


def _numpy_globals() -> list[Any]:
    """What published checkpoints hold of numpy beside the weights: counters, orders of data."""
    array, scalar = np.zeros(1).__reduce__()[0], np.int64(0).__reduce__()[0]
    old = "numpy.core.multiarray"
    return [
        array,
        scalar,
        (array, f"{old}._reconstruct"),
        (scalar, f"{old}.scalar"),
        np.ndarray,
        np.dtype,
        *{type(np.dtype(code)) for code in "?bhilqBHILQfd"},
    ]
