"""State that is saved and loaded: modules' own as one tensor, and the checks of what is loaded.

What is loaded may come from anywhere. Nothing of it is converted or moved before it is known to be
of the right kind and size, and nothing is assigned before all of it is checked: a load that is
refused leaves the object as it was.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from io import BytesIO
from math import inf, isfinite
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from multipath.errors import ConfigurationError, InputError

from .inputs import described, is_whole

PAGE = 2**16
"""Bytes. The tensor is a whole number of pages long, so that states of one module agree in size."""
ANOTHER = "it is damaged or belongs to something else: load another one"
HEADER = 8
"""Bytes at the start that hold the length of what follows."""


def pack(state: dict[str, Any]) -> Tensor:
    """Serialise plain values and tensors into one uint8 tensor on the CPU.

    Safetensors, averages of state dictionaries and distributed checkpoints take tensors only.
    """
    buffer = BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    size = len(content).to_bytes(HEADER, "little")
    padding = -(HEADER + len(content)) % PAGE
    return torch.frombuffer(bytearray(size + content + bytes(padding)), dtype=torch.uint8)


def unpack(packed: Any, owner: object, names: set[str]) -> dict[str, Any]:
    """The inverse of :func:`pack`; runs no code that the tensor may hold.

    Args:
        packed: What :func:`pack` made.
        owner: The module whose state it is, for the message.
        names: The names that the state must have, and no others.

    Raises:
        InputError: If it is not a packed state, or a damaged one.
    """
    name = type(owner).__name__
    fits = isinstance(packed, Tensor) and packed.dtype == torch.uint8 and packed.ndim == 1
    if not (fits and is_whole(packed)):
        raise InputError(
            f"the extra state of {name} must be one vector of bytes, as its state_dict() has it, "
            f"got {described(packed)}"
        )
    content = packed.cpu().numpy().tobytes()
    size = int.from_bytes(content[:HEADER], "little")
    try:
        state: dict[str, Any] = torch.load(
            BytesIO(content[HEADER : HEADER + size]), map_location="cpu", weights_only=True
        )
        if len(content) < HEADER + size or not isinstance(state, dict) or set(state) != names:
            raise ValueError
    except Exception as error:  # damaged content may be anything
        raise InputError(
            f"the extra state of {name} is damaged; load another checkpoint, or drop its key"
        ) from error
    return state


def loading_strictly() -> bool:
    """Whether the ``load_state_dict`` under way is strict.

    torch tells a module of its extra state, but not of ``strict``: only the call itself knows.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is nn.Module.load_state_dict.__code__:
            return bool(frame.f_locals["strict"])
        frame = frame.f_back
    return True


def check_names(owner: str, state: Any, names: Iterable[str]) -> None:
    """Refuse a state without the right names, or with others.

    Args:
        owner: Whose state it should be, for the message.
        state: What came.
        names: Those it must have.

    Raises:
        InputError: If it is no dictionary.
        ConfigurationError: If names are missing or unknown: it is the state of something else.
    """
    if not isinstance(state, Mapping):
        raise refused(f"the state of {owner}", "a dictionary", state)
    expected = set(names)
    missing, unknown = expected - set(state), set(state) - expected
    if missing or unknown:
        differences = [
            f"{what} {', '.join(sorted(map(repr, which))[:5])}"
            for what, which in (("it lacks", missing), ("it has", unknown))
            if which
        ]
        raise ConfigurationError(
            f"this state is not that of {owner}, or was saved by another version: "
            f"{' and '.join(differences)}"
        )


def loaded_tensor(
    name: str,
    value: Any,
    shape: tuple[int | None, ...],
    dtype: torch.dtype,
    low: float = -inf,
    high: float = inf,
) -> Tensor:
    """A tensor of a loaded state, copied to the CPU once it is known to be what it should.

    Args:
        name: What it is, for the message.
        value: What came.
        shape: Its shape; None stands for any positive size.
        dtype: Its dtype.
        low: The smallest value that it may hold.
        high: The largest. NaN and infinite values are refused in any case.

    Raises:
        InputError: If it is no such tensor.
    """
    check_kind(name, value, shape, dtype)
    found: Tensor = value.detach().cpu().clone()
    if not bool((found.isfinite() & (found >= low) & (found <= high)).all()):
        least = f" and at least {low:g}" if low > -inf else ""
        most = f" and at most {high:g}" if high < inf else ""
        raise InputError(f"{name} must be finite{least}{most}, and is not; {ANOTHER}")
    return found


def check_kind(name: str, value: Any, shape: tuple[int | None, ...], dtype: torch.dtype) -> None:
    """Refuse what is no dense tensor of a shape and dtype; see :func:`loaded_tensor`.

    Raises:
        InputError: If it is no such tensor.
    """
    fits = (
        isinstance(value, Tensor)
        and value.dtype == dtype
        and value.ndim == len(shape)
        and all(
            size == own if own is not None else size > 0
            for size, own in zip(value.shape, shape, strict=True)
        )
        and is_whole(value)
    )
    if not fits:
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        raise refused(name, f"a dense tensor of {dtype} and shape ({sizes})", value)


def loaded_integer(name: str, value: Any, low: int = 0, high: float = inf) -> int:
    """A whole number of a loaded state.

    Raises:
        InputError: If it is none, or out of range.
    """
    if type(value) is not int or not low <= value <= high:
        most = f" and at most {high}" if high < inf else ""
        raise refused(name, f"a whole number, at least {low}{most}", value)
    return value


def loaded_real(name: str, value: Any, low: float = 0.0) -> float:
    """A finite number of a loaded state.

    Raises:
        InputError: If it is none, or too small.
    """
    if type(value) not in (int, float) or not (isfinite(value) and value >= low):
        raise refused(name, f"a finite number, at least {low:g}", value)
    return float(value)


def loaded_generator(name: str, value: Any) -> Tensor:
    """The state of a generator on the CPU.

    Raises:
        InputError: If it is none.
    """
    scratch = torch.Generator()
    check_kind(name, value, tuple(scratch.get_state().shape), torch.uint8)
    state: Tensor = value.detach().cpu().clone()
    try:
        scratch.set_state(state)
    except RuntimeError as error:
        raise InputError(f"{name} is damaged; {ANOTHER}") from error
    return state


def refused(name: str, expected: str, value: Any) -> InputError:
    """The error for a part of a loaded state that is not what it should be."""
    return InputError(f"{name} must be {expected}, got {described(value)}; {ANOTHER}")
