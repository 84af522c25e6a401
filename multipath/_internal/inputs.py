"""Tensors that come in at run time: what else was passed, and what to do about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from multipath.errors import InputError


def check_tensor(value: Any, name: str = "") -> None:
    """Refuse what is no dense tensor.

    Args:
        value: What came.
        name: The argument, if there are several that it could have been.

    Raises:
        InputError: If it is none.
    """
    if isinstance(value, Tensor) and value.layout == torch.strided:
        return
    if isinstance(value, Tensor):
        kind, remedy = f"one of layout {value.layout}", "convert it with .to_dense()"
    elif value is None:
        kind, remedy = "None", "pass one"
    elif isinstance(value, np.ndarray | np.generic):
        kind, remedy = f"numpy.{type(value).__name__}", "convert it with torch.from_numpy"
    elif isinstance(value, list | tuple):
        kind, remedy = type(value).__name__, "convert it with torch.stack or torch.tensor"
    else:
        kind, remedy = type(value).__name__, "convert it with torch.as_tensor"
    raise InputError(f"{name and f'{name}: '}expected a torch.Tensor, got {kind}; {remedy}")


def check_real(value: Any, name: str = "", what: str = "signals") -> None:
    """Refuse what is no dense tensor of real floating-point numbers, batch first and not empty.

    Args:
        value: What came.
        name: As in :func:`check_tensor`.
        what: What it should hold.

    Raises:
        InputError: If it is not; the message says what was expected and what came.
    """
    check_tensor(value, name)
    name = name and f"{name}: "
    if not value.is_floating_point():
        remedy = "pass its modulus" if value.is_complex() else "convert it with .float()"
        raise InputError(
            f"{name}expected a real floating-point tensor of {what}, got {value.dtype}; {remedy}"
        )
    if value.ndim < 1 or 0 in value.shape:
        raise InputError(
            f"{name}expected {what} of shape (..., T), none empty, got {tuple(value.shape)}"
        )
