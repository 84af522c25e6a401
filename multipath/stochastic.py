"""An unbiased (or deliberately biased) estimate of a path-decomposed loss from a few paths."""

from __future__ import annotations

import logging
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ._internal.compilation import as_written
from ._internal.modes import trainable
from ._internal.ranks import compare_ranks, several_ranks
from ._internal.recomputation import (
    Repetitions,
    backward_number,
    checkpointed_regions,
)
from ._internal.settings import MOST, affordable, between, count, seeded, switch
from ._internal.state import (
    ANOTHER,
    loaded_generator,
    loaded_integer,
    loading_strictly,
    pack,
    refused,
    unpack,
)
from ._internal.tracing import is_traced, plain_batches, untraced
from ._internal.wrappers import innermost_optimizer
from .draws import Draw
from .errors import ConfigurationError, DrawError, InputError, MultipathError
from .losses import PathDecomposedLoss
from .losses._targets import average_over_targets
from .losses.balanced import BalancedLoss, from_silence
from .losses.base import Reduction, check_reduction, reduce_batch, weighted_sum
from .paths import check_indices
from .samplers import Energy, Sampler, Uniform
from .samplers._observation import measure, observed, obtainable
from .samplers.base import Observation, check_observation, unchanged_if_refused

logger = logging.getLogger(__name__)

STATE = {
    *("generator", "evaluation_generator", "sampler", "pending", "last"),
    *("kind", "n_paths", "n_draws", "reweight"),
}
"""What the extra state of a criterion holds."""


