"""What ``torch.compile`` should not look into."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch._compile import _disable_dynamo

Method = TypeVar("Method", bound=Callable[..., Any])


def as_written(method: Method) -> Method:
    """Run a function as it is written where a compiled program calls it: one break of its graph."""
    left_alone = _disable_dynamo(method)  # imports the compiler when called, and only then

    @wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        chosen = left_alone if torch.compiler.is_compiling() else method
        return chosen(*arguments, **named)

    return cast(Method, call)
