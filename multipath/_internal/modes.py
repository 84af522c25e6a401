"""The modes of torch: modules evaluated in passing, and tensors that outlast inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import nn

Method = TypeVar("Method", bound=Callable[..., Any])


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """In evaluation mode, each module back in its own afterwards."""
    training = [module for module in network.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def trainable(function: Method) -> Method:
    """Make what a function makes under ``torch.inference_mode()`` of use to training.

    Tensors made for inference can be neither changed nor part of a graph afterwards.
    """

    @wraps(function)
    def outside(*arguments: Any, **named: Any) -> Any:
        if not torch.is_inference_mode_enabled():
            return function(*arguments, **named)
        with torch.inference_mode(False), torch.no_grad():  # the first alone enables gradients
            return function(*arguments, **named)

    return cast(Method, outside)
