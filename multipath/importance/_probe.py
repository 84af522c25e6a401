"""Checks made before the long work: that encoder and decoder are functions, item by item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from multipath.errors import ConfigurationError, InputError

from ._problem import Batch, Problem

REPEATS = 3
"""How often a function is called on the same input to see whether it is deterministic."""


def probe(problem: Problem, batch: Batch) -> int:
    """Refuse what theta-importance would give wrong numbers for, and return U.

    Raises:
        ConfigurationError: If the encoder or the decoder is random, treats the items of a batch
            jointly or changes at each call, or some weights have no influence on theta.
        InputError: If theta or what the decoder returns is not finite, or theta does not depend on
            the weights.
    """
    few = batch.items(slice(0, 4))
    theta = probe_function("encoder", problem.encoder, problem.encode, batch)
    probe_function("decoder", problem.decoder, lambda b: problem.decode(theta[: len(b)], b), few)
    _check_weights(problem, batch.items(slice(0, 1)))
    return int(theta.shape[1])


def probe_function(role: str, module: Any, call: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
    """What a function gives for a batch; refused unless it is one, item by item, and finite.

    Args:
        role: What it is called in messages; ``"encoder"`` where numbers of one kind stand apart.
        module: What may be a module, and known to be random or joint.
        call: Calls it.
        batch: What it is called on.
    """
    _refuse_layers(module, role)
    with torch.no_grad():
        return _try(role, module, call, batch)


def mixes_items(problem: Problem, batches: Sequence[Batch]) -> bool:
    """Whether the loss of an item depends on the other items of its batch.

    It does where a term is one number for the whole batch. Differentiated forwards, an item would
    then get the derivatives of all items; evaluated in parts, a batch would give other losses.
    """
    pair = next((batch.items(slice(0, 2)) for batch in batches if len(batch) > 1), None)
    if pair is None:
        return False
    paths = range(len(problem.loss.paths))
    with torch.no_grad():
        theta = problem.encode(pair)
        together = problem.path_losses(theta, pair, paths)
        parts = [slice(0, 1), slice(1, 2)]
        alone = [problem.path_losses(theta[part], pair.items(part), paths) for part in parts]
    return not _same(together.T, torch.cat(alone, dim=1).T, single=1e-3, dim=(0,))


def _refuse_layers(module: Any, role: str) -> None:
    """Refuse layers that are known to be random or joint, with a message that names them."""
    if not isinstance(module, nn.Module):
        return
    for name, layer in module.named_modules():
        where = f"{role}.{name} ({type(layer).__name__})" if name else type(layer).__name__
        if isinstance(layer, _BatchNorm) and layer.running_mean is None:
            raise ConfigurationError(
                f"{where} has no running statistics and mixes the items of a batch; use a layer "
                "with track_running_stats=True, or one that treats items one by one"
            )
        if not layer.training:
            continue
        if isinstance(layer, _DropoutNd) and layer.p > 0:
            raise ConfigurationError(
                f"{where} is in training mode, which makes its results random: call "
                f"{role}.eval() before, and .train() afterwards"
            )
        if isinstance(layer, _BatchNorm):
            raise ConfigurationError(
                f"{where} is in training mode, which mixes the items of a batch: call "
                f"{role}.eval() before, and .train() afterwards"
            )


def _try(role: str, module: Any, call: Any, batch: Batch) -> Tensor:
    before = _buffers(module)
    dim = (0,) if role == "encoder" else ()  # parameters may differ in magnitude: Hz, ratios
    first: Tensor = call(batch)
    if not isinstance(first, Tensor) or first.ndim < 1 or len(first) != len(batch):
        got = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise InputError(f"the {role} must return a tensor with the batch first, got {got}")
    if not bool(torch.isfinite(first).all()):
        raise InputError(f"the {role} returns values that are not finite; check its input for NaN")
    for _ in range(REPEATS - 1):
        if not _same(first, call(batch), single=1e-5, dim=dim):
            raise ConfigurationError(
                f"the {role} gave two answers to the same question: derivatives need a "
                f"deterministic {role}. Call {role}.eval() to switch off dropout, and give random "
                "synthesizers a fixed seed for each item (as context: batches of (inputs, target, "
                "seeds))"
            )
    if len(batch) > 1 and not _same(
        first[:1], call(batch.items(slice(0, 1))), single=1e-3, dim=dim
    ):
        raise ConfigurationError(
            f"the {role} treats the items of a batch jointly: its answer to the first item depends "
            "on the others. Use a mode in which it does not, or batches of one item"
        )
    for name, value in _buffers(module).items():
        if not torch.equal(value, before[name]):
            raise ConfigurationError(
                f"the {role} changes its buffer {name!r} at each call; call {role}.eval() before"
            )
    return first


def _buffers(module: Any) -> dict[str, Tensor]:
    if not isinstance(module, nn.Module):
        return {}
    return {name: buffer.detach().clone() for name, buffer in module.named_buffers()}


def _same(a: Tensor, b: Tensor, single: float, dim: tuple[int, ...]) -> bool:
    """Whether two tensors agree but for rounding; ``single`` is the tolerance in single precision.

    Differences are relative to the largest number over the dimensions given, or over all.
    """
    tolerance = single if torch.finfo(a.dtype).eps > 1e-10 else 1e-9
    if a.shape != b.shape:
        return False
    return bool(((a - b).abs().amax(dim) <= tolerance * a.abs().amax(dim)).all())


def _check_weights(problem: Problem, item: Batch) -> None:
    theta = problem.encode(item)[0]
    weights = list(problem.weights.values())
    reached = [False] * len(weights)
    for u, value in enumerate(theta.unbind()):
        gradients: Any = [None] * len(weights)
        if value.requires_grad:
            gradients = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
        if all(gradient is None for gradient in gradients):
            raise InputError(
                f"theta[:, {u}] does not depend on any of the weights in params: check that the "
                "encoder does not detach it"
            )
        reached = [old or g is not None for old, g in zip(reached, gradients, strict=True)]
    idle = [name for name, used in zip(problem.weights, reached, strict=True) if not used]
    if idle:
        raise ConfigurationError(
            f"these weights have no gradient, since theta does not depend on them: "
            f"{', '.join(idle[:5])}{', ...' if len(idle) > 5 else ''}; leave them out of params"
        )
