"""What theta-importance is measured on: an encoder, a decoder, a loss, and one batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from multipath._internal.journal import digest
from multipath.errors import ConfigurationError, InputError
from multipath.jets import JetOrder
from multipath.losses import PathDecomposedLoss

Module = Callable[..., Tensor]
Parameters = Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]] | Mapping[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """One batch of examples.

    Attributes:
        inputs: Inputs of the encoder, batch first.
        target: Targets of the loss, batch first.
        context: Inputs of the decoder besides theta, each with the batch first.
    """

    inputs: Tensor
    target: Tensor
    context: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    def items(self, part: slice) -> Batch:
        """Some items of the batch."""
        return Batch(self.inputs[part], self.target[part], tuple(c[part] for c in self.context))


@dataclass(frozen=True)
class Problem:
    """Encoder E(x; w), decoder D(theta), loss L_p and the weights w."""

    loss: PathDecomposedLoss
    encoder: Module
    decoder: Module
    weights: dict[str, Tensor]

    @property
    def n_weights(self) -> int:
        """Number W of weights."""
        return sum(weight.numel() for weight in self.weights.values())

    @property
    def eps(self) -> float:
        """Machine epsilon of the weights, the coarsest if they differ in precision."""
        return max(torch.finfo(weight.dtype).eps for weight in self.weights.values())

    def encode(self, batch: Batch) -> Tensor:
        """Theta, shape (batch, U), with a graph back to the weights."""
        theta = self.encoder(batch.inputs)
        shape = theta.shape if isinstance(theta, Tensor) else ()
        if len(shape) != 2 or shape[0] != len(batch) or shape[1] == 0:
            got = tuple(theta.shape) if isinstance(theta, Tensor) else type(theta).__name__
            raise InputError(
                f"the encoder must return theta of shape (batch, U) = ({len(batch)}, U), got {got}"
            )
        checked: Tensor = theta
        return checked

    def path_losses(self, theta: Tensor, batch: Batch, indices: Sequence[int]) -> Tensor:
        """L_p of each item, shape (paths, batch); channels are reduced as items are.

        Raises:
            InputError: If the loss returns something else.
        """
        return self._by_item(
            self.loss.evaluate(self.decode(theta, batch), batch.target, indices), batch
        )

    def path_loss_jets(
        self, theta: Tensor, batch: Batch, indices: Sequence[int], order: JetOrder
    ) -> Tensor:
        """Jets of :meth:`path_losses` in theta, shape (components, paths, batch)."""
        jets = order.of(lambda t: self.decode(t, batch), theta)
        losses = self.loss.path_loss_jets(jets, batch.target, indices, order)
        return torch.stack([self._by_item(values, batch) for values in losses])

    def _by_item(self, values: Tensor, batch: Batch) -> Tensor:
        if values.shape[1] % len(batch):
            raise InputError(
                f"{type(self.loss).__name__} must return one value for each item (or each channel "
                f"of each item) of a batch of {len(batch)}, got {values.shape[1]}"
            )
        channels: Tensor = values.reshape(len(values), len(batch), -1)
        return channels.sum(dim=2) if self.loss.reduction == "sum" else channels.mean(dim=2)

    def decode(self, theta: Tensor, batch: Batch) -> Tensor:
        """The decoder's output, which the loss compares with the target."""
        return self.decoder(theta, *batch.context)

    def item_weight(self, batch: Batch) -> float:
        """What the loss's reduction multiplies each item by; as in a mean if it has none."""
        return 1.0 if self.loss.reduction == "sum" else 1 / len(batch)


def as_batches(batches: Iterable[Any]) -> list[Batch]:
    """Batches from the tensors or tuples given to ``theta_importance``."""
    if isinstance(batches, Tensor):
        raise ConfigurationError(
            "batches must be an iterable of batches, got one tensor; pass [x] for a single batch"
        )
    found = []
    for number, given in enumerate(batches):
        parts = given if isinstance(given, tuple | list) else (given,)
        if not parts or not all(isinstance(part, Tensor) and part.ndim for part in parts):
            raise InputError(
                f"batch {number} must be a tensor or a tuple (inputs, target, *context) of "
                f"tensors, all with the batch first, got {type(given).__name__}"
            )
        # tensors made under inference mode cannot be saved for a gradient: copies can
        parts = [part.clone() if part.is_inference() else part.detach() for part in parts]
        inputs, target, *context = parts if len(parts) > 1 else (parts[0], parts[0])
        sizes = {len(part) for part in (inputs, target, *context)}
        if len(sizes) > 1 or 0 in sizes:
            raise InputError(
                f"the tensors of batch {number} must have the same number of items, at least one, "
                f"got {[len(part) for part in parts]}"
            )
        found.append(Batch(inputs, target, tuple(context)))
    if not found:
        raise ConfigurationError("batches is empty: pass at least one batch of examples")
    return found


