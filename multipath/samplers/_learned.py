"""Probabilities from one estimate per path, which may be unknown yet and change at any step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multipath._internal.bookkeeping import bookkept
from multipath._internal.modes import trainable
from multipath._internal.printing import listed
from multipath._internal.settings import between, count, switch
from multipath._internal.state import ANOTHER, check_kind, loaded_integer
from multipath.errors import ConfigurationError, InputError
from multipath.paths import PathTable

from ._systematic import CERTAIN, systematic_points
from ._tree import Floats, Integers, SumTree, mass
from .categorical import Categorical

LARGEST = 1e70
"""Of an estimate: its fourth power, summed over any number of paths, is finite."""


class LearnedSampler(Categorical):
    r"""Draws paths of high score more often.

    .. math:: \pi_p = (1 - f)\, s_p / \sum_q s_q + f / P

    The score is :math:`s_p = (b_p x_p)^\gamma`: a fixed factor :math:`b_p` (such as the weight of
    the path in the loss) times an estimate :math:`x_p`, to a power. A path not yet seen counts
    :math:`b_p^\gamma` times the mean :math:`\sum_q s_q / \sum_q b_q^\gamma` over those seen.
    Paths whose :math:`b_p x_p` is below a fraction of the largest are left out, of the floor too.

    The scores stand in a :class:`SumTree`. Its channels are those whose mixture is :math:`\pi`
    whatever the sums are, so that an observation changes k leaves and not P:

    ====== ============================= ================================
    channel leaf                          factor, with T the total score
    ====== ============================= ================================
    0      score if known                (1 - f) / T
    1      :math:`b_p^\gamma` if unknown (1 - f) mean / T
    2      1, or 0 if left out           f / (number not left out)
    3      :math:`b_p^\gamma` if known   0 (for the mean)
    ====== ============================= ================================

    Args:
        floor: f in [0, 1].
        power: :math:`\gamma`, from 0 to 4.
        threshold: The fraction in [0, 1).
        decay: Of the moving average over what is observed, in [0, 1).
        every: Observe at every m-th draw.
        replacement: See :class:`Categorical`.
    """

    def __init__(
        self,
        *,
        floor: float,
        power: float = 1.0,
        threshold: float = 0.0,
        decay: float = 0.0,
        every: int = 1,
        replacement: bool = True,
    ) -> None:
        self.floor, self.power = between("floor", floor, 0, 1), between("power", power, 0, 4)
        self.threshold = between("threshold", threshold, 0, 1, "[)")
        self.decay, self.every = between("decay", decay, 0, 1, "[)"), count("every", every)
        self.replacement = switch("replacement", replacement)
        self._steps = 0
        self._factors = self._estimates = torch.empty(0, dtype=torch.float64, device="cpu")
        self._tree: SumTree | None = None
        self._dense: Tensor | None = None

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        settings = {"floor": self.floor, "power": self.power, "threshold": self.threshold}
        if self.observes is not None:
            settings |= {"decay": self.decay, "every": self.every}
        return f"{listed(**settings)}, {super().extra_repr()}"

    @abstractmethod
    def factors(self, paths: PathTable, weights: Tensor) -> Tensor:
        """:math:`b_p`, float64 of shape (P,)."""

    @trainable
    def bind(self, paths: PathTable, weights: Tensor | None = None) -> None:
        """Fit the sampler to a loss and compute the scores of its paths."""
        super().bind(paths, weights)
        if not len(self._estimates):
            self._estimates = bookkept([torch.nan]).repeat(len(paths))
        if self.weights is not None:
            self._factors = self.factors(paths, self.weights).double()
        self._build()

    @property
    def unbiased(self) -> bool:
        """Not if what it learns may leave paths out, declared before it has learned anything."""
        return not self._may_leave_out and super().unbiased

    @property
    def _may_leave_out(self) -> bool:
        return self.observes is not None and (self.threshold > 0 or self.floor == 0)

    @property
    def probabilities(self) -> Tensor:
        """The law of the next draw, from what is known now; costs O(P)."""
        if self._dense is None:
            tree = self._grown()
            values = mass(tree.leaves(slice(0, len(self._estimates))), self._mix())
            self._dense = torch.from_numpy(values)
        return self._dense

    def draw(self, n_draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        r"""Draw k paths, independent or distinct, in :math:`O(k \log P)`."""
        tree, mix = self._grown(), self._mix()
        if self.replacement:
            points = torch.rand(n_draws, generator=generator, dtype=torch.float64, device="cpu")
            indices = tree.find(points.numpy(), mix)
            return torch.from_numpy(indices), torch.from_numpy(mass(tree.leaves(indices), mix))
        certain, rest = self._certain(n_draws)
        points = systematic_points(n_draws - len(certain), generator)
        before = tree.leaves(certain)
        tree.update(certain, np.zeros_like(before))
        indices = np.sort(np.concatenate([certain, tree.find(points.numpy(), mix)]))
        tree.update(certain, before)
        shares = self._distinct_shares(indices, n_draws, certain, rest)
        return torch.from_numpy(indices), shares

    def check_draws(self, n_draws: int) -> None:
        """Refuse more distinct paths than there are, or than learning may leave."""
        super().check_draws(n_draws)
        if self._may_leave_out and not self.replacement and n_draws > 1:
            raise ConfigurationError(
                f"{type(self).__name__} without replacement may be left with less than {n_draws} "
                f"paths when it learns with floor={self.floor:g}, threshold={self.threshold:g}; "
                "set a positive floor and no threshold"
            )

    def shares(self, indices: Tensor, n_draws: int) -> Tensor:
        """The shares of some paths, without looking at all the others."""
        if self.replacement:
            return torch.from_numpy(mass(self._grown().leaves(indices.numpy()), self._mix()))
        return self._distinct_shares(indices.numpy(), n_draws, *self._certain(n_draws))

    def wants_observation(self) -> bool:
        """Whether this is one of the draws to learn from: every m-th."""
        self._steps += self.observes is not None
        return self.observes is not None and (self._steps - 1) % self.every == 0

    def observe(self, indices: Tensor, values: Tensor) -> None:
        """Move the averages of these paths; the first value of a path is its first average."""
        before, values = self._estimates[indices], values.abs()  # a loss may be negative
        moved = self.decay * before + (1 - self.decay) * values
        self._estimates[indices] = torch.where(before.isnan(), values, moved)
        if self.threshold:
            self._build()  # the largest may have changed, and with it what is left out
            return
        self._grown().update(indices.numpy(), self._leaves(indices))
        self._dense = None

    def state_dict(self) -> dict[str, Any]:
        """The averages (NaN where nothing is known) and how many draws have been counted."""
        return {"estimates": self._estimates.clone(), "steps": self._steps}

    @trainable
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the averages and the count, bit for bit."""
        self._check_names(state)
        kind, size = type(self).__name__, self._once_bound(self.n_paths)
        steps = loaded_integer(f"the steps of {kind}", state["steps"])
        estimates, name = state["estimates"], f"the estimates of {kind}"
        check_kind(name, estimates, (size,), torch.float64)
        estimates = estimates.detach().cpu().clone()
        known = estimates[~estimates.isnan()]
        if not bool(((known >= 0) & (known <= LARGEST)).all()):
            raise InputError(f"{name} must lie in [0, {LARGEST:g}] where known; {ANOTHER}")
        if self.observes is None and not (len(known) == size and float(known.sum()) > 0):
            raise InputError(f"{name} were measured, and must be known and not all 0; {ANOTHER}")
        self._estimates, self._steps = estimates, steps
        self._build()

    def _build(self) -> None:
        """Build the tree from the leaves of all paths."""
        self._tree = SumTree(self._leaves(torch.arange(len(self._estimates), device="cpu")))
        self._dense = None

    def _grown(self) -> SumTree:
        return self._once_bound(self._tree)

    def _leaves(self, indices: Tensor) -> Floats:
        """The channels of some leaves."""
        factors, estimates = self._factors[indices], self._estimates[indices]
        known = ~estimates.isnan()
        level = factors * estimates.nan_to_num(0.0)
        score, unit = _power(level, self.power), _power(factors, self.power)
        kept = torch.ones_like(known)
        if self._active is not None and self.weights is not None:
            kept = self.weights[indices] > 0
        if self.threshold and bool((seen := known & kept).any()):  # then these are all paths
            kept = kept & (~known | (level >= self.threshold * level[seen].max()))
        channels = score * known, unit * ~known, torch.ones_like(unit), unit * known
        leaves: Floats = torch.stack([channel * kept for channel in channels]).numpy()
        return leaves

    def _mix(self) -> Floats:
        """The factors by which the channels add up to the law."""
        score, unknown, count, known = (float(total) for total in self._grown().total)
        mean = score / known if known > 0 else 1.0
        total = score + mean * unknown
        if not total > 0:  # nothing but zeros: draw uniformly
            return np.array([0.0, 0.0, 1 / count, 0.0])
        learned = (1 - self.floor) / total
        return np.array([learned, learned * mean, self.floor / count, 0.0])

    def _certain(self, n_draws: int) -> tuple[Integers, float]:
        """Paths that every draw of k distinct ones holds, and the mass of all others.

        Found without looking at all paths: at most k can be as heavy as the rest divided by what
        is left to draw.
        """
        tree, mix = self._grown(), self._mix()
        certain, rest = np.empty(0, dtype=np.int64), float(mass(tree.total, mix))
        while n_draws - len(certain) > 1:  # a single point cannot hit twice
            limit = CERTAIN * rest / (n_draws - len(certain))
            heavy = np.setdiff1d(tree.heavier(limit, mix), certain)
            falling = np.argsort(-mass(tree.leaves(heavy), mix), kind="stable")
            heavy = heavy[falling[: n_draws - len(certain) - 1]]
            if not len(heavy):
                break
            certain = np.union1d(certain, heavy)
            before = tree.leaves(certain)
            tree.update(certain, np.zeros_like(before))
            rest = float(mass(tree.total, mix))  # summed, not subtracted: it may be tiny
            tree.update(certain, before)
        return certain, rest

    def _distinct_shares(
        self, indices: Integers, n_draws: int, certain: Integers, rest: float
    ) -> Tensor:
        """Inclusion probabilities without replacement, divided by k."""
        masses = mass(self._grown().leaves(indices), self._mix())
        left = n_draws - len(certain)
        counts = masses * (left / rest) if left else np.zeros_like(masses)
        counts[np.isin(indices, certain)] = 1.0
        return torch.from_numpy(counts / n_draws)


def _power(values: Tensor, power: float) -> Tensor:
    return values if power == 1.0 else values.pow(power)
