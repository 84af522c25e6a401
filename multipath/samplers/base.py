"""The base class of samplers: a seeded law over draws, with the probability of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from multipath._internal.settings import choice, vector
from multipath._internal.state import ANOTHER, check_names, loaded_tensor
from multipath.errors import ConfigurationError, InputError
from multipath.paths import PathTable

Observation = Literal["gradient_norms", "losses", "target_norms"]
Bound = TypeVar("Bound")

SUM_TOLERANCE = 1e-5
"""By how much a sum of probabilities may differ from 1."""


class Sampler(ABC):
    r"""Chooses the paths of each step.

    A sampler is bound to the paths of one loss, then asked for draws. It owns no generator:
    :class:`~multipath.StochasticLoss` passes the one it saves and restores. A path of weight 0 adds
    nothing to the loss, so evaluating it would waste the step: samplers never draw one, and their
    probabilities are those among the paths of positive weight.

    Subclasses define :attr:`probabilities`, :meth:`draw` and :meth:`enumerate`; one of independent
    or systematic draws from fixed probabilities defines the first only, through
    :class:`Categorical`. Beyond that,

    - where k draws do not contain each path :math:`k \pi_p` times on average, :meth:`inclusion`
      says how often, and where k cannot be anything, :meth:`check_draws` refuses;
    - a sampler with memory saves it in :meth:`state_dict`; if drawing changes the memory,
      :meth:`fresh_draw` draws without;
    - one that learns sets :attr:`observes` and takes what was measured in :meth:`observe`.

    Attributes:
        n_paths: P, or None before the sampler is bound.
        weights: :math:`w_p` of the loss, float64 of shape (P,), or None before it is bound.
        observes: What it learns from, or None: ``"gradient_norms"`` (of the path losses, with
            respect to the reconstruction; a backward for each path drawn), ``"target_norms"`` (how
            loud each path of the target is), or ``"losses"`` (the path losses themselves, which
            cost nothing more and may be negative). Anything else is refused when it is bound.
    """

    n_paths: int | None = None
    weights: Tensor | None = None
    observes: Observation | None = None
    _paths: PathTable | None = None
    _active: Tensor | None = None  # indices of the paths of positive weight; None: all

    def bind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """Fit the sampler to the paths of a loss; called by :class:`~multipath.StochasticLoss`.

        Args:
            paths: The paths.
            weights: :math:`w_p` of each in the loss, shape (P,). Default: 1/P.

        Raises:
            ConfigurationError: If the sampler already serves a loss with other paths or weights:
                its law follows them, and that loss would be estimated by the wrong one. Equal ones
                are accepted, as for a copy of the sampler. If it observes what cannot be observed.
        """
        check_observation(self)
        n_paths = len(paths)
        if self.n_paths not in (None, n_paths):
            raise ConfigurationError(
                f"this {type(self).__name__} sampler is for {self.n_paths} paths and the loss has "
                f"{n_paths}; make one sampler for each loss"
            )
        self.n_paths = n_paths
        if weights is None:
            weights = torch.full((n_paths,), 1 / n_paths, dtype=torch.float64, device="cpu")
        if self._paths is not None and not _alike(self._paths, paths):
            raise self._serves_another("another table of paths")
        if self.weights is not None and not torch.allclose(
            self.weights.double(), weights.double(), rtol=1e-12, atol=0.0
        ):
            raise self._serves_another("other weights")
        self._paths, self.weights = paths, weights
        positive = weights > 0
        self._active = None if bool(positive.all()) else positive.nonzero().flatten()

    def rebind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """Rebind after the weights of the same loss have changed, as from a checkpoint.

        What the sampler has learned is kept.

        Args:
            paths: As many paths as before.
            weights: See :meth:`bind`.

        Raises:
            ConfigurationError: If the number of paths is another.
        """
        self._paths = self.weights = None
        self.bind(paths, weights)

    def _serves_another(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"this {type(self).__name__} sampler already serves a loss with {what}; make one "
            "sampler for each loss"
        )

    @property
    @abstractmethod
    def probabilities(self) -> Tensor:
        r""":math:`\pi_p` of the next single draw, float64 of shape (P,), sums to 1."""

    @abstractmethod
    def draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        r"""Draw paths.

        Args:
            n_draws: k, how many.
            generator: The only source of randomness.

        Returns:
            Indices, int64 of shape (k,), and the share :math:`\pi_p` of each, float64 of shape
            (k,): the expected number of times it appears in a draw of k, divided by k.
        """

    def fresh_draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw as :meth:`draw` does, but leave the memory of the sampler untouched.

        Used where no gradient is wanted: an evaluation must not change what training draws.
        """
        return self.draw(n_draws, generator)

    def check_draws(self, n_draws: int) -> None:  # noqa: B027  (most can make any number)
        """Refuse a number of draws that the sampler cannot make; asked at construction.

        Raises:
            ConfigurationError: If k draws are impossible, e.g. more than P without replacement.
        """

    def inclusion(self, n_draws: int) -> Tensor:
        r"""Shares :math:`\pi_p`: how often each path appears in k draws on average, divided by k.

        Equal to :attr:`probabilities`, except without replacement: there no path appears more than
        once, so that :math:`k \pi_p \le 1`.

        Args:
            n_draws: k.

        Returns:
            Float64 of shape (P,), sums to 1.
        """
        return self.probabilities

    def shares(self, indices: Tensor, n_draws: int) -> Tensor:
        """:meth:`inclusion` of some paths, without looking at all others where that is possible."""
        return self.inclusion(n_draws)[indices]

    def enumerate(self, n_draws: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every possible next draw with its probability, for exact proofs at small P.

        Draws without replacement come once, in ascending order.

        Raises:
            NotImplementedError: If a sampler does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not enumerate its draws")

    def count_covariance(self, n_draws: int) -> Tensor:
        r"""Covariance of the numbers of times :math:`n_p` that paths appear in k draws.

        The variance of an estimate :math:`\sum_p n_p w_p / (k \pi_p) L_p` is a quadratic form in
        it. Here by enumeration; samplers with a closed form override it.

        Returns:
            Float64 of shape (P, P).
        """
        n_paths = len(self.probabilities)
        mean = torch.zeros(n_paths, dtype=torch.float64, device="cpu")
        second = torch.zeros(n_paths, n_paths, dtype=torch.float64, device="cpu")
        for indices, probability in self.enumerate(n_draws):
            drawn = torch.tensor(indices, device="cpu")
            share = torch.full((n_draws,), probability, dtype=torch.float64, device="cpu")
            mean.index_add_(0, drawn, share)
            rows, columns = drawn.repeat_interleave(n_draws), drawn.repeat(n_draws)
            second.index_put_((rows, columns), share.repeat(n_draws), accumulate=True)
        return second - mean[:, None] * mean

    def coverage(self, n_draws: int) -> Tensor:
        """The probability that a path is among k draws: the expected cost of a step follows.

        Here by enumeration; samplers with a closed form override it.

        Returns:
            Float64 of shape (P,).
        """
        covered = torch.zeros(len(self.probabilities), dtype=torch.float64, device="cpu")
        for indices, probability in self.enumerate(n_draws):
            covered[list(set(indices))] += probability
        return covered

    @property
    def unbiased(self) -> bool:
        """Whether reweighted estimates are unbiased: every path of positive weight can be drawn."""
        return bool(self._among_active(self.probabilities > 0).all())

    def _once_bound(self, value: Bound | None) -> Bound:
        """What :meth:`bind` has set; before, the paths are unknown."""
        if value is None:
            raise ConfigurationError(
                f"{type(self).__name__} knows its paths only once it is part of a StochasticLoss"
            )
        return value

    @property
    def _size(self) -> int:
        """Number of paths of positive weight."""
        return self._once_bound(self.n_paths) if self._active is None else len(self._active)

    def _among_active(self, values: Tensor) -> Tensor:
        """The entries of the paths of positive weight; all, before the weights are known."""
        return values if self._active is None else values[self._active]

    def _to_paths(self, positions: Tensor) -> Tensor:
        """The paths at some positions among those of positive weight."""
        return positions if self._active is None else self._active[positions]

    def _uniform(self, n_paths: int) -> Tensor:
        """1/N for each of the N paths of positive weight, 0 for the others."""
        if self._active is None:
            return torch.full((n_paths,), 1 / n_paths, dtype=torch.float64, device="cpu")
        law = torch.zeros(n_paths, dtype=torch.float64, device="cpu")
        law[self._active] = 1 / len(self._active)
        return law

    def conditioned(self, probabilities: Tensor) -> Tensor:
        """Probabilities given for all paths, restricted to those of positive weight.

        Args:
            probabilities: One for each path of the loss, float64 of shape (P,), summing to 1.

        Returns:
            0 for each path of weight 0, and the others divided by their sum.

        Raises:
            ConfigurationError: If none of these has a positive probability.
        """
        if self._active is None:
            return probabilities
        active = probabilities[self._active]
        if len(active.nonzero()) == len(probabilities.nonzero()):
            return probabilities  # restricted already: dividing again would round
        total = float(active.sum())
        if not total > 0:
            raise ConfigurationError(
                "every path with a positive probability has weight 0 in the loss, so there is "
                "nothing to draw; give some of the other paths a positive probability"
            )
        law = torch.zeros_like(probabilities)
        law[self._active] = active / total
        return law

    def wants_observation(self) -> bool:
        """Whether to measure what :attr:`observes` names at the next draw of training.

        Asked once before each such draw; a sampler that measures at every m-th only counts here.
        """
        return self.observes is not None

    def observe(self, indices: Tensor, values: Tensor) -> None:  # noqa: B027  (most do not learn)
        """Take what was measured at a draw.

        Args:
            indices: The distinct paths drawn, int64.
            values: One finite number for each, float64.
        """

    def state_dict(self) -> dict[str, Any]:
        """What the sampler remembers from step to step; loads with ``weights_only=True``."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` saved, bit for bit.

        A state is checked as arguments are; one that is refused changes nothing. Here only its
        names are compared, which is all that a sampler without memory needs.

        Raises:
            InputError: If it holds what no such sampler can have saved.
            ConfigurationError: If it is the state of another kind of sampler.
        """
        self._check_names(state)

    def _check_names(self, state: Any) -> None:
        """Refuse a state with other names than those of :meth:`state_dict`."""
        check_names(type(self).__name__, state, self.state_dict())

    def extra_repr(self) -> str:
        """The settings, as ``print`` shows them after the number of paths."""
        return ""

    def __repr__(self) -> str:
        """Class name, number of paths, once known, and settings."""
        n_paths = "" if self.n_paths is None else f"P={self.n_paths}"
        return f"{type(self).__name__}({', '.join(filter(None, [n_paths, self.extra_repr()]))})"


def _alike(mine: PathTable, other: PathTable) -> bool:
    """Equal keys and costs; of metadata, which may not compare, only what a sampler looks at."""
    if mine is other or (mine.anonymous and other.anonymous):
        return True
    return mine.keys == other.keys and torch.equal(mine.costs, other.costs)


def check_observation(sampler: Sampler) -> Observation | None:
    """What a sampler observes, if there is such a thing.

    Raises:
        ConfigurationError: If there is not.
    """
    kind = sampler.observes
    return choice(f"observes of {type(sampler).__name__}", kind, *get_args(Observation), None)  # type: ignore[no-any-return]


def as_probabilities(values: Any, name: str = "probabilities") -> Tensor:
    """Probabilities in float64, checked and divided by their sum.

    Raises:
        ConfigurationError: If they are not a vector, are negative or not finite, or do not sum
            to 1 within 1e-5.
    """
    probabilities = vector(name, values)
    if probabilities.ndim != 1 or not len(probabilities):
        raise ConfigurationError(
            f"{name} must be a vector of shape (P,), got {tuple(probabilities.shape)}"
        )
    if not bool(torch.isfinite(probabilities).all()):
        raise ConfigurationError(f"{name} must be finite, got NaN or infinity")
    if bool((probabilities < 0).any()):
        raise ConfigurationError(
            f"{name} must not be negative, got {probabilities.min().item():.3g} for path "
            f"{int(probabilities.argmin())}"
        )
    total = float(probabilities.sum())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ConfigurationError(f"{name} must sum to 1, got {total:.6g}; divide them by their sum")
    return probabilities / total


def loaded_probabilities(name: str, value: Any, size: int) -> Tensor:
    """Probabilities of a loaded state, checked as :func:`as_probabilities` does, but bit for bit.

    Args:
        name: What they are, for the message.
        value: What came.
        size: How many there must be.

    Raises:
        InputError: If they are none.
    """
    found = loaded_tensor(name, value, (size,), torch.float64, low=0.0)
    total = float(found.sum())
    if abs(total - 1) > SUM_TOLERANCE:
        raise InputError(f"{name} must sum to 1, got {total:.6g}; {ANOTHER}")
    return found


@contextmanager
def unchanged_if_refused(*samplers: Sampler) -> Iterator[None]:
    """Give samplers their state back if one of them refuses what it is to load."""
    before = [(sampler, sampler.state_dict()) for sampler in samplers]
    try:
        yield
    except Exception:
        for sampler, state in before:
            sampler.load_state_dict(state)
        raise
