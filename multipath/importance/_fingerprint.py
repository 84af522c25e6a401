"""Whether two calls are about the same work."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ._problem import Batch, Problem

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Of functions, other in each process."""


def fingerprint(problem: Problem, batches: Sequence[Batch], *settings: Any) -> str:
    """Of all that derivatives depend on, as far as it can be seen: not of the code of functions.

    Args:
        problem: Loss, encoder, decoder and weights.
        batches: The examples.
        *settings: Anything whose ``repr`` matters.
    """
    loss = problem.loss
    described = [repr(settings), repr(loss), str(loss.paths.keys), loss.reduction]
    tensors = [
        *problem.weights.values(),
        loss.path_weights,
        *(value for value in loss.state_dict().values() if isinstance(value, Tensor)),
        *chain.from_iterable((b.inputs, b.target, *b.context) for b in batches),
    ]
    for module in (problem.encoder, problem.decoder):
        if isinstance(module, nn.Module):
            described += [repr(module), *_settings(module)]
            tensors += [*module.parameters(), *module.buffers()]
        else:
            described.append(getattr(module, "__qualname__", type(module).__qualname__))
    digest = hashlib.sha256(ADDRESS.sub("", repr(described)).encode())
    for tensor in tensors:
        plain = tensor.detach().cpu().contiguous()
        digest.update(repr((tuple(plain.shape), plain.dtype)).encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _settings(module: nn.Module) -> Iterator[str]:
    """What a module and its parts keep as plain numbers and words: ``repr`` may not show it."""
    for name, part in module.named_modules():
        for key, value in sorted(vars(part).items()):
            if isinstance(value, bool | int | float | str):
                yield f"{name}.{key}={value!r}"
