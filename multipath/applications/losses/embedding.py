"""Distances between what a frozen network makes of two sounds."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from multipath import PathDecomposedLoss
from multipath._internal.inputs import check_real
from multipath._internal.settings import choice
from multipath.applications.audio.resampling import Resample
from multipath.errors import ConfigurationError, InputError
from multipath.losses.base import Indices
from multipath.paths import check_indices

__all__ = ["Embedding", "EmbeddingLoss", "load_embedding"]

Embedding = Callable[[Tensor], Tensor]
"""A network or function from sounds (batch, samples) to (batch, d) or (batch, frames, d). Its
attribute ``sample_rate``, if it has one, is the rate in Hz that it expects."""


class EmbeddingLoss(PathDecomposedLoss):
    r"""Distance between embeddings, a loss of one path.

    .. math:: L(x, y) = d\big(e(x) - e(y)\big)

    The network is frozen: its weights take no gradient, it stays in evaluation mode whatever mode
    the loss is in, and checkpoints of the loss leave it out. The sound is resampled to its rate
    first, with gradients.

    Args:
        embedding: A network or function, see ``Embedding``. Weights are frozen in place.
        sample_rate: Sample rate of the sounds, in Hz. Default: that of the network, so that
            nothing is resampled.
        distance: ``"l2"`` (Euclidean), ``"l1"`` (sum of absolute values) or ``"cosine"`` (one minus
            the cosine of the angle).
        frames: What is done with embeddings of several frames: ``"mean"`` averages them before the
            distance, ``"each"`` averages the distances of the frames.

    Raises:
        ConfigurationError: If a setting is unknown, or a rate is missing or not a whole number.

    Example:
        >>> def loudness(sounds):
        ...     return sounds.square().mean(dim=1, keepdim=True)
        >>> loss = EmbeddingLoss(loudness)
        >>> loss(torch.full((2, 100), 2.0), torch.ones(2, 100))
        tensor(3.)
    """

    def __init__(
        self,
        embedding: Embedding,
        sample_rate: int | None = None,
        distance: Literal["l2", "l1", "cosine"] = "l2",
        frames: Literal["mean", "each"] = "mean",
    ) -> None:
        super().__init__(paths=1)
        choice("distance", distance, "l2", "l1", "cosine")
        choice("frames", frames, "mean", "each")
        _check_callable(embedding, "embedding")
        rate = getattr(embedding, "sample_rate", None)
        if sample_rate is not None and rate is None:
            raise ConfigurationError(
                "an embedding of sounds with a sample rate needs an attribute sample_rate, in Hz, "
                f"and {embedding!r:.80} has none"
            )
        self.embedding = embedding
        self.distance, self.frames = distance, frames
        self.resample = Resample(sample_rate or rate, rate) if rate is not None else nn.Identity()
        if isinstance(embedding, nn.Module):
            embedding.requires_grad_(False).eval()
            self.register_state_dict_post_hook(_without_embedding)  # type: ignore[no-untyped-call]
            self.register_load_state_dict_pre_hook(_with_embedding)  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> EmbeddingLoss:
        """Set the mode of the loss; the network stays in evaluation mode."""
        super().train(mode)
        if isinstance(self.embedding, nn.Module):
            self.embedding.eval()
        return self

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """The distance of each item, shape (len(indices), batch).

        Args:
            input: Sounds of shape (batch, T).
            target: The same shape.
            indices: Zeros: there is one path.

        Raises:
            InputError: If shapes differ, or the embedding is of a wrong shape or not finite.
        """
        chosen = check_indices(indices, 1)
        check_real(input, "input")
        check_real(target, "target")
        if input.shape != target.shape or input.ndim != 2:
            raise InputError(
                "input and target must have the same shape (batch, samples), got "
                f"{tuple(input.shape)} and {tuple(target.shape)}"
            )
        ours, theirs = self.embed(input), self.embed(target)
        if ours.shape != theirs.shape:
            raise InputError(
                f"embeddings of input and target differ in shape: {tuple(ours.shape)} and "
                f"{tuple(theirs.shape)}"
            )
        values: Tensor
        match self.distance:
            case "l2":  # its gradient is zero, not NaN, at equal embeddings
                values = torch.linalg.vector_norm(ours - theirs, dim=-1)
            case "l1":
                values = (ours - theirs).abs().sum(dim=-1)
            case _:
                values = 1 - cosine_similarity(ours, theirs, dim=-1)
        return values.mean(dim=1).expand(len(chosen), -1)

    def embed(self, sounds: Tensor) -> Tensor:
        """Embeddings (batch, frames, d); one frame if the network makes none or they are averaged.

        Args:
            sounds: Shape (batch, T), at the sample rate of the loss.

        Raises:
            InputError: If the network returns anything else than finite embeddings of its batch.
        """
        found = self.embedding(self.resample(sounds))
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        if not isinstance(found, Tensor) or found.ndim not in (2, 3) or len(found) != len(sounds):
            raise InputError(
                f"an embedding of {len(sounds)} sounds must be a tensor of shape "
                f"({len(sounds)}, d) or ({len(sounds)}, frames, d), got {shape}"
            )
        if not torch.isfinite(found).all():
            raise InputError(
                "the embedding holds NaN or infinite values; check the sounds (silence? a diverged "
                "model?) and the weights of the network"
            )
        if found.ndim == 2:
            return found[:, None]
        return found.mean(dim=1, keepdim=True) if self.frames == "mean" else found

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"distance={self.distance!r}, frames={self.frames!r}"


def load_embedding(name: str) -> Embedding:
    """Import a function of yours and call it: it returns the embedding.

    Args:
        name: ``"MODULE:FUNCTION"``, with an importable module
            (``"multipath.applications.networks.panns:load"``) or a file (``"my_network.py:load"``).

    Returns:
        What the function returned: a network or function, see ``Embedding``.

    Raises:
        ConfigurationError: If there is no such module or function, it fails, or it returns nothing
            that can be called.

    Example:
        >>> load_embedding("torch.nn:Identity")
        Identity()
    """
    module_name, separator, attribute = name.rpartition(":")
    if not separator or not module_name or not attribute:
        raise ConfigurationError(f'expected "MODULE:FUNCTION" or "FILE.py:FUNCTION", got {name!r}')
    module = _import(module_name)
    factory = getattr(module, attribute, None)
    if factory is None:
        names = [n for n, item in vars(module).items() if callable(item) and not n.startswith("_")]
        raise ConfigurationError(
            f"{module_name} has no {attribute}; it has {', '.join(names[:10]) or 'no functions'}"
        )
    _check_callable(factory, name)
    try:
        embedding = factory()
    except (ConfigurationError, InputError):
        raise
    except Exception as error:  # a user's code may fail in any way
        raise ConfigurationError(f"{name}() failed: {type(error).__name__}: {error}") from error
    _check_callable(embedding, f"what {name}() returns")
    return embedding  # type: ignore[no-any-return]


def _import(name: str) -> Any:
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        if not Path(name).is_file():
            raise ConfigurationError(f"{name}: there is no such file")
        spec = importlib.util.spec_from_file_location(Path(name).stem, name)
        if spec is None or spec.loader is None:
            raise ConfigurationError(f"{name}: this file cannot be imported")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ConfigurationError:
        raise
    except Exception as error:  # a user's code may fail in any way
        raise ConfigurationError(
            f"{name} cannot be imported ({type(error).__name__}: {error}); is it installed, or is "
            "it a file, to be named with its .py?"
        ) from error
    return module


def _check_callable(item: Any, what: str) -> None:
    if not callable(item):
        raise ConfigurationError(
            f"{what} must be a network or function from sounds to embeddings, got "
            f"{type(item).__name__}"
        )


def _without_embedding(
    module: nn.Module, state: dict[str, Any], prefix: str, _metadata: dict[str, Any]
) -> None:
    """Frozen weights have a file of their own; a copy in each checkpoint would be a waste."""
    for key in [key for key in state if key.startswith(f"{prefix}embedding.")]:
        del state[key]


def _with_embedding(module: EmbeddingLoss, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """The weights left out of a checkpoint stay as they are."""
    if isinstance(module.embedding, nn.Module):
        for key, value in module.embedding.state_dict().items():
            state.setdefault(f"{prefix}embedding.{key}", value)
