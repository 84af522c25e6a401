"""Room for the state in a checkpoint of ``torch.distributed.checkpoint``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from .base import PathwiseOptimizer

if TYPE_CHECKING:
    from torch.distributed.checkpoint.storage import StorageReader


def prepare_for_checkpoint(
    model: nn.Module,
    optimizer: PathwiseOptimizer,
    checkpoint: str | Path | StorageReader | Mapping[str, Any],
) -> None:
    """Allocate the state of all paths that a distributed checkpoint holds.

    ``torch.distributed.checkpoint.load`` reads what the given state has room for, and path-wise
    optimizers allocate the state of a path when they first visit it: a new one would get none.
    Call this before ``get_optimizer_state_dict`` and ``load``. Saving needs nothing of the kind.

    Args:
        model: The model whose parameters are optimized, wrapped or sharded as in training.
        optimizer: The optimizer that is to be restored.
        checkpoint: The folder of the checkpoint, or what reads it; or the whole state that
            ``get_optimizer_state_dict`` gives with ``full_state_dict=True``, on every rank.

    Example:
        >>> import tempfile, torch, warnings
        >>> import torch.distributed.checkpoint as dcp
        >>> from torch.distributed.checkpoint.state_dict import (
        ...     get_optimizer_state_dict, set_optimizer_state_dict
        ... )
        >>> from multipath import StochasticLoss
        >>> from multipath.optim import PAdam, prepare_for_checkpoint
        >>> from multipath.testing import QuadraticLoss
        >>> warnings.simplefilter("ignore")  # that there is one process only
        >>> model = torch.nn.Linear(2, 3)
        >>> def new_optimizer():
        ...     return PAdam(model.parameters(), StochasticLoss(QuadraticLoss(9), generator=0))
        >>> optimizer, folder = new_optimizer(), tempfile.mkdtemp()
        >>> for _ in range(5):
        ...     optimizer.criterion(model(torch.ones(1, 2)), torch.ones(1, 3)).backward()
        ...     optimizer.step()
        >>> _ = dcp.save(get_optimizer_state_dict(model, optimizer), checkpoint_id=folder)
        >>> again = new_optimizer()
        >>> prepare_for_checkpoint(model, again, folder)
        >>> state = get_optimizer_state_dict(model, again)
        >>> dcp.load(state, checkpoint_id=folder)
        >>> set_optimizer_state_dict(model, again, state)
        >>> again.state[model.weight]["step"]
        5
    """
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
    from torch.distributed.checkpoint.storage import StorageReader

    found: Iterable[str]
    if isinstance(checkpoint, Mapping):
        states = checkpoint["state"].items()
        found = [
            f"state.{name}.paths.{path}.last_step" for name, s in states for path in s["paths"]
        ]
    else:
        if not isinstance(checkpoint, StorageReader):
            checkpoint = FileSystemReader(checkpoint)
        found = checkpoint.read_metadata().state_dict_metadata
    named = get_optimizer_state_dict(model, optimizer)["param_groups"]
    for group, names in zip(optimizer.param_groups, named, strict=True):
        for parameter, name in zip(group["params"], names["params"], strict=True):  # type: ignore
            entry = re.compile(rf"(?:.*\.)?state\.{re.escape(name)}\.paths\.(\d+)\.last_step")
            for path in filter(None, map(entry.fullmatch, found)):
                optimizer.allocate(group, parameter, int(path[1]))
