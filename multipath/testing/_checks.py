"""What the conformance classes share: comparisons, and failures that say what to repair."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from unittest import SkipTest

import numpy as np
import torch
from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Fail with a message unless a condition holds; unlike ``assert``, also under ``python -O``."""
    __tracebackhide__ = True  # pytest then shows the line of the caller
    if not condition:
        raise AssertionError(message)


def skip(reason: str) -> NoReturn:
    """Skip a check that does not apply, in a way that pytest and unittest both understand."""
    raise SkipTest(reason)


def undefined(case: object, method: str, purpose: str) -> NotImplementedError:
    """The error to raise where a subclass has to define a method."""
    return NotImplementedError(f"{type(case).__name__} must define {method}: {purpose}")


def require_close(
    actual: Tensor, expected: Tensor, tolerance: float, message: str, by_row: bool = False
) -> None:
    """Fail unless two tensors agree, relative to the largest number expected (in each row)."""
    __tracebackhide__ = True
    require(
        actual.shape == expected.shape,
        f"{message}. Expected shape {tuple(expected.shape)}, got {tuple(actual.shape)}",
    )
    if not expected.numel():
        return
    a, e = (
        x.detach().cpu().double().reshape(len(x) if by_row else 1, -1) for x in (actual, expected)
    )
    allowed = tolerance * e.abs().amax(dim=1) + 1e-300
    error = (a - e).abs().amax(dim=1)
    wrong = ~(error <= allowed)  # NaN is wrong too
    if not bool(wrong.any()):
        return
    row = int(wrong.nonzero()[0])
    place = f" (row {row})" if by_row else ""
    raise AssertionError(
        f"{message}. Expected{place} {_brief(e[row])}, got {_brief(a[row])}: off by "
        f"{float(error[row]):.3g}, allowed {float(allowed[row]):.3g}"
    )


def require_finite(values: Tensor, message: str) -> None:
    """Fail if anything is NaN or infinite."""
    __tracebackhide__ = True
    bad = int((~torch.isfinite(values)).sum())
    require(bad == 0, f"{message}: {bad} of {values.numel()} numbers are NaN or infinite")


def same(first: Any, second: Any) -> bool:
    """Whether nested states are equal to the last bit; NaN equals NaN."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        alike = first.dtype == second.dtype and first.shape == second.shape
        return alike and bool(((first == second) | (first.isnan() & second.isnan())).all())
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and bool(first == second)


def through_file(state: Any, owner: str) -> Any:
    """Save and load a state as a checkpoint does, without running code from the file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    try:
        return torch.load(buffer, weights_only=True)
    except Exception as error:
        raise AssertionError(
            f"the state_dict of {owner} must load with torch.load(weights_only=True): save "
            f"tensors, numbers, strings, lists and dictionaries only. Got: {error}"
        ) from error


def value_and_gradient(value: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """A value and its gradient with respect to x, zero where the value does not depend on x."""
    if not value.requires_grad:
        return value, torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(value, x, retain_graph=True, allow_unused=True)
    return value.detach(), torch.zeros_like(x) if gradient is None else gradient


@contextmanager
def global_randomness_untouched(what: str) -> Iterator[None]:
    """Fail if a global generator of torch, numpy or Python moves inside."""
    __tracebackhide__ = True
    before = _states()
    yield
    after = _states()
    moved = [name for name, state in before.items() if not same(state, after[name])]
    require(
        not moved,
        f"{what} must leave global random state alone and changed that of "
        f"{', '.join(moved)}; use an explicit torch.Generator",
    )


def _states() -> dict[str, Any]:
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002  (looked at, not used)
    return {"torch": torch.get_rng_state(), "numpy": repr(legacy), "Python": random.getstate()}


def _brief(values: Tensor, most: int = 6) -> str:
    numbers = ", ".join(f"{float(value):.6g}" for value in values[:most])
    return f"[{numbers}{', ...' if len(values) > most else ''}]"
