"""Tensors that come in at run time: what else was passed, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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


def described(value: Any) -> str:
    """What came, in a few words on one line: never the numbers of a tensor, which may be many."""
    if isinstance(value, Tensor):
        where = "" if value.device.type == "cpu" else f" on {value.device}"
        layout = "" if value.layout == torch.strided else f" and layout {value.layout}"
        return f"{value.dtype} of shape {tuple(value.shape)}{layout}{where}"
    if value is None or isinstance(value, bool | int | float | str):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return type(value).__name__


def is_whole(value: Tensor) -> bool:
    """Whether each number of a tensor is there, at a place of its own in memory.

    Sparse, quantized and nested tensors are not of that kind, nor are those without memory (on the
    device ``meta``) or views that stretch little memory over many numbers, which may be more than
    would ever fit once they are converted.
    """
    return is_dense(value) and not stretched(value.shape, value.stride())


def is_dense(value: Tensor) -> bool:
    """Whether a tensor has numbers that can be converted; :func:`is_whole` asks for more."""
    strided = value.layout == torch.strided and not value.is_nested
    # other subclasses may keep their numbers elsewhere
    empty = value.is_meta and type(value) in (Tensor, nn.Parameter)
    return strided and not value.is_quantized and not empty


def stretched(shape: Sequence[int], strides: Sequence[int], unit: int = 1) -> bool:
    """Whether several numbers of a strided array must share a place in memory.

    Args:
        shape: Of the array.
        strides: Of the array.
        unit: How far numbers lie apart that follow each other, in the unit of the strides.
    """
    if 0 in shape:
        return False
    reach = sum((size - 1) * abs(stride) for size, stride in zip(shape, strides, strict=True))
    return prod(shape) * unit > reach + unit


def brief(error: BaseException) -> str:
    """What an error says, on one line and not too long; its class if it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."
