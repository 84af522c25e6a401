"""Filters, designed once and for all, and what is made of them for signals of any kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multipath._internal.modes import trainable
from multipath._internal.tracing import untraced

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

    The designs stay on the CPU, whatever becomes of the module: it may be cast, moved to a device
    without float64, or built without storage and emptied. What is derived from them is cast once to
    the precision of the signals, and then moved to their device. The filters are also named,
    non-persistent buffers, which show where the module is: the designs themselves on the CPU, and
    elsewhere float32 copies.
    """

    def __init__(self) -> None:
        super().__init__()
        self._designs: dict[str, NDArray[np.float64]] = {}
        self._derived: dict[Any, Any] = {}

    def register_filter(self, name: str, design: NDArray[np.float64]) -> None:
        """Add a filter as buffer ``name``."""
        self._designs[name] = np.ascontiguousarray(design)
        self._show(name, torch.device("cpu"))

    def derived(self, key: Any, like: Tensor, make: Callable[[Tensor], Made]) -> Made:
        """What ``make`` returns, cached for a key and the dtype and device of a tensor.

        Args:
            key: Identifies what is made.
            like: A tensor of the dtype and device wanted.
            make: Called with an empty tensor of that dtype and device.
        """
        if torch.compiler.is_compiling():  # what a graph holds of a cache would not be its own
            return make(like.new_empty(0))
        full_key = (key, like.dtype, like.device)
        if full_key not in self._derived:
            # what is made in an evaluation under inference mode, or while torch.func
            # differentiates, must still serve in training
            with untraced(), torch.inference_mode(False), torch.no_grad():
                self._derived[full_key] = vanishing_tails(make)(
                    torch.empty(0, dtype=like.dtype, device=like.device)
                )
        return self._derived[full_key]  # type: ignore[no-any-return]

    def design(self, name: str, dtype: torch.dtype) -> Tensor:
        """A filter as it was designed, on the CPU."""
        return torch.from_numpy(self._designs[name]).to(dtype)

    def filter(self, name: str, like: Tensor) -> Tensor:
        """A filter in the precision and on the device of a tensor."""
        return self.design(name, like.dtype).to(like.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FilterBuffers:
        """Follow the module to another device, but not to another dtype."""
        places = {name: self.get_buffer(name).device for name in self._designs}
        for name in places:
            del self._buffers[name]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, place in places.items():
            self._show(name, _destination(fn, place))
        self._derived.clear()
        return self

    @trainable
    def _show(self, name: str, device: torch.device) -> None:
        """Make the buffer of a filter anew, on a device that may lack float64."""
        shown = self.design(name, torch.float64 if device.type == "cpu" else torch.float32)
        self.register_buffer(name, shown.to(device), persistent=False)

    def __getstate__(self) -> dict[str, Any]:
        """State without what is derived, which copies and pickles derive anew."""
        return {**self.__dict__, "_derived": {}}


def _destination(fn: Callable[[Tensor], Tensor], device: torch.device) -> torch.device:
    """Where a function of ``Module._apply`` brings what is on a device."""
    try:
        return fn(torch.empty(0, device=device)).device
    except NotImplementedError:  # nothing leaves the meta device, but filters are made anew
        return fn(torch.empty(0, device="cpu")).device
