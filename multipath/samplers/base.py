"""What a sampler is: a seeded law over draws, with the probability of everything it draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigurationError
from ..paths import PathTable


class Sampler(ABC):
    r"""Chooses the paths of each step.

    A sampler is bound to the path table of one loss, then asked for draws. It owns no generator:
    :class:`~multipath.StochasticLoss` passes the one it saves and restores. Subclasses define
    :meth:`draw` and :attr:`probabilities`; samplers with memory also save it in
    :meth:`state_dict`. A sampler of independent draws defines :attr:`probabilities` only, through
    :class:`Categorical`.
    """

    n_paths: int | None = None

    def bind(self, paths: PathTable) -> None:
        """Fit the sampler to the paths of a loss; called by :class:`~multipath.StochasticLoss`.

        Raises:
            ConfigurationError: If the sampler already serves a loss with another number of paths.
        """
        if self.n_paths not in (None, len(paths)):
            raise ConfigurationError(
                f"this {type(self).__name__} sampler is for {self.n_paths} paths and the loss has "
                f"{len(paths)}; make one sampler for each loss"
            )
        self.n_paths = len(paths)

    @property
    @abstractmethod
    def probabilities(self) -> Tensor:
        r""":math:`\pi_p` of the next draw, float64 of shape (P,), sums to 1."""

    @abstractmethod
    def draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        r"""Draw paths.

        Args:
            n_draws: k, how many.
            generator: The only source of randomness.

        Returns:
            Indices, int64 of shape (k,), and for each its :math:`\pi_p`, the expected number of
            times it appears in a draw divided by k, float64 of shape (k,).
        """

    @property
    def unbiased(self) -> bool:
        """Whether a reweighted estimate from these draws is unbiased: every path can be drawn."""
        return bool((self.probabilities > 0).all())

    def state_dict(self) -> dict[str, Any]:
        """What the sampler remembers from step to step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027  (most have no memory)
        """Restore what :meth:`state_dict` saved."""

    def __repr__(self) -> str:
        """Class name and number of paths, once known."""
        return f"{type(self).__name__}({'' if self.n_paths is None else f'P={self.n_paths}'})"


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


def as_probabilities(values: Any) -> Tensor:
    """Probabilities in float64, checked and divided by their sum.

    Raises:
        ConfigurationError: If they are not a vector, are negative or not finite, or do not sum
            to 1 within 1e-5.
    """
    try:
        probabilities = torch.as_tensor(values, dtype=torch.float64).detach().cpu().clone()
    except (TypeError, ValueError, RuntimeError):
        raise ConfigurationError(
            f"probabilities must be numbers, one for each path, got {values!r}"
        ) from None
    if probabilities.ndim != 1 or not len(probabilities):
        raise ConfigurationError(
            f"probabilities must be a vector of shape (P,), got {tuple(probabilities.shape)}"
        )
    if not bool(torch.isfinite(probabilities).all()):
        raise ConfigurationError("probabilities must be finite, got NaN or infinity")
    if bool((probabilities < 0).any()):
        raise ConfigurationError(
            f"probabilities must not be negative, got {probabilities.min().item():.3g} for path "
            f"{int(probabilities.argmin())}"
        )
    total = float(probabilities.sum())
    if abs(total - 1) > 1e-5:
        raise ConfigurationError(
            f"probabilities must sum to 1, got {total:.6g}; divide them by their sum"
        )
    return probabilities / total
