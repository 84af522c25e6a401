"""Optimizers inside other objects: which one is it whose ``step()`` runs?"""

from __future__ import annotations

from typing import Any, cast

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from multipath.errors import ConfigurationError

NAMES = ("optimizer", "base_optimizer", "_optimizer")
"""What wrappers call the optimizer, or the further wrapper, inside."""


def innermost_optimizer(given: Any) -> Optimizer:
    """The optimizer that a training step ends with, inside any number of wrappers.

    Lightning, Fabric and Accelerate wrap optimizers, and so do methods such as SAM and Lookahead.
    Wrappers may look like the optimizer inside, but their own ``step()`` need not be what runs.

    Args:
        given: An optimizer, or an object that holds one.

    Raises:
        ConfigurationError: If there is no optimizer, several, or one that was not constructed as
            torch's are, so that its steps cannot be observed.
    """
    found: Any = given
    seen = [given]
    while inside := _held_by(found, seen):
        if len(inside) > 1 and _can_be_hooked(found):
            break  # one optimizer made of several, whose own step runs theirs
        if len(inside) > 1:
            raise ConfigurationError(
                f"{type(found).__name__} holds {len(inside)} optimizers; call redraw_after with "
                "the one whose step() ends a training step"
            )
        found = inside[0]
        seen.append(found)
    if isinstance(given, LRScheduler) or not _can_be_hooked(found):
        raise ConfigurationError(
            "redraw_after takes the optimizer whose step() ends a draw, a torch.optim.Optimizer, "
            f"got {type(given).__name__}; if that wraps an optimizer, pass the one inside"
        )
    return cast(Optimizer, found)


def _can_be_hooked(found: Any) -> bool:
    """Whether this is an optimizer that was constructed as torch's are."""
    return isinstance(found, Optimizer) and hasattr(found, "_optimizer_step_post_hooks")


def _held_by(holder: Any, seen: list[Any]) -> list[Any]:
    """Optimizers among the attributes of an object, or further wrappers under the usual names."""
    attributes = dict(getattr(holder, "__dict__", {}))
    if not attributes and not isinstance(holder, type):  # an object with slots
        attributes = {name: getattr(holder, name, None) for name in NAMES}
    held = [each for each in attributes.values() if isinstance(each, Optimizer)]
    held = held or [attributes[name] for name in NAMES if hasattr(attributes.get(name), "step")]
    distinct = {id(each): each for each in held}.values()
    return [each for each in distinct if not any(each is other for other in seen)]
