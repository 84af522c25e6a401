"""Filters as named buffers that follow the device of their module and the signals' precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .tracing import untraced

Made = TypeVar("Made")
Function = TypeVar("Function", bound=Callable[..., Any])


def vanishing_tails(design: Function) -> Function:
    """Tails of windows and wavelets underflow by design: numpy need not report it in a function."""

    @wraps(design)
    def quietly(*arguments: Any, **named: Any) -> Any:
        with np.errstate(under="ignore"):
            return design(*arguments, **named)

    return cast(Function, quietly)


class FilterBuffers(nn.Module):
    """Holds filters designed in float64 and what is derived from them for one dtype and device.

    The filters are named, non-persistent buffers. They move with the module (``.to(device)``) but
    keep float64 whatever the module is cast to, since casting down and up again would lose their
    last digits; :meth:`derived` casts them once to the precision of the signal.
    """

    def __init__(self) -> None:
        super().__init__()
        self._designs: dict[str, NDArray[np.float64]] = {}
        self._derived: dict[Any, Any] = {}

    def register_filter(self, name: str, design: NDArray[np.float64]) -> None:
        """Add a filter as buffer ``name``."""
        self._designs[name] = np.ascontiguousarray(design)
        self.register_buffer(name, torch.from_numpy(self._designs[name]), persistent=False)

    def derived(self, key: Any, like: Tensor, make: Callable[[Tensor], Made]) -> Made:
        """What ``make`` returns, cached for a key and the dtype and device of a tensor.

        Args:
            key: Identifies what is made.
            like: A tensor of the dtype and device wanted.
            make: Called with an empty tensor of that dtype and device.
        """
        full_key = (key, like.dtype, like.device)
        if full_key not in self._derived:
            # what is made in an evaluation under inference mode, or while torch.func
            # differentiates, must still serve in training
            with untraced(), torch.inference_mode(False), torch.no_grad():
                self._derived[full_key] = vanishing_tails(make)(
                    torch.empty(0, dtype=like.dtype, device=like.device)
                )
        return self._derived[full_key]  # type: ignore[no-any-return]

    def filter(self, name: str, like: Tensor) -> Tensor:
        """A filter in the precision and on the device of a tensor."""
        return self.get_buffer(name).to(device=like.device, dtype=like.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FilterBuffers:
        """Follow the module to another device, but not to another dtype."""
        for name in self._designs:
            del self._buffers[name]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        device = fn(torch.zeros(1)).device
        for name, design in self._designs.items():
            # some accelerators have no float64
            dtype = torch.float32 if device.type == "mps" else torch.float64
            moved = torch.as_tensor(design, dtype=dtype, device=device)
            self.register_buffer(name, moved, persistent=False)
        self._derived.clear()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """State without what is derived, which copies and pickles derive anew."""
        return {**self.__dict__, "_derived": {}}