class StochasticLoss(nn.Module):
    r"""Estimates :math:`L = \sum_p w_p L_p` from ``n_draws`` paths drawn by a sampler.

    .. math:: \hat L = \sum_{i=1}^{k} \frac{w_{p_i}}{k \pi_{p_i}} L_{p_i}
        \qquad (\text{reweight=True: unbiased for any } \pi > 0)

    With ``reweight=False`` every path counts :math:`P w_p / k` (1/k by default), which is the
    paper's importance sampling: biased towards the paths that :math:`\pi` favours. Paths of weight
    0 are never drawn, and P is the number of the others.

    **Which forward draws.** In training mode, each forward draws anew, unless an optimizer is
    linked (:meth:`redraw_after`; :class:`~multipath.optim.PAdam` and
    :class:`~multipath.optim.PSAGA` do it themselves): then one draw serves until that optimizer has
    stepped, so gradient accumulation, micro-batches and closures agree on the paths. In evaluation
    mode (``criterion.eval()``) the full loss is computed, or with ``eval_draws`` an estimate from
    the same draw each time. A forward in training mode but without gradients (``torch.no_grad()``)
    is an estimate, with draws from a stream of its own, and warns once. None of these touches
    :attr:`last_draw`, a draw that waits for its step, or the training stream. A forward that
    ``torch.utils.checkpoint`` repeats within a backward pass has the draw of the first one; where
    something else repeats it and no optimizer is linked, it takes the latest draw and warns once.

    **A step that is not made** (a loss that is not finite and is left out, an overflow at which
    ``torch.amp.GradScaler`` does not step) leaves the draw waiting, and the next forward takes it
    again. Where it is the path that fails, that never ends: call :meth:`discard_draw`.

    **Samplers that learn** (see :attr:`Sampler.observes <multipath.samplers.Sampler>`) are told, at
    each new draw of training, about the distinct paths evaluated: the norm of each path's gradient
    with respect to ``input``, root mean square over the batch and without :math:`w_p` (nothing if
    no gradient is to be had); the norm of the target on it, mean over the batch; or
    :math:`L_p`, mean over the batch. Gradient norms cost one backward through the loss for each
    path, losses nothing. Where ``input`` has no gradient although the losses have (it may be no
    tensor, but a network), or norms of the target mean nothing (``input`` and ``target`` are not
    tensors of one shape), the losses take their place, and the log says so once, except of norms of
    a target that is None. Values that are not finite are dropped. With ``torch.distributed``
    initialised, ranks average what they measured, and so keep agreeing on the draws: when the
    linked optimizer has stepped, or at each forward if none is linked.

    **Randomness** comes from ``generator`` alone, on the CPU. Its state, the sampler's and a draw
    not yet used are part of ``state_dict()``.

    **Several processes.** Samplers that learn and path-wise optimizers need the same draws, so the
    same ``generator``, on all ranks. Draws take no communication. That ranks agree (on the
    generator, the last draw and what the sampler remembers) is compared when an optimizer is
    linked, or at the first draw of training if ``torch.distributed`` was initialised after that,
    and again at every :attr:`compare_every`-th step of that optimizer: a small collective
    operation, in which all ranks take part. If a rank has discarded a draw, loaded a state or
    skipped a step alone, every rank then raises a :class:`~multipath.errors.ConfigurationError`
    that names it. Otherwise (a fixed sampler with a plain optimizer) ranks may draw apart, and the
    mean of their gradients then sees more paths.

    Args:
        loss: The path-decomposed loss to estimate.
        sampler: Chooses the paths. Default: :class:`~multipath.samplers.Uniform`.
        n_draws: Paths per step, k, evaluated together with one backward.
        reweight: Divide by the probability of each draw.
        generator: A seed, a CPU generator, or None for a seed taken from torch's global generator
            (so that ``torch.manual_seed`` governs it).
        reduction: What to do with the batch: ``"mean"``, ``"sum"`` or ``"none"``. Default: that of
            the loss.
        eval_draws: In evaluation mode, estimate the loss from this many draws instead of computing
            all of it. They come from the sampler's law with a seed of their own, the same at each
            call, so that evaluations can be compared, and are always reweighted, so that the
            estimate is unbiased (over seeds). Default None: the full loss.

    Attributes:
        last_draw: The :class:`~multipath.Draw` of the latest forward in training mode and with
            gradients, or None.
        warn_after: A draw that has served this many forwards in training is taken for one that is
            never released: a warning, once. Default 100; raise it for longer accumulation.
        compare_every: Steps of the linked optimizer between two comparisons of the ranks of a
            distributed training, where they have to draw the same; the same on every rank. Default
            10. With samplers that learn, ranks compare whenever they may have learned: at each
            step, or at each draw if no optimizer is linked.

    Raises:
        ConfigurationError: If ``n_draws`` is not a positive integer, the sampler does not fit the
            loss or cannot make as many draws, or an argument has the wrong type.

    Example:
        >>> from multipath.testing import QuadraticLoss
        >>> criterion = StochasticLoss(QuadraticLoss(8), n_draws=2, generator=0)
        >>> x = torch.zeros(5, 8, requires_grad=True)
        >>> criterion(x, torch.ones(5, 8)).backward()
        >>> criterion.last_draw.indices.tolist()
        [7, 5]

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), section 3 and proposition 3.1.
    """

    warn_after: int = 100
    compare_every: int = 10

    @trainable
    def __init__(
        self,
        loss: PathDecomposedLoss,
        sampler: Sampler | None = None,
        n_draws: int = 1,
        reweight: bool = True,
        generator: int | torch.Generator | None = None,
        reduction: Reduction | None = None,
        eval_draws: int | None = None,
    ) -> None:
        super().__init__()
        _check_loss(loss)
        if sampler is not None and not isinstance(sampler, Sampler):
            raise ConfigurationError(
                f"sampler must be a Sampler instance, e.g. Uniform(), got {sampler!r}"
            )
        self.n_draws = count("n_draws", n_draws)
        affordable("draws", self.n_draws, MOST)
        self.loss = loss
        self._sampler = Uniform() if sampler is None else sampler
        self._weights = loss.path_weights
        self._n_active = int((self._weights > 0).sum())
        self._sampler.bind(loss.paths, self._weights)
        self._sampler.check_draws(self.n_draws)
        self.eval_draws = None if eval_draws is None else self._check_eval_draws(eval_draws)
        self.reweight = switch("reweight", reweight)
        self.reduction = loss.reduction if reduction is None else check_reduction(reduction)
        self.generator = _make_generator(generator)
        self._evaluation_generator = torch.Generator().manual_seed(
            (self.generator.initial_seed() + 1) % 2**63
        )
        self.last_draw: Draw | None = None
        self._latest: Draw | None = None  # of any forward in training mode
        self._last_values: tuple[Tensor, Tensor] | None = None  # indices, and a row for each
        self._pending: Draw | None = None
        self._n_served = 0  # forwards that the pending draw has served
        self._repetitions: Repetitions[Draw] = Repetitions()
        self._unobserved: WeakSet[Draw] = WeakSet()  # which gave nothing to learn from yet
        self._optimizer: weakref.ref[Optimizer] | None = None
        self._hook: weakref.finalize[..., Any] | None = None
        self._measured: tuple[Observation, Tensor, Tensor, torch.device] | None = None
        self._draws_are_shared = self._sampler.observes is not None
        self._ranks_agree = False
        self._warnings_given: set[str] = set()
        self._n_steps = 0  # of the linked optimizer, with several ranks
        self._deeds: Counter[str] = Counter()  # since ranks last compared

    def _check_eval_draws(self, eval_draws: Any) -> int:
        n_draws = count("eval_draws", eval_draws)
        affordable("draws", n_draws, MOST)
        if not self._sampler.unbiased:
            raise ConfigurationError(
                f"eval_draws estimates the full loss, of which {self._sampler} may leave paths "
                "out; give it a sampler with a positive floor, or evaluate the full loss"
            )
        self._sampler.check_draws(n_draws)
        return n_draws

    @classmethod
    def for_training(
        cls,
        loss: PathDecomposedLoss,
        targets: Iterable[Tensor] | Tensor,
        *,
        n_draws: int = 8,
        power: float = 0.0,
        floor: float = 0.1,
        eval_draws: int | None = None,
        generator: int | torch.Generator | None = None,
    ) -> StochasticLoss:
        r"""Energy draws: the recommended default for training.

        Some targets are measured once. Each step then draws k paths by how loud they are,

        .. math:: \pi_p = (1 - f)\, \frac{w_p e_p}{\sum_q w_q e_q} + \frac f P,

        :math:`e_p` the mean norm of the targets on path p (:class:`~multipath.samplers.Energy`),
        with weights :math:`w_p / (k \pi_p)`, so that the estimate is unbiased. The paths share
        their work and take one backward, any optimizer will do, and none keeps memory per path. On
        three problems, no alternative trained better in equal time (:doc:`/choosing_sampler`),
        except that ``power=0.5`` did slightly better on one of them.

        The loss is estimated as it is given. Where a plain distance might catch the training
        (:doc:`/landscape`), combine it with a compressed one first:
        :meth:`CombinedLoss.with_compression <multipath.CombinedLoss.with_compression>`.

        With ``power`` a > 0 the loss itself is balanced first (:class:`~multipath.BalancedLoss`):
        each path is divided by its size to that power, so that quiet ones count for more, up to
        equally at a = 1. The draws stay the same.

        Args:
            loss: The loss, one that compares with targets (unlike
                :class:`~multipath.StatisticsLoss`).
            targets: Batches of training targets, or one, gone through once; a few dozen sounds are
                enough.
            n_draws: k.
            power: a, from 0 (the loss as it is) to 1.
            floor: f, the share of the draws spread evenly.
            eval_draws: As in the class.
            generator: As in the class.

        Raises:
            ConfigurationError: If an argument is out of range.
            InputError: If the targets are not tensors of finite numbers.

        Example:
            >>> from multipath import TransformLoss
            >>> from multipath.transforms import MultiResolutionSTFT
            >>> loss = TransformLoss(MultiResolutionSTFT([64, 128], [16, 32], [64, 128]))
            >>> targets = torch.sin(torch.rand(16, 1) * torch.arange(1024.0))
            >>> criterion = StochasticLoss.for_training(loss, targets, n_draws=2, generator=0)
            >>> model = torch.nn.Linear(1024, 1024)
            >>> optimizer = torch.optim.AdamW(model.parameters())
            >>> criterion(model(targets), targets).backward()
            >>> optimizer.step()
        """
        _check_loss(loss)
        count("n_draws", n_draws)
        power = between("power", power, 0, 1)
        Energy(floor=floor)  # refuses a wrong value before the targets are measured, not after
        generator = _make_generator(generator)
        n_paths = len(loss.paths)

        def listen(batch: Tensor) -> Tensor:
            norms = loss.target_norms(batch, range(n_paths))
            return torch.cat([norms, from_silence(loss, batch)]) if power else norms

        found = average_over_targets(targets, listen)
        sampler = Energy(loss.path_weights * found[:n_paths], floor)
        estimated = BalancedLoss(loss, found[n_paths:], power) if power else loss
        return cls(estimated, sampler, n_draws, generator=generator, eval_draws=eval_draws)

    @property
    def sampler(self) -> Sampler:
        """The sampler that chooses the paths, bound to the weights that the loss has now.

        A loss may restore weights at any time, also after the state of the sampler was loaded,
        since a module loads before its children. The weights are therefore compared on each access,
        which is free while they are unchanged.
        """
        weights = self.loss.path_weights
        if weights is not self._weights:
            if not torch.equal(weights, self._weights):
                self._sampler.rebind(self.loss.paths, weights)
                self._n_active = int((weights > 0).sum())
            self._weights = weights
        return self._sampler

    @property
    def n_active(self) -> int:
        """How many paths can be drawn: those of positive weight."""
        _ = self.sampler  # which follows the weights that the loss has now
        return self._n_active

    @property
    def unbiased(self) -> bool:
        """Whether the expected value over draws is the full loss."""
        if self.reweight:
            return self.sampler.unbiased
        uniform = (self.loss.path_weights > 0).double() / self.n_active
        distance = (self.sampler.inclusion(self.n_draws) - uniform).abs().max()
        return float(distance) * self.n_active <= 1e-12

    @property
    def last_values(self) -> dict[str, Tensor]:
        """The losses of the paths in :attr:`last_draw` by their names, to be logged.

        Each is :math:`L_p`, mean over the batch and without :math:`w_p`: a tensor without gradient
        on the device of the losses, as the latest forward or :meth:`estimate` with that draw found
        it. Nothing waits for the device until a value is read. Empty before the first forward in
        training mode and with gradients, in copies, and after a state was loaded.

        Example:
            >>> from multipath import SpectralLoss
            >>> from multipath.transforms import MultiResolutionSTFT
            >>> loss = SpectralLoss(MultiResolutionSTFT([64, 128]))
            >>> criterion = StochasticLoss(loss, n_draws=2, generator=0)
            >>> tone = torch.sin(0.3 * torch.arange(1024.0))[None]
            >>> value = criterion(0.5 * tone.requires_grad_(), tone.detach())
            >>> for name, value in criterion.last_values.items():
            ...     print(f"{name} {value:.2f}")
            fft128-hop32-win128/convergence 0.50
            fft128-hop32-win128/log_l1 0.42
        """
        if self._last_values is None:
            return {}
        indices, values = self._last_values
        names = [str(self.loss.paths[path].key) for path in indices.tolist()]
        return dict(zip(names, values.mean(dim=1), strict=True))

    def forward(self, input: Tensor, target: Any = None) -> Tensor:
        """The estimate in training mode, the full loss in evaluation mode.

        Args:
            input: What is being trained, batch first.
            target: What it should match, batch first; None for losses that need none.

        Returns:
            A scalar, or shape (batch,) with ``reduction="none"``.
        """
        if self.training:
            return self._estimate_anew(input, target)
        if self.eval_draws is not None:
            return self.estimate(input, target, self._fixed_draw(self.eval_draws))
        return reduce_batch(self.loss(input, target, reduction="none"), self.reduction)

    @as_written
    def _estimate_anew(self, input: Tensor, target: Tensor) -> Tensor:
        """The estimate of a forward in training mode."""
        with untraced():  # draws are plain tensors, whatever torch.func does to the input
            draw, observing = self._draw_of_forward()
        estimate = self._estimate(input, target, draw, observing)
        if self._linked() is not None and self._ranks_share_draws():
            self._expect_backward(estimate)  # and learn at the step, which ranks make together
        else:
            self._learn()
        return estimate

    def _draw_of_forward(self) -> tuple[Draw, bool]:
        """The draw that this forward in training mode uses, and whether to learn from it."""
        regions = checkpointed_regions()
        linked = self._linked() is not None
        draw = self._pending if linked else None
        if backward_number() >= 0:  # activation checkpointing repeats a forward
            repeated = draw or self._repetitions.again(regions)
            if repeated is None and not linked:
                repeated = self._latest
                self._warn_once(
                    "a forward ran within a backward pass, and the one that it repeats was not "
                    "seen: its draw may not be that of the other one. Use torch.utils.checkpoint, "
                    "whose repetitions are told apart, or redraw_after"
                )
            if repeated is not None:
                return repeated, repeated in self._unobserved
        if not torch.is_grad_enabled() and not regions:
            self._warn_once(
                "a criterion in training mode was called without gradients: the value is a noisy "
                "estimate. Call criterion.eval() for the full loss, and criterion.train() after it"
            )
            self._latest = self.new_draw()
            return self._latest, False
        observing = False
        if draw is None:
            self.compare_ranks()
            with torch.enable_grad():  # draws of training, also in the first pass of a checkpoint
                observing = self.sampler.wants_observation()
                draw = self.new_draw()
            if linked:
                self._pending, self._n_served = draw, 0
        if linked:
            self._n_served += 1
            if self._n_served == self.warn_after:
                self._warn_once(
                    "one draw has served %d forwards in training: the optimizer given to "
                    "redraw_after has not stepped since. Give it the optimizer whose step() runs "
                    "(inside a wrapper, or the latest one), or call discard_draw() after each step",
                    self._n_served,
                )
        self._repetitions.record(draw, regions)
        self.last_draw = self._latest = draw
        return draw, observing

    def _warn_once(self, message: str, *arguments: object) -> None:
        if message not in self._warnings_given:
            self._warnings_given.add(message)
            logger.warning(message, *arguments)

    @as_written
    def estimate(self, input: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """The estimate that a given draw makes; consumes no randomness.

        Args:
            input: As in :meth:`forward`.
            target: As in :meth:`forward`.
            draw: From :meth:`new_draw` or :meth:`make_draw`.

        Returns:
            As :meth:`forward`.
        """
        return self._estimate(input, target, draw, observing=False)

    def _estimate(self, input: Tensor, target: Tensor, draw: Draw, observing: bool) -> Tensor:
        with untraced():
            indices, weights = draw.merged()
        values = self.loss.evaluate(input, target, indices)
        if draw is self.last_draw:
            self._last_values = indices, plain_batches(values.T)[0].T
        if observing:
            learned = self._observe(input, target, indices, values)
            (self._unobserved.discard if learned else self._unobserved.add)(draw)
        return reduce_batch(weighted_sum(weights, values), self.reduction)

    def _observe(self, input: Tensor, target: Tensor, indices: Tensor, values: Tensor) -> bool:
        """Let the sampler learn from the paths that were just evaluated, if there is anything."""
        wanted = check_observation(self.sampler)
        if wanted is None:
            return False
        kind = obtainable(wanted, self.loss, input, target, values)
        if kind != wanted and not (wanted == "target_norms" and target is None):
            self._warn_once(
                "%s learns from %s, which an input of type %s and a target of type %s do not give "
                'here: it learns from the losses instead, as one with observes="losses" does',
                *(type(self.sampler).__name__, wanted, type(input).__name__, type(target).__name__),
            )
        measured = measure(kind, self.loss, input, target, indices, values)
        if measured is None:
            return False
        self._measured = kind, indices, measured, values.device
        return True

    def _learn(self) -> None:
        """Hand on what was measured, on average over ranks."""
        if self._measured is None:
            return
        (kind, indices, measured, device), self._measured = self._measured, None
        with untraced():
            self._tell(kind, indices, observed(kind, measured, device))

    def _tell(self, kind: str, indices: Tensor, measured: Tensor) -> None:
        """Hand on what was measured, if it is finite."""
        finite = torch.isfinite(measured)
        if not bool(finite.all()):
            self._warn_once(
                "%s of path %d was %s and is ignored (further ones are dropped silently). "
                "With mixed precision an overflow now and then is normal",
                kind,
                int(indices[~finite][0]),
                float(measured[~finite][0]),
            )
        if bool(finite.any()):
            self.sampler.observe(indices[finite], measured[finite])

    def new_draw(self) -> Draw:
        """Draw from the training stream, or without gradients from that of evaluations."""
        if torch.is_grad_enabled():
            self._deeds["draws"] += 1
            return self._weigh(*self.sampler.draw(self.n_draws, self.generator))
        return self._weigh(*self.sampler.fresh_draw(self.n_draws, self._evaluation_generator))

    @as_written
    def _fixed_draw(self, n_draws: int) -> Draw:
        """The draw of an evaluation, from the same seed at each call."""
        seed = (self.generator.initial_seed() + 2) % 2**63
        with untraced():
            generator = torch.Generator().manual_seed(seed)
            drawn = self.sampler.fresh_draw(n_draws, generator)
            return self._weigh(*drawn, reweight=True)

    def make_draw(self, indices: Sequence[int] | Tensor) -> Draw:
        """The draw of these paths, weighted as if the sampler had chosen them.

        For diagnostics and for proofs of unbiasedness by enumeration.

        Args:
            indices: The paths, repeated as often as they are drawn.

        Raises:
            InputError: If an index is out of range.
        """
        chosen = torch.tensor(check_indices(indices, len(self.loss.paths)), device="cpu")
        return self._weigh(chosen, self.sampler.shares(chosen, len(chosen)))

    def _weigh(self, indices: Tensor, probabilities: Tensor, reweight: bool | None = None) -> Draw:
        weights = self.loss.path_weights[indices]
        reweight = self.reweight if reweight is None else reweight
        scale = 1 / probabilities if reweight else float(self.n_active)
        weighed = torch.where(weights > 0, weights * scale, 0.0)  # not 0 * inf for a path by hand
        return Draw(indices, weighed / len(indices), probabilities)

    def redraw_after(self, optimizer: Optimizer) -> None:
        """Make one draw last until ``optimizer`` has stepped.

        For plain optimizers; path-wise optimizers link themselves. Linking another optimizer
        replaces the first.

        Raises:
            ConfigurationError: If it is no optimizer, or if the sampler learns and the ranks of a
                distributed training would draw different paths. They compare: all have to link.

        Example:
            >>> from multipath.testing import QuadraticLoss
            >>> criterion = StochasticLoss(QuadraticLoss(64), generator=0)
            >>> x = torch.zeros(1, 64, requires_grad=True)
            >>> optimizer = torch.optim.SGD([x], lr=0.1)
            >>> criterion.redraw_after(optimizer)
            >>> paths = []
            >>> for micro_batch in range(4):
            ...     criterion(x, torch.ones(1, 64)).backward()
            ...     paths.append(criterion.last_draw.indices.item())
            >>> len(set(paths))
            1
        """
        stepping = innermost_optimizer(optimizer)
        this = weakref.ref(self)

        def release(stepped: Optimizer, *_: Any) -> None:
            criterion = this()
            if criterion is not None and criterion._linked() is stepped:
                criterion._pending = None
                criterion._end_step()

        hook = stepping.register_step_post_hook(release)
        self._link(stepping)
        self._hook = weakref.finalize(self, hook.remove)
        self._hook.atexit = False
        self.compare_ranks()

    def attach(self, optimizer: Optimizer) -> None:
        """Link an optimizer that takes its draws itself with :meth:`take_draw`.

        Its state may depend on the paths drawn, so that all ranks have to draw the same; see
        :meth:`compare_ranks`.
        """
        self._link(optimizer)
        self._draws_are_shared = True

    def compare_ranks(self) -> None:
        """Make sure that all ranks draw the same paths if they have to, before the first step.

        They have to if the sampler learns or an optimizer takes the draws. A collective operation
        with several ranks, else nothing. The first draw of training does it too; after that, steps
        do (:attr:`compare_every`).

        Raises:
            ConfigurationError: On every rank, if they would draw apart.
            DrawError: If the other ranks do not compare.
        """
        first = not self._ranks_agree or self._linked() is None
        if first and self._ranks_share_draws():
            self._compare()

    def _ranks_share_draws(self) -> bool:
        return self._draws_are_shared and several_ranks()

    def _end_step(self) -> None:
        """What ranks do together when the linked optimizer steps.

        Gradients are averaged once for each step, so that ranks meet here even if one of them has
        made more forwards or draws, or has loaded a state. None of these may start a collective
        operation of its own, for which the others would not be there.
        """
        if not self._ranks_share_draws():
            return
        self._n_steps += 1
        learns = self._sampler.observes is not None
        if learns or self._n_steps % count("compare_every", self.compare_every) == 0:
            self._compare()
        self._learn()

    def _compare(self) -> None:
        drawn = [draw and draw.state_dict() for draw in (self._pending, self.last_draw)]
        memory = self.sampler.state_dict()
        compare_ranks([self.generator.get_state(), drawn], memory, self._deeds)
        self._ranks_agree = True
        self._deeds.clear()

    def _expect_backward(self, estimate: Tensor) -> None:
        """Count a forward as skipped until a backward comes."""
        if not estimate.requires_grad or is_traced(estimate):
            return
        deeds, waiting = self._deeds, [True]
        deeds["skips"] += 1

        def arrived(_: Tensor) -> None:
            if waiting:
                waiting.clear()
                deeds["skips"] -= 1

        estimate.register_hook(arrived)

    def _link(self, optimizer: Optimizer) -> None:
        if self._linked() not in (None, optimizer):
            self._pending = self._measured = None  # the other optimizer's; one restored is kept
        if self._hook is not None:
            self._hook()  # the optimizer before tells this criterion of its steps no longer
            self._hook = None
        self._optimizer = weakref.ref(optimizer)

    def take_draw(self, optimizer: Optimizer) -> Draw:
        """Hand the draw of this step to the linked optimizer; the next forward draws anew.

        Raises:
            DrawError: If there is no draw, it was used already, or another optimizer is linked.
        """
        name = type(optimizer).__name__
        if self._linked() is not optimizer:
            raise DrawError(
                f"{name}.step(): redraw_after has since been called with another optimizer; a "
                "criterion serves one optimizer, make one criterion for each"
            )
        if self._pending is None:
            reason = (
                "no draw: the criterion has not been called in training mode and with gradients"
                if self.last_draw is None
                else "a stale draw: the last one was used by a step or discarded"
            )
            raise DrawError(
                f"{name}.step() found {reason}. Call criterion(input, target).backward() before "
                "every step, with the criterion in training mode (criterion.train())"
            )
        draw, self._pending = self._pending, None
        self._end_step()
        return draw

    def discard_draw(self) -> None:
        """Give up the draw of a step that will not be made: the next forward draws anew.

        The path given up counts as drawn; :class:`~multipath.samplers.Reshuffle` comes back to it
        in the next epoch. Choosing which draws to discard by their paths biases the training, away
        from those that fail. All ranks of a distributed training have to discard together.

        Example:
            >>> from multipath.testing import QuadraticLoss
            >>> criterion = StochasticLoss(QuadraticLoss(64), generator=0)
            >>> x = torch.zeros(1, 64, requires_grad=True)
            >>> optimizer = torch.optim.SGD([x], lr=0.1)
            >>> criterion.redraw_after(optimizer)
            >>> paths = []
            >>> for _ in range(4):
            ...     loss = criterion(x, torch.full((1, 64), torch.nan))
            ...     paths.append(criterion.last_draw.indices.item())
            ...     if not loss.isfinite():
            ...         criterion.discard_draw()
            ...         continue
            ...     loss.backward()
            ...     optimizer.step()
            >>> len(set(paths))
            4
        """
        self._pending = self._measured = None
        self._deeds["discards"] += 1

    def _linked(self) -> Optimizer | None:
        return None if self._optimizer is None else self._optimizer()

    def get_extra_state(self) -> Tensor:
        """Generator, sampler and pending draw as bytes, for ``state_dict()``."""
        state = {
            "generator": self.generator.get_state(),
            "evaluation_generator": self._evaluation_generator.get_state(),
            "kind": type(self.sampler).__name__,
            "n_paths": len(self.loss.paths),
            "n_draws": self.n_draws,
            "reweight": self.reweight,
            "sampler": self.sampler.state_dict(),
            "pending": None if self._pending is None else self._pending.state_dict(),
            "last": None if self.last_draw is None else self.last_draw.state_dict(),
        }
        return pack(state)

    @trainable
    def set_extra_state(self, packed: Tensor) -> None:
        """Continue the training stream where the saved criterion was.

        A draw that waited for its step is dropped, with a warning, if this criterion makes draws
        of another number of paths or weighs them otherwise.

        Raises:
            ConfigurationError: If it was saved with another kind of sampler or number of paths.
                ``load_state_dict(..., strict=False)`` warns instead, and loads the rest.
            InputError: If the state is damaged.
        """
        state = unpack(packed, self, STATE)
        kind, n_paths = type(self.sampler).__name__, len(self.loss.paths)
        for name, expected in (("kind", str), ("reweight", bool)):
            if type(state[name]) is not expected:
                raise refused(
                    f"{name} in the state of a criterion", f"a {expected.__name__}", state[name]
                )
        of_paths = loaded_integer("n_paths in the state of a criterion", state["n_paths"], 1)
        n_draws = loaded_integer("n_draws in the state of a criterion", state["n_draws"], 1)
        if (state["kind"], of_paths) != (kind, n_paths):
            raise ConfigurationError(
                f"this state was saved with a {state['kind']} sampler over {of_paths} "
                f"paths and the criterion has {kind} over {n_paths}"
            )
        generators = [
            loaded_generator(f"the {name} of a criterion", state[name])
            for name in ("generator", "evaluation_generator")
        ]
        pending, last = (
            None if state[name] is None else Draw.from_state(state[name], n_paths)
            for name in ("pending", "last")
        )
        if pending is not None and len(pending.indices) != n_draws:
            raise refused("the pending draw", f"{n_draws} paths", pending.indices)
        self._load_sampler(state["sampler"])
        self.generator.set_state(generators[0])
        self._evaluation_generator.set_state(generators[1])
        self._pending, self._last_values = pending, None
        self.last_draw = self._latest = last
        saved, own = (n_draws, state["reweight"]), (self.n_draws, self.reweight)
        if pending is not None and saved != own:
            self._pending = None
            logger.warning(
                "this state holds a draw not yet used, made with n_draws=%d, reweight=%s, and the "
                "criterion has n_draws=%d, reweight=%s: dropped, the next forward draws anew",
                *saved,
                *own,
            )
        self._measured = None
        self._deeds["loads"] += 1

    def _load_sampler(self, state: Any) -> None:
        """Load the state of the sampler, and ask it what it was asked at construction."""
        with unchanged_if_refused(self.sampler):
            try:
                self.sampler.load_state_dict(state)
            except MultipathError:
                raise
            except Exception as error:  # samplers of others may raise anything
                raise InputError(
                    f"the state of the {type(self.sampler).__name__} sampler cannot be loaded "
                    f"({type(error).__name__}); {ANOTHER}"
                ) from error
            self.sampler.check_draws(self.n_draws)
            if self.eval_draws is not None:
                self._check_eval_draws(self.eval_draws)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        try:
            super()._load_from_state_dict(state, prefix, *arguments)
        except ConfigurationError as error:
            if loading_strictly():
                raise ConfigurationError(
                    f"{error}; to load everything else, drop {prefix}_extra_state from the state, "
                    "or load with strict=False"
                ) from None
            logger.warning("%s: it is left out, and everything else is loaded", error)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles keep the stream but not the link to an optimizer."""
        state = self.__dict__.copy()
        for name in ("generator", "_evaluation_generator"):
            state[name] = getattr(self, name).get_state()
        for name in ("_optimizer", "_hook", "_pending", "_measured", "_last_values"):
            state[name] = None
        del state["_unobserved"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the generators."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._unobserved = WeakSet()
        for name in ("generator", "_evaluation_generator"):
            generator = torch.Generator()
            generator.set_state(state[name])
            setattr(self, name, generator)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        options = f"n_draws={self.n_draws}, reweight={self.reweight}, reduction={self.reduction!r}"
        return f"sampler={self.sampler}, {options}"


def _make_generator(generator: int | torch.Generator | None) -> torch.Generator:
    if generator is None:
        generator = int(torch.empty((), dtype=torch.int64, device="cpu").random_().item())
    return seeded(generator, "a seed, a torch.Generator or None")


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, PathDecomposedLoss):
        raise ConfigurationError(
            f"loss must be a PathDecomposedLoss, got {type(loss).__name__}; wrap a transform in "
            "TransformLoss"
        )
