"""Draws spread evenly over groups of paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, product

import torch
from torch import Tensor

from multipath._internal.bookkeeping import bookkept
from multipath._internal.printing import listed
from multipath.errors import ConfigurationError
from multipath.paths import GroupBy, PathTable

from ._systematic import SLIVER, as_integers, look_up
from .base import Sampler, as_probabilities, loaded_probabilities


class Stratified(Sampler):
    r"""Spreads the k draws over strata: groups of similar paths, e.g. those of one rate.

    The paths are put in order of their strata, their probabilities laid end to end, and the whole
    cut into k slots of equal mass; each slot gives one independent draw. So a stratum of mass
    :math:`m` gets :math:`k m` draws, up to one at each of its ends, and a path is expected
    exactly :math:`k \pi_p` times, whatever the sizes. The variance of an estimate is never above
    that of independent draws, and below it by the variance between slots: stratified sampling with
    proportional allocation.

    A path that reaches over several slots can appear several times in a draw.

    Args:
        by: A metadata column (``"rate"``), a function from a path to its stratum, one label for
            each path (``["low", "low", "high"]``), or a list of lists of path keys or indices that
            holds every path once.
        probabilities: :math:`\pi`, shape (P,). Default: 1/P each.

    Raises:
        ConfigurationError: If the probabilities are no probability vector or do not fit the loss.
        InputError: If the column does not exist or the strata are not a partition (when the sampler
            meets its loss).

    Example:
        >>> from multipath import PathTable
        >>> sampler = Stratified(by=[[0, 2], [1, 3]])
        >>> sampler.bind(PathTable(4))
        >>> [indices for indices, probability in sampler.enumerate(2)]
        [(0, 1), (0, 3), (2, 1), (2, 3)]

    Source: W. G. Cochran, "Sampling techniques", 3rd edition, Wiley 1977, chapter 5.
    """

    def __init__(self, by: GroupBy, probabilities: Sequence[float] | Tensor | None = None) -> None:
        self.by = by
        self._given = None if probabilities is None else as_probabilities(probabilities)
        self._probabilities = self._given
        self._order = torch.empty(0, dtype=torch.int64, device="cpu")
        self._ends = torch.empty(0, dtype=torch.float64, device="cpu")

    @property
    def probabilities(self) -> Tensor:
        """The probabilities given, or uniform ones, among the paths of positive weight."""
        return self._once_bound(self._probabilities)

    def bind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """Fit the sampler to a loss and lay its paths out in order of their strata."""
        if self._given is None:
            self._given = bookkept([1 / len(paths)]).repeat(len(paths))
        if len(self._given) != len(paths):
            raise ConfigurationError(
                f"got {len(self._given)} probabilities for a loss with {len(paths)} paths"
            )
        strata = paths.group(self.by)
        in_order = [path for members in strata.values() for path in members]
        order = torch.tensor(in_order, device="cpu")
        if self.weights is not None and not torch.equal(order, self._order):
            raise self._serves_another("another table of paths")
        super().bind(paths, weights)
        self._order = order
        self._lay_out(self._given)

    def draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One independent draw from each of k slots."""
        uniform = torch.rand(n_draws, generator=generator, dtype=torch.float64, device="cpu")
        position = look_up(self._ends, (torch.arange(n_draws, device="cpu") + uniform) / n_draws)
        return self._order[position], self._laid_out[position]

    def enumerate(self, n_draws: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every combination of one path from each slot; the slots come in order."""
        slots = self._slots(n_draws)
        members = [slot.nonzero().flatten().tolist() for slot in slots]
        for indices in product(*members):
            probabilities = [slot[path] for slot, path in zip(slots, indices, strict=True)]
            yield indices, float(torch.stack(probabilities).prod())

    def count_covariance(self, n_draws: int) -> Tensor:
        r""":math:`\sum_s \operatorname{diag} q_s - q_s q_s^\top` over the laws of the slots."""
        slots = self._slots(n_draws)
        return torch.diag(slots.sum(dim=0)) - slots.T @ slots

    def coverage(self, n_draws: int) -> Tensor:
        r""":math:`1 - \prod_s (1 - q_{s,p})` over the laws of the slots."""
        return 1 - (1 - self._slots(n_draws)).prod(dim=0)

    def state_dict(self) -> dict[str, Tensor]:
        """The probabilities given, or those that stand in for them."""
        given = self.probabilities if self._given is None else self._given
        return {"probabilities": given.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the probabilities, bit for bit."""
        self._check_names(state)
        name, size = "the probabilities of Stratified", self._once_bound(self.n_paths)
        given = loaded_probabilities(name, state["probabilities"], size)
        self._lay_out(given)
        self._given = given

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        by = self.by if isinstance(self.by, str) or callable(self.by) else type(self.by)
        return listed(by=by)

    def _lay_out(self, given: Tensor) -> None:
        """Lay the probabilities end to end, in order of the strata."""
        self._probabilities = self.conditioned(given)
        self._laid_out = self._probabilities[self._order]
        self._ends = self._laid_out.cumsum(0)

    def _slots(self, n_draws: int) -> Tensor:
        """The law of each slot over the paths, shape (k, P).

        In integers, so that a path inside a slot is there exactly as often as it should.
        """
        lengths = as_integers(self._laid_out)
        total = sum(lengths)  # the mass of a slot, where lengths are counted k times
        laws = torch.zeros(n_draws, len(lengths), dtype=torch.float64, device="cpu")
        ends = (n_draws * end for end in accumulate(lengths))
        for path, end, length in zip(self._order.tolist(), ends, lengths, strict=True):
            start, sliver = end - n_draws * length, n_draws * length // SLIVER
            for slot in range(start // total, -(-end // total)):
                overlap = min(end, (slot + 1) * total) - max(start, slot * total)
                # an end that should lie on the border of a slot is there up to rounding only
                if overlap > sliver:
                    laws[slot, path] = overlap / total
        return laws
