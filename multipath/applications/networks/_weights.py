"""Files of published weights."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path}: this is not a readable checkpoint of tensors ({str(error)[:120]})"
        ) from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigurationError(
            f'{path}: expected a state dict, or one under the key "model", got '
            f"{type(content).__name__}"
        )
    return state


def load_weights(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load them, all of them and nothing else.

    Raises:
        ConfigurationError: If names or shapes do not fit.
    """
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ConfigurationError(
            f"{path}: these are not weights of {type(network).__name__} ({str(error)[:300]})"
        ) from error


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