def named_weights(encoder: Module, params: Parameters | None) -> dict[str, Tensor]:
    """The weights by name: those given, or those of the encoder that require a gradient."""
    named: dict[str, Any]
    if params is None:
        if not isinstance(encoder, nn.Module):
            raise ConfigurationError(
                "the encoder is no module that knows its parameters; pass params=, the tensors "
                "that are trained"
            )
        named = {name: w for name, w in encoder.named_parameters() if w.requires_grad}
    elif isinstance(params, Tensor):
        raise ConfigurationError("params must be an iterable of tensors, got one: pass [weight]")
    elif isinstance(params, Mapping):
        named = dict(params)
    else:
        given = list(params)
        known = (
            {id(w): name for name, w in encoder.named_parameters()}
            if isinstance(encoder, nn.Module)
            else {}
        )
        pairs = [
            entry if isinstance(entry, tuple) else (known.get(id(entry), f"params[{i}]"), entry)
            for i, entry in enumerate(given)
        ]
        named = dict(pairs)
        for name, weight in pairs:
            if named[name] is not weight:
                raise ConfigurationError(
                    f"two different weights are named {name!r}; give the modules' prefixes"
                )
    if not named:
        raise ConfigurationError("there are no weights to train: params is empty")
    for name, weight in named.items():
        if not isinstance(weight, Tensor) or not weight.requires_grad:
            raise ConfigurationError(
                f"params must be tensors that require a gradient, {name} does not; leave out what "
                "is frozen"
            )
        if weight.dtype not in (torch.float32, torch.float64):
            raise ConfigurationError(
                f"params must be float32 or float64, {name} is {weight.dtype}: second derivatives "
                "need that precision"
            )
    shared = {id(weight): name for name, weight in reversed(named.items())}
    return {name: named[name] for name in named if shared[id(named[name])] == name}


def parameter_names(
    names: Sequence[str] | None, decoder: Any, n_parameters: int
) -> tuple[str, ...]:
    """The names given, or those that the decoder has, or numbers.

    Raises:
        ConfigurationError: If there are more or fewer than parameters.
    """
    known = getattr(decoder, "parameter_names", None) if names is None else names
    if known is None:
        return tuple(f"theta[{u}]" for u in range(n_parameters))
    if len(known) != n_parameters:
        raise ConfigurationError(
            f"theta has {n_parameters} parameters, but there are {len(known)} names: "
            f"{', '.join(known)}"
        )
    return tuple(known)


def fingerprint(problem: Problem, batches: Sequence[Batch], *settings: Any) -> str:
    """Digest of all that derivatives depend on and that can be seen: not the code of functions.

    Args:
        problem: Loss, encoder, decoder and weights.
        batches: The examples.
        *settings: Further settings, compared by their ``repr``.
    """
    loss = problem.loss
    tensors = [
        *problem.weights.values(),
        loss.path_weights,
        *(value for value in loss.state_dict().values() if isinstance(value, Tensor)),
        *chain.from_iterable((b.inputs, b.target, *b.context) for b in batches),
    ]
    described = [repr(settings), repr(loss), str(loss.paths.keys), loss.reduction]
    return digest(described, tensors, (problem.encoder, problem.decoder))


@contextmanager
def undisturbed(*modules: Any) -> Iterator[None]:
    """Restore buffers and random streams afterwards; ``.grad`` is never touched."""
    buffers = [
        (buffer, buffer.detach().clone())
        for module in modules
        if isinstance(module, nn.Module)
        for buffer in module.buffers()
    ]
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        # fused attention cannot be differentiated twice
        with (
            torch.random.fork_rng(gpus),
            torch.inference_mode(False),
            torch.enable_grad(),
            sdpa_kernel(SDPBackend.MATH),
        ):
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)
