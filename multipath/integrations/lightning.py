"""Draws, path histograms and the estimator's variance in the loggers of a Lightning trainer."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{__name__} needs {error.name}: pip install lightning", name=error.name
    ) from None

from multipath import StochasticLoss
from multipath._internal.settings import count
from multipath.diagnostics import estimate_variance
from multipath.draws import DrawCounts, loaded_counts
from multipath.errors import ConfigurationError, InputError

__all__ = ["DrawCounter", "DrawLogger"]

logger = logging.getLogger(__name__)


class DrawCounter(Callback):
    """Counts how often each path is drawn.

    It looks at one attribute of the module; unless that is a :class:`~multipath.StochasticLoss`,
    nothing is counted. A draw counts once, however many micro-batches share it. The counts are part
    of the checkpoint, so that a resumed run goes on counting from there.

    Args:
        criterion: Name of the attribute.

    Attributes:
        draws: The counts, a :class:`~multipath.draws.DrawCounts`; None before training starts.
    """

    def __init__(self, criterion: str = "criterion") -> None:
        self.criterion = criterion
        self.draws: DrawCounts | None = None
        self._state: dict[str, Any] = {}

    def find(self, pl_module: LightningModule) -> StochasticLoss | None:
        """The criterion of a module, or None if the attribute is no StochasticLoss."""
        found = getattr(pl_module, self.criterion, None)
        return found if isinstance(found, StochasticLoss) else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count the paths of the criterion, from the counts of a checkpoint if any."""
        criterion = self.find(pl_module)
        if criterion is not None:
            self.draws = DrawCounts(criterion.loss.paths)
            if self._state:
                self.draws.load_state_dict(self._state)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any
    ) -> None:
        """Count the draw of the batch."""
        criterion = self.find(pl_module)
        if self.draws is not None and criterion is not None:
            self.draws.add(criterion.last_draw)

    def state_dict(self) -> dict[str, Any]:
        """The counts so far."""
        return {} if self.draws is None else self.draws.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the counts of a checkpoint until training starts, when the paths become known.

        Raises:
            InputError: If it holds no counts.
            ConfigurationError: If it is the state of something else.
        """
        n_paths = None if self.draws is None else len(self.draws.paths)
        kept = state_dict != {}  # a criterion that draws nothing counts nothing
        self._state = {"counts": loaded_counts(state_dict, n_paths)} if kept else {}


class DrawLogger(DrawCounter):
    r"""Logs what a :class:`~multipath.StochasticLoss` draws, to every logger of the trainer.

    Every ``every`` optimizer steps, it logs the following, where :math:`c_p` is the number of times
    that path p was drawn so far and :math:`q_p = c_p / \sum c` is its share:

    - ``draws/coverage``: the fraction of the paths drawn at least once;
    - ``draws/effective_paths``: :math:`\exp(-\sum_p q_p \log q_p)`, P if all were drawn equally
      often;
    - ``draws/largest_weight``: the largest weight of the latest draw over the mean weight of all
      paths; a large one means a noisy step, see ``floor`` of :class:`~multipath.samplers.Energy`;
    - ``draws/share/COLUMN=VALUE``: the shares summed over paths with equal values in column ``by``;
    - ``paths/NAME``: the loss of each path of the latest draw, by its name; see
      :attr:`StochasticLoss.last_values <multipath.StochasticLoss.last_values>`;
    - ``draws/paths``: a histogram over the path indices, if the logger supports histograms (as
      TensorBoard's does).

    Every ``variance_every`` optimizer steps, it logs what
    :func:`~multipath.diagnostics.estimate_variance` finds for the present sampler on the batch just
    trained on: ``estimator/relative_variance`` (noise over signal power), ``estimator/bias`` and
    ``estimator/efficiency`` (1 for the best independent draws). This evaluates every path once,
    forward and backward, on rank zero while the others wait: it is as expensive as a step with all
    paths.

    The counts are part of the checkpoint. Only rank zero logs.

    Args:
        every: Optimizer steps between two logs of the draws.
        variance_every: Optimizer steps between two estimates of the variance. Default: none.
        items: How many items of the batch the estimates are made on.
        by: A column of the path table to sum shares by, such as ``"rate"``. Default: none.
        criterion: Attribute of the module that is the :class:`~multipath.StochasticLoss`.

    Raises:
        ConfigurationError: If a number is not positive; when training starts, if the module has
            no such criterion, or its paths have no such column.

    Example:
        >>> from multipath.testing import QuadraticLoss
        >>> callback = DrawLogger(every=10, variance_every=200)  # Trainer(callbacks=[callback])
        >>> criterion = StochasticLoss(QuadraticLoss(4), n_draws=2, generator=0)
        >>> found = callback.variance_metrics(criterion, torch.eye(4), torch.zeros(4, 4))
        >>> round(found["estimator/relative_variance"], 2)
        0.32
    """

    def __init__(
        self,
        every: int = 50,
        variance_every: int | None = None,
        items: int = 4,
        by: str | None = None,
        criterion: str = "criterion",
    ) -> None:
        super().__init__(criterion)
        self.every, self.items, self.by = count("every", every), count("items", items), by
        never = variance_every is None
        self.variance_every = None if never else count("variance_every", variance_every)
        self._step = 0
        self._batch: tuple[Tensor, Tensor] | None = None
        self._handle: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the criterion and its paths, and listen to the batches that it is given."""
        criterion = self.find(pl_module)
        if criterion is None:
            got = type(getattr(pl_module, self.criterion, None)).__name__
            raise ConfigurationError(
                f"DrawLogger expected {type(pl_module).__name__}.{self.criterion} to be a "
                f"StochasticLoss, got {got}; name the attribute with criterion=..."
            )
        if self.by is not None and self.by not in criterion.loss.paths.columns:
            known = ", ".join(criterion.loss.paths.columns) or "none"
            raise ConfigurationError(
                f"the paths have no column {self.by!r} to log shares by; columns: {known}"
            )
        super().on_fit_start(trainer, pl_module)
        self._step = trainer.global_step
        if self.variance_every is not None and trainer.is_global_zero:
            self._handle = criterion.register_forward_pre_hook(self._keep, with_kwargs=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any
    ) -> None:
        """Count the draw, and log if a log is due."""
        super().on_train_batch_end(trainer, pl_module)
        step, criterion = trainer.global_step, self.find(pl_module)
        if step == self._step or criterion is None:  # a micro-batch: the step is still to come
            return
        due = {n for n in (self.every, self.variance_every) if n and step // n > self._step // n}
        self._step = step
        if not trainer.is_global_zero:
            return
        if self.every in due:
            self._log(trainer, self.draw_metrics(criterion), step)
            self._log_histogram(trainer, step)
        if self.variance_every in due and self._batch is not None:
            try:
                self._log(trainer, self.variance_metrics(criterion, *self._batch), step)
            except InputError as error:  # a batch that cannot be measured should not end training
                logger.warning("no variance of the estimator at step %d: %s", step, error)
        self._batch = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop listening to the criterion."""
        self._leave()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Stop listening to the criterion."""
        self._leave()

    def draw_metrics(self, criterion: StochasticLoss) -> dict[str, float]:
        """The metrics of the draws so far."""
        draw = criterion.last_draw
        if self.draws is None or draw is None or not self.draws.counts.any():
            return {}
        counts = self.draws.counts.double()
        shares = counts / counts.sum()
        weights = criterion.loss.path_weights
        found = {
            "draws/coverage": float((counts > 0).double().mean()),
            "draws/effective_paths": float(torch.special.entr(shares).sum().exp()),
            "draws/largest_weight": float(draw.merged()[1].max() / weights.mean()),
        }
        values = criterion.last_values
        found |= {f"paths/{name}": float(value) for name, value in values.items()}
        if self.by is not None:
            together: dict[Any, float] = defaultdict(float)
            for value, share in zip(criterion.loss.paths.column(self.by), shares, strict=True):
                together[value] += float(share)
            found |= {f"draws/share/{self.by}={_text(v)}": s for v, s in together.items()}
        return found

    def variance_metrics(
        self, criterion: StochasticLoss, input: Tensor, target: Tensor
    ) -> dict[str, float]:
        """The metrics of the estimator on one batch."""
        report = estimate_variance(
            criterion.loss,
            input[: self.items],
            target[: self.items],
            criterion.sampler,
            criterion.n_draws,
            criterion.reweight,
        )
        row = report.rows[0]
        return {
            "estimator/relative_variance": row.relative_variance,
            "estimator/bias": row.bias,
            "estimator/efficiency": row.efficiency,
        }

    def _keep(self, criterion: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Remember the batch of a training forward, without its graph."""
        if criterion.training and torch.is_grad_enabled():
            # the first two arguments, whatever names a subclass gives them
            bound = signature(criterion.forward).bind(*arguments, **named)
            given = [*bound.args, *bound.kwargs.values()][:2]
            if len(given) == 2 and all(isinstance(each, Tensor) for each in given):
                self._batch = (given[0].detach(), given[1].detach())

    def _log(self, trainer: Trainer, metrics: Mapping[str, float], step: int) -> None:
        for each in trainer.loggers:
            each.log_metrics(dict(metrics), step=step)

    def _log_histogram(self, trainer: Trainer, step: int) -> None:
        if self.draws is None:
            return
        paths = torch.arange(len(self.draws.counts), device="cpu")
        indices = paths.repeat_interleave(self.draws.counts)
        for each in trainer.loggers:
            add = getattr(getattr(each, "experiment", None), "add_histogram", None)
            if add is not None and len(indices):
                add("draws/paths", indices, global_step=step)

    def _leave(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = self._batch = None


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
