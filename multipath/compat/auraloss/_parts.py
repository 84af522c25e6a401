"""What the modules of this package share: reductions, and refusals of a kind that callers know."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from multipath._internal.inputs import check_real
from multipath._internal.settings import choice
from multipath.errors import InputError, MultipathError

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(reduction: Any) -> str:
    """One of the names of a reduction.

    Raises:
        ConfigurationError: If it is none of them.
    """
    return str(choice("reduction", reduction, *REDUCTIONS))


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


def refusal(error: type[MultipathError], known: type[Exception], message: str) -> Exception:
    """An error of multipath that is also the built-in one which code for auraloss may expect."""
    made: Exception = type(error.__name__, (error, known), {"__module__": error.__module__})(
        message
    )
    return made
