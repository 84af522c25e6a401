"""A device that is not there: it computes on the CPU, and refuses what accelerators refuse.

Its tensors say that they are on ``"meta"``, and hold a tensor of the CPU that nobody else sees.
While :class:`SimulatedDevice` is entered, everything made on ``"meta"`` or moved there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")
WIDE = (torch.float64, torch.complex128)
# What copies between devices, or takes its operands from anywhere.
MOVES = ("_to_copy", "copy_", "_foreach_copy_")
INDEXES = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
# What waits for the device, since the host needs to know a value or how many there are.
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique_dim", "_unique2")


class Remote(Tensor):
    """A tensor of the simulated device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Remote:
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation: Any, *_: Any) -> Any:
        raise AssertionError(f"{operation} outside of the simulation")

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Remote({self.inner})"


class SimulatedDevice(TorchDispatchMode):
    """Simulates the device while it is entered.

    Args:
        float64: Whether the device has numbers in double precision.
        waits: Whether the host may wait for the device.
        copies: Whether the host may copy to the device and wait for the copy, as ``.to(device)``
            does without ``non_blocking=True``, and ``torch.tensor(numbers, device=device)`` always.
    """

    def __init__(self, *, float64: bool = False, waits: bool = True, copies: bool = True) -> None:
        super().__init__()
        self.float64, self.waits, self.copies = float64, waits, copies
        self._numbers = _Numbers()

    def __enter__(self) -> SimulatedDevice:
        self._numbers.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._numbers.__exit__(*raised)

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = operation.overloadpacket.__name__
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        remote = [each for each in tensors if isinstance(each, Remote)]
        lost = [each for each in tensors if each.device == DEVICE and not isinstance(each, Remote)]
        assert not lost, f"{operation} on tensors whose numbers the simulation has lost"
        there = kwargs.get("device")
        makes_remote = bool(remote) if there is None else torch.device(there) == DEVICE
        if remote:
            self._refuse_mixtures(operation, name, tensors)
            if not self.waits:
                self._refuse_waiting(operation, name, args, kwargs)
        if makes_remote and not self.copies:
            self._refuse_copies(operation, name, args, kwargs)
        if there is not None and makes_remote:
            kwargs["device"] = torch.device("cpu")
        if not self.float64 and kwargs.get("dtype") in WIDE and (remote or makes_remote):
            raise TypeError(f"{operation}: the device has no {kwargs['dtype']}")
        found = operation(*_inside(args), **_inside(kwargs))
        if not makes_remote or (name == "copy_" and not isinstance(args[0], Remote)):
            return args[0] if name == "copy_" else found
        found = tree_map_only(Tensor, self._wrap, found)
        if not remote:
            return found
        return return_and_correct_aliasing(operation, args, kwargs, found)

    def _wrap(self, inner: Tensor) -> Tensor:
        if inner.dtype in WIDE and not self.float64:
            raise TypeError(f"the device has no {inner.dtype}")
        return Remote(inner.resolve_conj().resolve_neg())

    @staticmethod
    def _refuse_mixtures(operation: Any, name: str, tensors: Iterable[Tensor]) -> None:
        if name in MOVES or name in INDEXES:
            return
        strays = [each.shape for each in tensors if not isinstance(each, Remote) and each.dim()]
        if strays:
            raise RuntimeError(f"{operation} on tensors of two devices: {strays} are on the CPU")

    @staticmethod
    def _refuse_waiting(operation: Any, name: str, args: Any, kwargs: Any) -> None:
        back = name == "_to_copy" and torch.device(kwargs.get("device", DEVICE)) != DEVICE
        back = back or (name == "copy_" and not isinstance(args[0], Remote))
        masks = name in INDEXES and any(
            each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1]
        )
        counts = name == "repeat_interleave" and kwargs.get("output_size") is None
        if name in WAITS or back or masks or counts:
            raise RuntimeError(f"{operation} waits for the device")

    @staticmethod
    def _refuse_copies(operation: Any, name: str, args: Any, kwargs: Any) -> None:
        """A copy from the CPU blocks the host until the device has done all before it."""
        if name not in ("_to_copy", "copy_"):
            return
        source = args[name == "copy_"]
        asynchronous = kwargs.get("non_blocking") or (name == "copy_" and True in args[2:])
        if not isinstance(source, Remote) and not asynchronous:
            raise RuntimeError(f"{operation} waits for a copy of {tuple(source.shape)}")


class _Numbers(TorchFunctionMode):
    """Makes tensors of Python's numbers on the CPU first: torch would make them without storage."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.as_tensor) and not isinstance(args[0], Tensor):
            there = torch.device(kwargs.pop("device", None) or torch.get_default_device())
            return function(*args, **kwargs, device="cpu").to(there)
        if function is Tensor.new_tensor:
            dtype, there = kwargs.get("dtype", args[0].dtype), args[0].device
            return torch.tensor(args[1], dtype=dtype, device="cpu").to(there)
        if function is Tensor.tolist and isinstance(args[0], Remote):
            return args[0].cpu().tolist()
        if function in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], Remote):
            place = args[1] if isinstance(args[1], tuple) else (args[1],)
            place = tuple(
                torch.tensor(p, device="cpu") if isinstance(p, list | range) else p for p in place
            )
            args = (args[0], place, *args[2:])
        return function(*args, **kwargs)

    @staticmethod
    def _index(each: Any) -> Any:
        return torch.tensor(each, device="cpu") if isinstance(each, list | range) else each


def _inside(values: Any) -> Any:
    return tree_map_only(Remote, lambda each: each.inner, values)
