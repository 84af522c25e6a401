"""What the modules of this package share: reductions, and refusals of a kind that callers know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from multipath._internal.inputs import check_real, described
from multipath._internal.settings import choice, is_scalar
from multipath.errors import ConfigurationError, InputError, MultipathError

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(reduction: Any) -> str:
    """One of the names of a reduction.

    Raises:
        ConfigurationError: If it is none of them.
    """
    return str(choice("reduction", reduction, *REDUCTIONS))


def number(check: Callable[..., float], name: str, value: Any, *unit: str) -> None:
    """Refuse what is no number, or one that a check of settings refuses.

    Raises:
        ConfigurationError: If it is; also a ``TypeError`` if it is no number.
    """
    if not is_scalar(value):
        message = f"{name} must be a number, got {described(value)}"
        raise refusal(ConfigurationError, TypeError, message)
    check(name, value, *unit)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Losses after a reduction over all that they hold."""
    match reduction:
        case "mean":
            return losses.mean()
        case "sum":
            return losses.sum()
    return losses


def check_signals(signals: Any, name: str = "") -> None:
    """Refuse what is no batch of real signals.

    Raises:
        InputError: If it is none; also a ``RuntimeError``.
    """
    try:
        check_real(signals, name)
    except InputError as error:
        raise refusal(InputError, RuntimeError, str(error)) from None


def check_alike(input: Tensor, target: Tensor, x: Tensor, y: Tensor) -> None:
    """Refuse signals of which one of the things compared, x and y, cannot be broadcast.

    Raises:
        InputError: If they cannot; also a ``RuntimeError``.
    """
    try:
        torch.broadcast_shapes(x.shape, y.shape)
    except RuntimeError:
        message = (
            "input and target must have the same shape, got "
            f"{tuple(input.shape)} and {tuple(target.shape)}"
        )
        raise refusal(InputError, RuntimeError, message) from None


def refusal(error: type[MultipathError], known: type[Exception], message: str) -> Exception:
    """An error of multipath that is also the built-in one which code for auraloss may expect."""
    made: Exception = type(error.__name__, (error, known), {"__module__": error.__module__})(
        message
    )
    return made
