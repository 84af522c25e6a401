"""The extra state of a module as one tensor, which every way of saving modules can handle."""

from __future__ import annotations

import sys
from io import BytesIO
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from multipath.errors import InputError

PAGE = 2**16
"""Bytes. The tensor is a whole number of pages long, so that states of one module agree in size."""
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
    if not (isinstance(packed, Tensor) and packed.dtype == torch.uint8 and packed.ndim == 1):
        kind = f"{packed.dtype}" if isinstance(packed, Tensor) else type(packed).__name__
        raise InputError(
            f"the extra state of {name} must be one vector of bytes, as its state_dict() has it, "
            f"got {kind}"
        )
    content = packed.cpu().numpy().tobytes()
    size = int.from_bytes(content[:HEADER], "little")
    try:
        state: dict[str, Any] = torch.load(
            BytesIO(content[HEADER : HEADER + size]), map_location="cpu", weights_only=True
        )
        if len(content) < HEADER + size or set(state) != names:
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
