"""Every path once per epoch, in random order."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from multipath._internal.bookkeeping import bookkept
from multipath._internal.state import ANOTHER, loaded_tensor
from multipath.errors import InputError
from multipath.paths import PathTable

from ._subsets import check_subset, draw_subset, enumerate_subsets, subset_covariance
from .base import Sampler


class Reshuffle(Sampler):
    r"""Deals out the paths of a random permutation, k per draw, and reshuffles when all are dealt.

    Each epoch of P paths visits each path exactly once. Where a draw reaches into the next epoch,
    the new permutation is made so that no path appears twice in the draw. All of this treats paths
    alike, so that by symmetry *every* draw, taken by itself, is a uniformly random subset of k
    paths: estimates are unbiased, marginally. Given the draws before they are not - the last path
    of an epoch is known - and that dependence is the point: what one step leaves out, the next ones
    make up for.

    :meth:`enumerate`, :meth:`inclusion` and :meth:`count_covariance` describe that marginal law.
    Memory is one permutation, O(P); a draw costs O(k), and O(P) once per epoch.

    Raises:
        ConfigurationError: If asked for more than P paths per draw.

    Example:
        >>> from multipath import PathTable
        >>> sampler, generator = Reshuffle(), torch.Generator().manual_seed(0)
        >>> sampler.bind(PathTable(6))
        >>> epoch = [sampler.draw(2, generator)[0] for _ in range(3)]
        >>> sorted(torch.cat(epoch).tolist())
        [0, 1, 2, 3, 4, 5]

    Source: sampling without replacement in stochastic gradient descent, e.g. Mishchenko, Khaled and
    Richtarik, "Random reshuffling: simple analysis with vast improvements", NeurIPS 2020.
    """

    _permutation = torch.empty(0, dtype=torch.int64, device="cpu")
    _dealt = 0

    def bind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """Fit the sampler to a loss; paths that have weight 0 by now leave the epoch under way."""
        super().bind(paths, weights)
        if self._active is not None:
            left = self._permutation[self._dealt :]
            self._permutation, self._dealt = left[torch.isin(left, self._active)], 0

    @property
    def probabilities(self) -> Tensor:
        """1/P for each path of positive weight."""
        return self._uniform(self._once_bound(self.n_paths))

    def draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The next k paths of the epoch, in ascending order."""
        indices = self._permutation[self._dealt : self._dealt + n_draws]
        self._dealt += len(indices)
        missing = n_draws - len(indices)
        if missing:
            self._permutation = self._shuffle(indices, missing, generator)
            self._dealt = missing
            indices = torch.cat([indices, self._permutation[:missing]])
        return self._with_shares(indices.sort().values)

    def fresh_draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random subset, which is the marginal law of :meth:`draw`; the epoch is untouched."""
        return self._with_shares(self._to_paths(draw_subset(self._size, n_draws, generator)))

    def check_draws(self, n_draws: int) -> None:
        """Refuse more paths per draw than there are."""
        check_subset(self._size, n_draws, "Reshuffle")

    def shares(self, indices: Tensor, n_draws: int) -> Tensor:
        """1/P for each path, since only paths of positive weight are drawn."""
        return self._with_shares(indices)[1]

    def enumerate(self, n_draws: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """All subsets of k paths, equally likely: the marginal law of every draw."""
        return enumerate_subsets(self._to_paths(torch.arange(self._size, device="cpu")), n_draws)

    def count_covariance(self, n_draws: int) -> Tensor:
        """The covariance of a random subset; draws of one epoch are also negatively correlated."""
        return subset_covariance(self.probabilities, n_draws)

    def coverage(self, n_draws: int) -> Tensor:
        """k/P for each path of positive weight."""
        return n_draws * self.probabilities

    def state_dict(self) -> dict[str, Tensor]:
        """The part of the permutation that is still to be dealt."""
        left = torch.full((self.n_paths or 0,), -1, dtype=torch.int64, device="cpu")
        still = self._permutation[self._dealt :]
        left[: len(still)] = still  # always of one size, as some ways of saving want it
        return {"left": left}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue in the middle of the epoch."""
        self._check_names(state)
        name, n_paths = "the rest of the epoch of Reshuffle", self._once_bound(self.n_paths)
        left = loaded_tensor(name, state["left"], (n_paths,), torch.int64, -1, n_paths - 1)
        still = left[left >= 0]
        if len(still.unique()) < len(still) or bool((left[: len(still)] < 0).any()):
            raise InputError(f"{name} must hold each path once, then only -1; {ANOTHER}")
        self._permutation, self._dealt = still, 0

    def _shuffle(self, drawn: Tensor, n_first: int, generator: torch.Generator) -> Tensor:
        """A permutation whose first paths are not among those drawn, uniform among all such."""
        permutation = self._to_paths(torch.randperm(self._size, generator=generator, device="cpu"))
        if not len(drawn):
            return permutation
        first = permutation[~torch.isin(permutation, drawn)][:n_first]
        rest = permutation[~torch.isin(permutation, first)]
        order = torch.randperm(len(rest), generator=generator, device="cpu")
        return torch.cat([first, rest[order]])

    def _with_shares(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return indices, bookkept([1 / self._size]).repeat(len(indices))
