"""What every sampler owes its users, proved by enumeration, as tests to inherit."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from multipath.errors import ConfigurationError
from multipath.paths import PathTable
from multipath.samplers import Sampler
from multipath.samplers.base import Observation
from multipath.stochastic import StochasticLoss

from ._checks import (
    global_randomness_untouched,
    require,
    require_close,
    same,
    skip,
    through_file,
    undefined,
    value_and_gradient,
)
from ._laws import law_of, mean_weights, moments, tail_probability
from .quadratic import QuadraticLoss

N_TRIALS = 1000  # draws whose frequencies are compared with the enumerated probabilities
SIGNIFICANCE = 1e-6  # of that comparison, whose outcome never changes since seeds are fixed


class Case(NamedTuple):
    """A sampler bound to paths, a number of draws, and a label for messages."""

    sampler: Sampler
    n_draws: int
    label: str


class SamplerTests:
    """Inherit, name the subclass ``Test...``, and define :meth:`make_sampler`.

    Every check runs over all ``n_paths``, all ``n_draws`` that are possible, equal and unequal
    weights of the loss and, if the sampler learns, before and after it has learned.

    Attributes:
        n_paths: Numbers of paths P to try.
        n_draws: Numbers of draws k to try.
        distinct: Whether no path appears twice in a draw, so that k is at most P.
        limited: Whether k is at most P although paths may appear twice.
        biased: Whether, at some P at least, some path of positive weight is never drawn, or may
            never be drawn once the sampler has learned. Undeclared, this fails.
        follows_table: Whether the order of the table decides which paths are drawn together, as in
            systematic sampling; see :meth:`make_relabelled`.
        tolerance: Largest error of all that is proved by enumeration, in float64.

    Example:
        >>> from multipath.samplers import Uniform
        >>> class TestDistinct(SamplerTests):
        ...     distinct = True
        ...     def make_sampler(self, n_paths):
        ...         return Uniform(replacement=False)
        >>> TestDistinct().test_estimates_are_unbiased()  # pytest calls them all
    """

    n_paths: Sequence[int] = (1, 2, 3, 7)
    n_draws: Sequence[int] = (1, 2, 3)
    distinct: bool = False
    limited: bool = False
    biased: bool = False
    follows_table: bool = False
    tolerance: float = 1e-12

    def make_sampler(self, n_paths: int) -> Sampler:
        """A new sampler for a loss of that many paths, not yet bound to it.

        Args:
            n_paths: Number of paths P.
        """
        raise undefined(self, "make_sampler(n_paths)", "return a new Sampler")

    def make_relabelled(self, order: Sequence[int]) -> Sampler:
        """The sampler for the same paths in another order; optional.

        Define it where a sampler is given information about its paths; one that is given none may
        return what :meth:`make_sampler` returns. A sampler that learns is compared before it has.

        Args:
            order: Path i is to be treated as path ``order[i]`` of :meth:`make_sampler`.
        """
        skip("make_relabelled(order) is not defined")

    def season(self, sampler: Sampler) -> None:
        """Let a sampler learn: by default from every other path, louder with its index.

        Args:
            sampler: A bound sampler whose ``observes`` is not None.
        """
        seen = torch.arange(0, sampler.n_paths or 0, 2)
        for factor in (3.0, 1.0):
            sampler.wants_observation()
            sampler.observe(seen, factor * (seen.double() + 1) ** 3)

    def test_probabilities_are_valid(self) -> None:
        """Probabilities are float64 of shape (P,), finite, not negative, and sum to 1."""
        for sampler, _, label in self._cases([1]):
            self._require_distribution(sampler.probabilities, sampler, f"probabilities at {label}")

    def test_enumeration_is_a_law(self) -> None:
        """The enumeration has draws of k paths, with positive probabilities that sum to 1."""
        for sampler, n_draws, label in self._cases():
            law = law_of(sampler, n_draws)
            wrong = [
                i
                for i in law
                if len(i) != n_draws or not set(i) <= set(range(sampler.n_paths or 0))
            ]
            require(
                not wrong,
                f"enumerate({n_draws}) must yield draws of {n_draws} indices in [0, P), got "
                f"{wrong[:1]} at {label}",
            )
            require(
                min(law.values()) > 0,
                f"enumerate({n_draws}) must leave out impossible draws, at {label}",
            )
            total = sum(law.values())
            require(
                abs(total - 1) <= self.tolerance,
                f"probabilities of enumerate({n_draws}) must sum to 1, got {total!r} at {label}",
            )

    def test_inclusion_is_that_of_the_enumeration(self) -> None:
        """A path is drawn k times its share on average, and shares sum to 1."""
        for sampler, n_draws, label in self._cases():
            shares = sampler.inclusion(n_draws)
            self._require_distribution(shares, sampler, f"inclusion({n_draws}) at {label}")
            mean, _ = moments(sampler, n_draws)
            require_close(
                n_draws * shares,
                mean,
                self.tolerance,
                f"k inclusion({n_draws}) must be the mean counts of enumerate, at {label}",
            )
            paths = torch.arange(len(shares)).flip(0)
            require_close(
                sampler.shares(paths, n_draws),
                shares[paths],
                self.tolerance,
                f"shares(indices, {n_draws}) must be inclusion({n_draws})[indices], at {label}",
            )
            if n_draws == 1:
                require_close(
                    sampler.probabilities,
                    shares,
                    self.tolerance,
                    f"probabilities must be those of a single draw, inclusion(1), at {label}",
                )

    def test_count_covariance_is_that_of_the_enumeration(self) -> None:
        """The covariance of how often paths appear in a draw is that over all draws."""
        for sampler, n_draws, label in self._cases():
            _, expected = moments(sampler, n_draws)
            found = sampler.count_covariance(n_draws)
            scale = n_draws**2 * self.tolerance
            require(
                found.shape == expected.shape and bool(((found - expected).abs() <= scale).all()),
                f"count_covariance({n_draws}) must be that of the draws of enumerate({n_draws}) at "
                f"{label}, expected {expected.tolist()}, got {found.tolist()}",
            )

    def test_draws_carry_their_shares(self) -> None:
        """Draws are possible ones, int64 indices with float64 shares, both of shape (k,)."""
        for sampler, n_draws, label in self._cases():
            possible = law_of(sampler, n_draws, ordered=False)
            generator = torch.Generator().manual_seed(0)
            for method in (sampler.draw, sampler.fresh_draw):
                for _ in range(5):
                    expected = sampler.inclusion(n_draws).clone()
                    indices, shares = method(n_draws, generator)
                    what = f"{method.__name__}({n_draws}, generator)"
                    require(
                        (indices.dtype, shares.dtype) == (torch.int64, torch.float64)
                        and indices.shape == shares.shape == (n_draws,),
                        f"{what} must return int64 indices and float64 shares of shape "
                        f"({n_draws},), got {indices.dtype} {tuple(indices.shape)} and "
                        f"{shares.dtype} {tuple(shares.shape)}",
                    )
                    require(
                        tuple(sorted(indices.tolist())) in possible,
                        f"{what} gave {indices.tolist()}, which enumerate({n_draws}) does not, at "
                        f"{label}",
                    )
                    require_close(
                        shares,
                        expected[indices],
                        self.tolerance,
                        f"{what} must return inclusion({n_draws})[indices], as it was before the "
                        f"draw, at {label}",
                    )

    def test_draws_follow_the_enumerated_law(self) -> None:
        """Frequencies of many draws from one state pass a chi-square test."""
        n_paths = max(self.n_paths)
        for n_draws in sorted({1, self._most_draws(n_paths)}):
            sampler, label = self._bound(n_paths), f"P={n_paths}, k={n_draws}"
            if sampler.observes is not None:
                self.season(sampler)
            start, law = copy.deepcopy(sampler.state_dict()), law_of(sampler, n_draws, False)
            for method in (sampler.draw, sampler.fresh_draw):
                generator, counts = torch.Generator().manual_seed(1), Counter[tuple[int, ...]]()
                for _ in range(N_TRIALS):
                    counts[tuple(sorted(method(n_draws, generator)[0].tolist()))] += 1
                    if not same(sampler.state_dict(), start):
                        sampler.load_state_dict(start)
                probability = tail_probability(law, counts)
                excess = {d: counts[d] - N_TRIALS * law.get(d, 0.0) for d in {*law, *counts}}
                worst = max(excess.items(), key=lambda item: abs(item[1]))[0]
                require(
                    probability > SIGNIFICANCE,
                    f"{method.__name__} must follow enumerate({n_draws}) at {label}: such "
                    f"frequencies have probability {probability:.1e}. Of {N_TRIALS} draws, "
                    f"expected {counts[worst] - excess[worst]:.4g} times {list(worst)}, got "
                    f"{counts[worst]}",
                )

    def test_estimates_are_unbiased(self) -> None:
        """Over all draws, weights, values and gradients average to those of the loss."""
        for sampler, n_draws, label in self._cases():
            if not sampler.unbiased:
                continue
            criterion = self._criterion(sampler, n_draws)
            require_close(
                mean_weights(criterion),
                criterion.loss.path_weights,
                self.tolerance,
                f"averaged over all draws, weights must be those of the loss, at {label}; check "
                f"inclusion({n_draws}), which they are divided by",
            )
            if (sampler.n_paths or 0) > 3:
                continue
            x, y = _batch()
            expected = value_and_gradient(criterion.loss(x, y), x)
            mean = [torch.zeros_like(part) for part in expected]
            for indices, probability in sampler.enumerate(n_draws):
                estimate = criterion.estimate(x, y, criterion.make_draw(indices))
                for total, part in zip(mean, value_and_gradient(estimate, x), strict=True):
                    total += probability * part
            for name, total, part in zip(("value", "gradient"), mean, expected, strict=True):
                message = f"the expected {name} of estimates must be that of the loss, at {label}"
                require_close(total, part, self.tolerance, message)

    def test_bias_is_declared(self) -> None:
        """``unbiased`` is true unless ``biased`` is declared, and then paths are really left out.

        A sampler that may leave out paths once it has learned must say so from the start.
        """
        found = False
        for sampler, n_draws, label in self._cases():
            criterion = self._criterion(sampler, n_draws)
            weights, reached = criterion.loss.path_weights, sampler.probabilities > 0
            left_out = bool((weights[~reached] > 0).any())
            foreseen = self.biased and sampler.observes is not None
            require(
                sampler.unbiased == (not left_out) or (foreseen and not sampler.unbiased),
                f"sampler.unbiased must be {not left_out} at {label}, where "
                f"{int((~reached).sum())} paths are never drawn, got {sampler.unbiased}",
            )
            require(
                self.biased or not left_out,
                f"paths {(~reached).nonzero().flatten().tolist()} are never drawn at {label}: "
                "give every path a positive probability, or declare biased = True",
            )
            if left_out:
                found = True
                message = f"weights of paths that are drawn must be those in the loss, at {label}"
                mean = mean_weights(criterion)
                require_close(mean, torch.where(reached, weights, 0.0), self.tolerance, message)
        require(
            found or not self.biased,
            "biased = True is declared and every path can be drawn: remove the declaration",
        )

    def test_impossible_numbers_of_draws_are_refused(self) -> None:
        """``check_draws`` raises ConfigurationError exactly where k draws cannot be made."""
        for n_paths in self.n_paths:
            for n_draws in {*self.n_draws, n_paths, n_paths + 1}:
                sampler = self._bound(n_paths)
                possible = self._possible(sampler, n_draws)
                try:
                    sampler.check_draws(n_draws)
                except ConfigurationError as error:
                    require(
                        not possible,
                        f"check_draws({n_draws}) must pass at P={n_paths}; or declare distinct "
                        f"or limited. It said: {error}",
                    )
                else:
                    require(
                        possible,
                        f"check_draws({n_draws}) must raise ConfigurationError at P={n_paths}, as "
                        "k is at most the number of paths that can be drawn (distinct or limited)",
                    )

    def test_identical_paths_have_no_variance(self) -> None:
        """If paths weigh as they are drawn, every draw of equal losses gives the same estimate.

        The weights of such a loss are the shares, w_p = pi_p, so that the estimate is the sum of
        w_p / (k pi_p) over the draw: 1, for any sampler that weighs by the shares of
        ``inclusion`` and not by those, say, of the component that happened to draw.
        """
        for sampler, n_draws, label in self._cases():
            weights, generator = sampler.inclusion(n_draws), torch.Generator().manual_seed(0)
            draws = [torch.tensor(indices) for indices in law_of(sampler, n_draws, False)]
            pairs = [(indices, sampler.shares(indices, n_draws)) for indices in draws]
            pairs += [sampler.fresh_draw(n_draws, generator) for _ in range(20)]
            for indices, shares in pairs:
                value = float((weights[indices] / (n_draws * shares)).sum())
                require(
                    abs(value - 1) <= self.tolerance,
                    f"equal losses of weights inclusion({n_draws}) must be estimated without "
                    f"variance, as 1, got {value!r} from the draw {indices.tolist()} at {label}",
                )

    def test_relabelled_paths_are_drawn_alike(self) -> None:
        """How a path is drawn does not depend on its position in the table."""
        for n_paths in self.n_paths:
            ramp = torch.arange(1, n_paths + 1, dtype=torch.float64) / n_paths
            swapped = [*range(1, n_paths, 2), *range(0, n_paths, 2)]
            for order in (list(reversed(range(n_paths))), swapped):
                plain, relabelled = self._bound(n_paths, ramp), self.make_relabelled(order)
                relabelled.bind(PathTable(n_paths), ramp[order])
                for n_draws in [k for k in self.n_draws if self._possible(plain, k)]:
                    label = f"with paths in order {order}, k={n_draws}"
                    require_close(
                        relabelled.inclusion(n_draws),
                        plain.inclusion(n_draws)[order],
                        self.tolerance,
                        f"inclusion must go with the paths, {label}",
                    )
                    if n_draws > 1 and self.follows_table:
                        continue
                    expected = plain.count_covariance(n_draws)[order][:, order]
                    error = (relabelled.count_covariance(n_draws) - expected).abs().max()
                    require(
                        float(error) <= n_draws**2 * self.tolerance,
                        f"count_covariance must go with the paths, or declare follows_table, "
                        f"{label}: off by {float(error):.3g}",
                    )

    def test_draws_are_distinct(self) -> None:
        """No path appears twice in a draw, so that k times its share is at most 1."""
        if not self.distinct:
            skip("draws are not declared distinct")
        for sampler, n_draws, label in self._cases():
            generator = torch.Generator().manual_seed(0)
            draws = list(law_of(sampler, n_draws))
            for method in (sampler.draw, sampler.fresh_draw):
                draws += [tuple(method(n_draws, generator)[0].tolist()) for _ in range(5)]
            repeated = [draw for draw in draws if len(set(draw)) < n_draws]
            require(not repeated, f"a draw must hold distinct paths, got {repeated[:1]} at {label}")
            most = n_draws * float(sampler.inclusion(n_draws).max())
            require(
                most <= 1 + self.tolerance,
                f"no path can be in a draw more than once on average, got {most!r} at {label}",
            )

    def test_draws_depend_on_the_generator_alone(self) -> None:
        """Equal seeds give equal draws, other seeds others, without use of global random state."""
        for n_paths in self.n_paths:
            streams = []
            with global_randomness_untouched("draws"):
                for seed in (0, 0, 1):
                    sampler, generator = self._bound(n_paths), torch.Generator().manual_seed(seed)
                    draws = [sampler.draw(1, generator)[0].item() for _ in range(40)]
                    draws += [sampler.fresh_draw(1, generator)[0].item() for _ in range(40)]
                    streams.append(draws)
            require(
                streams[0] == streams[1],
                f"two samplers must make the same draws from equal generators, at P={n_paths}",
            )
            random = int((self._bound(n_paths).probabilities > 0).sum()) > 1
            require(
                not random or streams[0] != streams[2],
                f"draws must change with the seed of the generator, at P={n_paths}",
            )

    def test_fresh_draws_leave_no_trace(self) -> None:
        """An evaluation changes neither the state nor the draws of training."""
        for sampler, n_draws, label in self._cases():
            generator = torch.Generator().manual_seed(0)
            sampler.draw(n_draws, generator)
            twin, before = copy.deepcopy(sampler), copy.deepcopy(sampler.state_dict())
            for _ in range(3):
                sampler.fresh_draw(n_draws, torch.Generator().manual_seed(5))
            require(
                same(sampler.state_dict(), before),
                f"fresh_draw must leave the state of the sampler alone, at {label}",
            )
            draws = [
                [s.draw(n_draws, torch.Generator().manual_seed(6))[0].tolist() for _ in range(3)]
                for s in (sampler, twin)
            ]
            require(draws[0] == draws[1], f"fresh_draw must not change later draws, at {label}")

    def test_resume_continues_to_the_last_bit(self) -> None:
        """Training saved in mid-stream goes on in another criterion as it would have."""
        for n_paths in self.n_paths:
            n_draws = self._most_draws(n_paths)
            whole, resumed = (
                self._criterion(self.make_sampler(n_paths), n_draws, n_paths) for _ in range(2)
            )
            self._train(whole, 5)
            state, saved = whole.sampler.state_dict(), whole.state_dict()
            through_file(state, "the sampler")
            kept = copy.deepcopy(state)
            expected = self._train(whole, 9)
            require(
                same(state, kept),
                f"state_dict must hold copies: it changed as training went on, at P={n_paths}",
            )
            resumed.load_state_dict(saved)
            found = self._train(resumed, 9)
            require(
                same(found, expected),
                "after load_state_dict draws and weights must go on to the last bit, at "
                f"P={n_paths}, k={n_draws}: expected {expected[0]}, got {found[0]} and so on; save "
                "everything that draw and observe change",
            )
            require(
                same(resumed.sampler.state_dict(), whole.sampler.state_dict()),
                f"states must stay equal after they were restored, at P={n_paths}",
            )

    def test_copies_go_on_by_themselves(self) -> None:
        """A deep copy makes the draws that the original makes, and neither affects the other."""
        for n_paths in self.n_paths:
            n_draws = self._most_draws(n_paths)
            criterion = self._criterion(self.make_sampler(n_paths), n_draws, n_paths)
            self._train(criterion, 3)
            twin = copy.deepcopy(criterion)
            require(
                same(self._train(criterion, 5), self._train(twin, 5)),
                f"a deep copy must go on like the original, at P={n_paths}, k={n_draws}",
            )

    def test_another_number_of_paths_is_refused(self) -> None:
        """A sampler serves one loss: binding it to a loss of more paths is an error."""
        for n_paths in self.n_paths:
            sampler = self._bound(n_paths)
            try:
                sampler.bind(PathTable(n_paths + 1))
            except ConfigurationError:
                continue
            raise AssertionError(
                f"a sampler bound to {n_paths} paths must refuse {n_paths + 1} with "
                "ConfigurationError; call super().bind(paths, weights) first"
            )

    def test_another_loss_is_refused(self) -> None:
        """As many paths of other weights are refused; the same ones may be bound again."""
        for n_paths in self.n_paths:
            ramp = torch.arange(1, n_paths + 1, dtype=torch.float64)
            sampler = self._bound(n_paths, ramp)
            before = sampler.probabilities.clone()
            for again in (sampler, copy.deepcopy(sampler)):
                again.bind(PathTable(n_paths), ramp.clone())
                require(
                    torch.equal(again.probabilities, before),
                    f"binding to the same paths and weights must change nothing, at P={n_paths}",
                )
            try:
                sampler.bind(PathTable(n_paths), ramp + 1)
            except ConfigurationError:
                continue
            raise AssertionError(
                f"a sampler bound to {n_paths} paths must refuse as many of other weights with "
                "ConfigurationError; call super().bind(paths, weights) first"
            )

    def test_what_it_observes_exists(self) -> None:
        """``observes`` is a kind of observation, or None if the sampler does not learn."""
        known = (*get_args(Observation), None)
        for n_paths in self.n_paths:
            observes: Any = self._made(n_paths).observes
            require(
                observes in known,
                f"observes must be one of {', '.join(map(repr, known))}, got {observes!r}",
            )

    def test_observations_keep_probabilities_valid(self) -> None:
        """Probabilities stay valid whatever is observed: zero, tiny or huge, of one path or all.

        Losses may also be negative.
        """
        observes = self._bound(max(self.n_paths)).observes
        if observes is None:
            skip("the sampler does not observe")
        observed = [[0.0], [1e-300], [1e-30, 1e30], [1.0, 0.0], [1e30]]
        if observes == "losses":
            observed += [[-1.0], [-1e30, 1.0]]
        for n_paths in self.n_paths:
            every, last = torch.arange(n_paths), torch.tensor([n_paths - 1])
            for values in observed:
                sampler = self._bound(n_paths)
                for indices in (last, every, last):
                    sampler.wants_observation()
                    told = torch.tensor(values, dtype=torch.float64).repeat(n_paths)
                    sampler.observe(indices, told[: len(indices)])
                    what = f"probabilities at P={n_paths}, after observing {values},"
                    self._require_distribution(sampler.probabilities, sampler, what)
                    require(
                        self.biased or sampler.unbiased,
                        f"{what} must stay positive, got {sampler.probabilities.tolist()}; keep a "
                        "floor below what is learned",
                    )

    def _made(self, n_paths: int) -> Sampler:
        sampler: Any = self.make_sampler(n_paths)
        require(
            isinstance(sampler, Sampler),
            f"make_sampler({n_paths}) must return a Sampler, got {type(sampler).__name__}",
        )
        return sampler  # type: ignore[no-any-return]

    def _bound(self, n_paths: int, weights: Tensor | None = None) -> Sampler:
        sampler = self._made(n_paths)
        sampler.bind(PathTable(n_paths), weights)
        return sampler

    def _possible(self, sampler: Sampler, n_draws: int) -> bool:
        reached = int((sampler.probabilities > 0).sum())
        return n_draws <= reached or not (self.distinct or self.limited)

    def _most_draws(self, n_paths: int) -> int:
        sampler = self._bound(n_paths)
        return max(k for k in (1, *self.n_draws) if self._possible(sampler, k))

    def _cases(self, n_draws: Sequence[int] | None = None) -> Iterator[Case]:
        """Every P, k and kind of weights; samplers that learn come before and after learning."""
        for n_paths in self.n_paths:
            ramp = torch.arange(1, n_paths + 1, dtype=torch.float64)
            for weights, words in ((None, "equal"), (ramp / ramp.sum(), "rising")):
                if n_paths == 1 and weights is not None:
                    continue
                for seasoned in (False, True):
                    sampler = self._bound(n_paths, weights)
                    if seasoned and sampler.observes is None:
                        continue
                    for k in self.n_draws if n_draws is None else n_draws:
                        if not self._possible(sampler, k):
                            continue
                        sampler = self._bound(n_paths, weights)
                        if seasoned:
                            self.season(sampler)
                        state = ", after observations" if seasoned else ""
                        yield Case(sampler, k, f"P={n_paths}, k={k}, {words} weights{state}")

    def _criterion(
        self, sampler: Sampler, n_draws: int, n_paths: int | None = None
    ) -> StochasticLoss:
        """An estimator of a quadratic loss with the weights that the sampler was bound to."""
        count = n_paths or sampler.n_paths or 1
        loss = QuadraticLoss(count, weights=sampler.weights)
        return StochasticLoss(loss, sampler, n_draws, generator=0)

    def _train(self, criterion: StochasticLoss, steps: int) -> list[list[Any]]:
        """Indices and weights of the draws of some steps, whose gradients the sampler may see."""
        seen = []
        for step in range(steps):
            x, y = _batch(step)
            criterion(x, y).backward()
            draw: Any = criterion.last_draw
            seen.append([draw.indices.tolist(), draw.weights.tolist()])
        return seen

    def _require_distribution(self, values: Tensor, sampler: Sampler, what: str) -> None:
        __tracebackhide__ = True
        expected = (sampler.n_paths,)
        require(
            values.dtype == torch.float64 and tuple(values.shape) == expected,
            f"{what} must be float64 of shape {expected}, got {values.dtype} of shape "
            f"{tuple(values.shape)}",
        )
        require(
            bool(torch.isfinite(values).all() and (values >= 0).all()),
            f"{what} must be finite and not negative, got {values.tolist()}",
        )
        total = float(values.sum())
        require(abs(total - 1) <= self.tolerance, f"{what} must sum to 1, got {total!r}")


def _batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64).unbind()
    return x.requires_grad_(), y
