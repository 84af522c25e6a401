"""Draws: which paths a step evaluates and how much each counts, and how often each was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from ._internal.state import check_names, loaded_tensor
from ._internal.tables import ends, html_table
from .errors import InputError
from .paths import PathTable

__all__ = ["Draw", "DrawCounts"]

ROUNDING = 1e-9
"""By how much a probability may exceed 1."""


@dataclass(frozen=True, eq=False)
class Draw:
    r"""The paths of one step: :math:`\hat L = \sum_i \text{weights}_i L_{\text{indices}_i}`.

    Attributes:
        indices: Paths drawn, int64 of shape (k,); a path drawn twice appears twice.
        weights: Weight of each in the estimate, float64 of shape (k,): :math:`w_p / (k \pi_p)`
            when reweighted, else :math:`P w_p / k`.
        probabilities: :math:`\pi_p` of each: its expected number of appearances divided by k,
            float64 of shape (k,).

    Example:
        >>> from multipath import StochasticLoss
        >>> from multipath.testing import QuadraticLoss
        >>> criterion = StochasticLoss(QuadraticLoss(4), n_draws=2, generator=0)
        >>> value = criterion(torch.zeros(1, 4), torch.ones(1, 4))
        >>> criterion.last_draw.weights
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    indices: Tensor
    weights: Tensor
    probabilities: Tensor

    def _repr_html_(self) -> str:
        """A row for each path drawn, in notebooks."""
        columns = (self.indices, self.weights, self.probabilities)
        shown, omitted = ends([*zip(*(column.tolist() for column in columns), strict=True)])
        cells = [[str(index), f"{w:.4g}", f"{pi:.4g}"] for index, w, pi in shown]
        head = ["path", "weight", "probability"]
        return html_table([head, *cells], f"draw of {len(self.indices)}", omitted)

    def merged(self) -> tuple[Tensor, Tensor]:
        """Distinct indices and the summed weight of each, so that none is evaluated twice."""
        distinct, inverse = self.indices.unique(return_inverse=True)
        total = torch.zeros(len(distinct), dtype=self.weights.dtype, device="cpu")
        return distinct, total.index_add(0, inverse, self.weights)

    @classmethod
    def from_state(cls, state: dict[str, Tensor], n_paths: int | None = None) -> Draw:
        """The inverse of :meth:`state_dict`; draws live on the CPU wherever they were loaded.

        Args:
            state: What was saved.
            n_paths: P of the loss that the draw is for. Default: not compared.

        Raises:
            ConfigurationError: If it is the state of something else.
            InputError: If it holds no paths of such a loss, or other numbers of them, or a weight
                or probability that none can have.
        """
        check_names("a Draw", state, ("indices", "weights", "probabilities"))
        last = inf if n_paths is None else n_paths - 1
        name = "the {} of the draw".format
        indices = loaded_tensor(name("indices"), state["indices"], (None,), torch.int64, 0, last)
        shape = (len(indices),)
        weights = loaded_tensor(name("weights"), state["weights"], shape, torch.float64, 0.0)
        probabilities = loaded_tensor(
            name("probabilities"), state["probabilities"], shape, torch.float64, 0.0, 1 + ROUNDING
        )
        return cls(indices, weights, probabilities)

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors to save."""
        return {
            "indices": self.indices.clone(),
            "weights": self.weights.clone(),
            "probabilities": self.probabilities.clone(),
        }


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
        self.counts = torch.zeros(len(paths), dtype=torch.int64, device="cpu")
        self._latest: Draw | None = None

    def add(self, draw: Draw | None) -> None:
        """Count a draw, unless there is none or it was counted just before."""
        if draw is None or draw is self._latest:
            return
        self._latest = draw
        # not in place, which torch refuses if the counts were made under inference mode
        self.counts = self.counts + torch.bincount(draw.indices.cpu(), minlength=len(self.counts))

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
            InputError: If the counts are of another number of paths, or no counts.
            ConfigurationError: If it is the state of something else.
        """
        self.counts = loaded_counts(state_dict, len(self.counts))


def loaded_counts(state: Any, n_paths: int | None) -> Tensor:
    """The counts in a state of :class:`DrawCounts`.

    Args:
        state: What came.
        n_paths: How many there must be, if that is known yet.

    Raises:
        InputError: If they are none.
        ConfigurationError: If it is the state of something else.
    """
    check_names("DrawCounts", state, ("counts",))
    counts = state["counts"]
    if n_paths is not None and isinstance(counts, Tensor) and counts.shape != (n_paths,):
        raise InputError(
            f"expected counts of {n_paths} paths, got {tuple(counts.shape)}; they belong to "
            "another loss"
        )
    return loaded_tensor("the counts of the draws", counts, (n_paths,), torch.int64, 0)
