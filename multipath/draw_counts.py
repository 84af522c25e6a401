"""How often each path was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .draws import Draw
from .errors import InputError
from .paths import PathTable

__all__ = ["DrawCounts"]


class DrawCounts:
    """Counts the paths of draws.

    A draw that serves several forwards of one step is one object, and counts once.

    Args:
        paths: Of the loss that is drawn from.

    Attributes:
        counts: How often each path was drawn, int64 of shape (P,).

    Example:
        >>> from multipath import StochasticLoss
        >>> from multipath.testing import QuadraticLoss
        >>> criterion = StochasticLoss(QuadraticLoss(4), n_draws=6, generator=0)
        >>> counts = DrawCounts(criterion.loss.paths)
        >>> counts.add(criterion.new_draw())
        >>> counts.counts.tolist()
        [0, 1, 2, 3]
    """

    def __init__(self, paths: PathTable) -> None:
        self.paths = paths
        self.counts = torch.zeros(len(paths), dtype=torch.int64)
        self._latest: Draw | None = None

    def add(self, draw: Draw | None) -> None:
        """Count a draw, unless there is none or it was counted just before."""
        if draw is None or draw is self._latest:
            return
        self._latest = draw
        self.counts += torch.bincount(draw.indices.cpu(), minlength=len(self.counts))

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary for each path: index, key, what describes it, and count."""
        columns = [name for name in self.paths.columns if name not in ("index", "key", "count")]
        return [
            {
                "index": path.index,
                "key": path.key,
                **{name: path.metadata.get(name) for name in columns},
                "count": count,
            }
            for path, count in zip(self.paths, self.counts.tolist(), strict=True)
        ]

    def state_dict(self) -> dict[str, Tensor]:
        """The counts."""
        return {"counts": self.counts.clone()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Carry on.

        Raises:
            InputError: If the counts are of another number of paths.
        """
        counts = state_dict["counts"]
        if counts.shape != self.counts.shape:
            raise InputError(
                f"expected counts of {len(self.counts)} paths, got {tuple(counts.shape)}; they "
                "belong to another loss"
            )
        self.counts = counts.cpu().clone()
