"""Several samplers, one of which makes each draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from multipath._internal.state import refused
from multipath.errors import ConfigurationError
from multipath.paths import PathTable

from ._systematic import look_up
from .base import (
    Observation,
    Sampler,
    as_probabilities,
    check_observation,
    loaded_probabilities,
    unchanged_if_refused,
)


class Mixture(Sampler):
    r"""Lets sampler i make the whole draw, all k paths of it, with probability :math:`a_i`.

    Path p is then expected :math:`\sum_i a_i k \pi_{i,p}` times, for any samplers: with or without
    replacement, with memory or not. The draw is weighted by this mean, whichever sampler made it,
    so that weights are bounded by those of every component divided by its :math:`a_i`: a uniform
    component keeps another one's small probabilities from giving large weights.

    (Choosing a sampler for each path instead would not do: two components without replacement
    could then hand out the same path, and shares that depend on k would no longer add up.)

    All components observe what is measured, whichever made the draw.

    Args:
        samplers: The components.
        weights: :math:`a_i`, not negative, sum to 1. Default: equal.

    Raises:
        ConfigurationError: If there is no component, the weights do not fit, or two components
            learn from different things, or one from what cannot be observed.

    Example:
        >>> from multipath.samplers import Importance
        >>> Mixture([Importance([0.9, 0.1]), Importance([0.5, 0.5])], [0.25, 0.75]).probabilities
        tensor([0.6000, 0.4000], dtype=torch.float64)

    Source: multiple importance sampling, E. Veach and L. Guibas, "Optimally combining sampling
    techniques for Monte Carlo rendering", SIGGRAPH 1995 (the balance heuristic).
    """

    def __init__(
        self, samplers: Sequence[Sampler], weights: Sequence[float] | Tensor | None = None
    ) -> None:
        self.samplers = list(samplers)
        count = len(self.samplers)
        if not count or not all(isinstance(sampler, Sampler) for sampler in self.samplers):
            raise ConfigurationError(
                f"a Mixture needs samplers, e.g. [Uniform(), Energy(...)], got {samplers!r}"
            )
        equal = torch.full((count,), 1 / count, dtype=torch.float64, device="cpu")
        self.mixture = equal if weights is None else as_probabilities(weights, "mixture weights")
        if len(self.mixture) != count:
            raise ConfigurationError(f"got {len(self.mixture)} weights for {count} samplers")
        kinds = {check_observation(sampler) for sampler in self.samplers} - {None}
        if len(kinds) > 1:
            raise ConfigurationError(
                "samplers of a Mixture must learn from the same thing, got "
                + " and ".join(sorted(str(kind) for kind in kinds))
            )
        self.observes: Observation | None = kinds.pop() if kinds else None
        self._curious: list[Sampler] = []

    @property
    def probabilities(self) -> Tensor:
        r""":math:`\sum_i a_i \pi_{i,p}`."""
        return self._mean([sampler.probabilities for sampler in self.samplers])

    def bind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """Fit every component to the loss."""
        super().bind(paths, weights)
        for sampler in self.samplers:
            sampler.bind(paths, weights)

    def rebind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """Fit every component to new weights of the loss."""
        for sampler in self.samplers:
            sampler.rebind(paths, weights)
        super().rebind(paths, weights)

    @property
    def unbiased(self) -> bool:
        """Whether the components that keep their paths can draw every path of positive weight.

        One that learns and may leave paths out is not counted on.
        """
        reached = torch.zeros_like(self.probabilities)
        for share, sampler in zip(self.mixture.tolist(), self.samplers, strict=True):
            if sampler.observes is None or sampler.unbiased:
                reached = reached + share * sampler.probabilities
        return bool(self._among_active(reached > 0).all())

    def check_draws(self, n_draws: int) -> None:
        """Refuse a number of draws that one of the components cannot make."""
        for sampler in self.samplers:
            sampler.check_draws(n_draws)

    def draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Choose a component and let it make the whole draw."""
        indices, _ = self._chosen(generator).draw(n_draws, generator)
        return indices, self.shares(indices, n_draws)

    def fresh_draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Choose a component and let it draw without changing its memory."""
        indices, _ = self._chosen(generator).fresh_draw(n_draws, generator)
        return indices, self.shares(indices, n_draws)

    def inclusion(self, n_draws: int) -> Tensor:
        """The mean of the components' shares, weighted by :math:`a_i`."""
        return self._mean([sampler.inclusion(n_draws) for sampler in self.samplers])

    def shares(self, indices: Tensor, n_draws: int) -> Tensor:
        """The mean of the components' shares of some paths."""
        return self._mean([sampler.shares(indices, n_draws) for sampler in self.samplers])

    def enumerate(self, n_draws: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every draw of every component; a draw that several can make appears once for each."""
        for share, sampler in zip(self.mixture.tolist(), self.samplers, strict=True):
            for indices, probability in sampler.enumerate(n_draws) if share > 0 else ():
                yield indices, share * probability

    def count_covariance(self, n_draws: int) -> Tensor:
        """The mean covariance within the components plus that of their expected counts."""
        within = self._mean([sampler.count_covariance(n_draws) for sampler in self.samplers])
        counts = [n_draws * sampler.inclusion(n_draws) for sampler in self.samplers]
        mean = self._mean(counts)
        excess = [count - mean for count in counts]
        return within + self._mean([difference[:, None] * difference for difference in excess])

    def coverage(self, n_draws: int) -> Tensor:
        """The mean of the components' coverages."""
        return self._mean([sampler.coverage(n_draws) for sampler in self.samplers])

    def wants_observation(self) -> bool:
        """Whether any component wants the next observation."""
        self._curious = [sampler for sampler in self.samplers if sampler.wants_observation()]
        return bool(self._curious)

    def observe(self, indices: Tensor, values: Tensor) -> None:
        """Pass the observation on to the components that wanted it."""
        for sampler in self._curious:
            sampler.observe(indices, values)

    def state_dict(self) -> dict[str, Any]:
        """The shares and states of all components."""
        return {
            "weights": self.mixture.clone(),
            "samplers": [sampler.state_dict() for sampler in self.samplers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the shares and states of all components."""
        self._check_names(state)
        size, states = len(self.samplers), state["samplers"]
        mixture = loaded_probabilities("the weights of Mixture", state["weights"], size)
        if not isinstance(states, list | tuple) or len(states) != size:
            raise refused("the samplers of Mixture", f"a list of {size} states", states)
        with unchanged_if_refused(*self.samplers):
            for sampler, saved in zip(self.samplers, states, strict=True):
                sampler.load_state_dict(saved)
        self.mixture = mixture

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        weights = ", ".join(f"{weight:.4g}" for weight in self.mixture.tolist())
        return f"{self.samplers}, weights=[{weights}]"

    def _chosen(self, generator: torch.Generator) -> Sampler:
        uniform = torch.rand(1, generator=generator, dtype=torch.float64, device="cpu")
        return self.samplers[int(look_up(self.mixture.cumsum(0), uniform))]

    def _mean(self, values: list[Tensor]) -> Tensor:
        total = torch.zeros_like(values[0])
        for share, value in zip(self.mixture.tolist(), values, strict=True):
            total = total + share * value
        return total
