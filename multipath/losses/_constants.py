"""A network as a constant: run without touching it, whoever else is using it meanwhile."""

from __future__ import annotations

import copy
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import nn

TABLES = {name for name, value in vars(nn.Module()).items() if isinstance(value, dict)}
"""The attributes in which every module keeps its parameters, buffers, children and hooks."""


class Constants:
    """Makes stand-ins of modules: modules of their own, with the same weights, detached.

    They are in evaluation mode. Hooks, modes and attributes set on a stand-in are seen neither by
    the network nor by other threads that use it. Only the tree of modules is copied, not its
    tensors. Attributes that lead to a module or a weight (lists, bound methods, closures) lead to
    the stand-in; everything else is shared. Make one object per use: the network may change.

    Args:
        network: The network whose parameters are constants.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
        >>> constant = Constants(network)(network)
        >>> constant[1].training, network[1].training
        (False, True)
        >>> constant[0].weight.requires_grad, constant[0].weight.equal(network[0].weight)
        (False, True)
    """

    def __init__(self, network: nn.Module) -> None:
        # each original is kept along: as long as it lives, no other object can have its ID
        self._made: dict[int, tuple[Any, Any]] = {
            id(weight): (weight, weight.detach()) for weight in network.parameters()
        }

    def __call__(self, value: Any) -> Any:
        """The stand-in of a module, or another value that leads to stand-ins."""
        if id(value) not in self._made:
            self._made[id(value)] = value, value  # for what leads back to itself
            self._made[id(value)] = value, self._replaced(value)
        return self._made[id(value)][1]

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            return self._module(value)
        parts = _parts(value)
        found = [self(part) for part in parts]
        changed = any(new is not old for new, old in zip(found, parts, strict=True))
        return _rebuilt(value, found) if changed else value

    def _module(self, module: nn.Module) -> nn.Module:
        attributes = module.__dict__.copy()
        if isinstance(original := attributes["_modules"].get("_orig_mod"), nn.Module):
            # compiled code runs the original, never a stand-in
            return self(original)  # type: ignore[no-any-return]
        attributes.pop("_compiled_call_impl", None)
        twin: nn.Module = object.__new__(type(module))
        self._made[id(module)] = module, twin
        for name, value in attributes.items():
            attributes[name] = self._table(name, value) if name in TABLES else self(value)
        twin.__dict__.update(attributes, training=False)
        state: Any = object.__getstate__(module)
        slots = state[1] if isinstance(state, tuple) else {}
        for name, value in slots.items():
            object.__setattr__(twin, name, self(value))
        return twin

    def _table(self, name: str, table: dict[Any, Any]) -> dict[Any, Any]:
        """A copy, with what belongs to the network replaced; hooks of others stay as they are."""
        replaced = table.copy()
        for key, value in replaced.items():
            if "hooks" not in name or isinstance(value, MethodType):
                replaced[key] = self(value)
        return replaced


def _parts(value: Any) -> list[Any]:
    """What a value consists of, as far as it may lead to a module."""
    match value:
        case list() | tuple():
            return list(value)
        case dict():
            return list(value.values())
        case MethodType():
            return [value.__self__]
        case partial():
            return [value.func, value.args, value.keywords]
        case FunctionType(__closure__=tuple(cells)):
            return list(cells)
        case CellType():
            try:
                return [value.cell_contents]
            except ValueError:  # not yet filled
                return []
    return []


def _rebuilt(value: Any, parts: list[Any]) -> Any:
    """The same kind of value from other parts."""
    match value:
        case list() | dict():
            twin: Any = copy.copy(value)
            if isinstance(value, dict):
                twin.update(zip(list(value), parts, strict=True))
            else:
                twin[:] = parts
            return twin
        case tuple():
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        case MethodType():
            return MethodType(value.__func__, *parts)
        case partial():
            return partial(parts[0], *parts[1], **parts[2])
        case CellType():
            return CellType(*parts)
    function = FunctionType(
        value.__code__, value.__globals__, value.__name__, value.__defaults__, tuple(parts)
    )
    function.__kwdefaults__ = value.__kwdefaults__
    return function
