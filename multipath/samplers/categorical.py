"""Independent draws from fixed probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from .base import Sampler


class Categorical(Sampler):
    r"""Independent draws (with replacement) from the categorical law :math:`\pi`.

    One draw costs :math:`O(\log P)`: a uniform number looked up in the cumulative probabilities.
    """

    _cumulative: Tensor | None = None

    def draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :meth:`Sampler.draw`."""
        probabilities = self.probabilities
        if self._cumulative is None:
            self._cumulative = probabilities.cumsum(0)
        uniform = torch.rand(n_draws, generator=generator, dtype=torch.float64)
        # right=True never lands on a path of probability zero
        indices = torch.searchsorted(
            self._cumulative, uniform * self._cumulative[-1], right=True
        ).clamp_(max=len(probabilities) - 1)
        return indices, probabilities[indices]

    def enumerate(self, n_draws: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every possible draw with its probability: P^k of them, for exact proofs at small P.

        Example:
            >>> from multipath.samplers import Importance
            >>> list(Importance([0.25, 0.75]).enumerate(1))
            [((0,), 0.25), ((1,), 0.75)]
        """
        probabilities = self.probabilities.tolist()
        for indices in product(range(len(probabilities)), repeat=n_draws):
            probability = 1.0
            for index in indices:
                probability *= probabilities[index]
            yield indices, probability

    def count_covariance(self, n_draws: int) -> Tensor:
        r""":math:`k (\operatorname{diag} \pi - \pi \pi^\top)`."""
        pi = self.probabilities
        return n_draws * (torch.diag(pi) - pi[:, None] * pi)
