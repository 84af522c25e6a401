"""What a sound matching run minimises, and with which optimizer: one table, by name of the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from multipath import CombinedLoss, PathDecomposedLoss, StochasticLoss, TransformLoss
from multipath.applications.losses.embedding import EmbeddingLoss, load_embedding
from multipath.applications.losses.multi_scale import (
    PRIME_SIZES,
    mss_linear,
    mss_log,
    mss_revisited,
)
from multipath.applications.losses.plugin import make_plugin_loss
from multipath.applications.losses.random_resolutions import mss_random
from multipath.applications.runs._optimizers import check_adam
from multipath.errors import ConfigurationError
from multipath.metric import AdaptiveDamping, PNPLoss
from multipath.optim import PSAGA, PAdam
from multipath.samplers import Importance, Sampler, Uniform
from multipath.transforms import Scattering1D, Transform

from .settings import ObjectiveSettings
from .tasks.base import Task


@dataclass(frozen=True)
class LossContext:
    """What a loss may be built from.

    Args:
        task: What is matched.
        settings: Those of the objective.
        target_sounds: Gives batches of training targets, for losses that measure on them.
        metric: Gives the metrics of the training targets, shape (n, U, U), for losses that need
            them.
        seed: Governs the draws.
        probabilities: Path probabilities, shape (P,), if the run was given any.
    """

    task: Task
    settings: ObjectiveSettings
    target_sounds: Callable[[], Iterable[Tensor]]
    seed: int = 0
    probabilities: Tensor | None = None
    metric: Callable[[], Tensor] | None = None

    @property
    def argument(self) -> str:
        """What follows the first colon of the loss's name."""
        return self.settings.loss.partition(":")[2]


def adamw(
    weights: Iterable[nn.Parameter], criterion: nn.Module, lr: float, weight_decay: float
) -> Optimizer:
    """AdamW; a criterion that draws does so after each of its steps."""
    optimizer = AdamW(weights, lr=lr, weight_decay=weight_decay)
    optimizer.register_load_state_dict_pre_hook(check_adam)
    if isinstance(criterion, StochasticLoss):
        criterion.redraw_after(optimizer)
    return optimizer


@dataclass(frozen=True)
class Objective:
    """One row of :data:`LOSSES`.

    Args:
        description: One line that says what it is.
        build: Makes the criterion: called with what the model made and what it should have made.
        optimizer: Makes the optimizer: called with weights, criterion, ``lr`` and ``weight_decay``.
        takes_probabilities: Whether it draws from probabilities, if given some.
        supervised: Whether it compares parameters and not sounds.
        argument: What has to follow the name and a colon, e.g. ``MODULE:FUNCTION``.
        metric: Whether it measures parameters by what they do to the sound, which takes the metrics
            of all targets first.
    """

    description: str
    build: Callable[[LossContext], nn.Module]
    optimizer: Callable[..., Optimizer] = adamw
    takes_probabilities: bool = False
    supervised: bool = False
    argument: str = ""
    metric: bool = False


def one_path(context: LossContext) -> StochasticLoss:
    """One scattering path per step: uniform, or drawn from the probabilities given."""
    loss = scattering_loss(context.task)
    sampler: Sampler = Uniform()
    if context.probabilities is not None:
        count = len(context.probabilities)
        if count != len(loss.paths):
            raise ConfigurationError(
                f"{context.settings.probabilities} holds probabilities of {count} paths, but the "
                f"loss has {len(loss.paths)}; use a file made for the same task and preset"
            )
        sampler = Importance(context.probabilities)
    return StochasticLoss(loss, sampler, reweight=context.settings.reweight, generator=context.seed)


def plugin_draws(context: LossContext) -> PathDecomposedLoss | StochasticLoss:
    """A loss that another package announces: energy draws, or all of it if it has few paths."""
    task = context.task
    loss = make_plugin_loss(context.argument, task.n_samples, task.sample_rate)
    if len(loss.paths) <= context.settings.n_draws:
        return loss
    return energy_draws(context, loss)


def energy_draws(context: LossContext, loss: PathDecomposedLoss) -> StochasticLoss:
    """Several paths per step, loud ones more often, unbiased."""
    return StochasticLoss.for_training(
        loss,
        context.target_sounds(),
        n_draws=context.settings.n_draws,
        floor=context.settings.energy_floor,
        generator=context.seed,
    )


def combined_draws(context: LossContext) -> StochasticLoss:
    """Energy draws from the scattering loss; a path drawn is compared plain and compressed."""
    plain, share = scattering_loss(context.task), context.settings.compressed
    if plain.rho is not None or not share:
        return energy_draws(context, plain)
    both = CombinedLoss.with_compression(plain, context.target_sounds(), share)
    return energy_draws(context, both.grouped("path"))  # its coefficients serve both distances


def scattering_loss(task: Task) -> TransformLoss:
    """The full JTFS loss of a task, squared L2 as in equation 3 of the paper unless set."""
    return _distance(task, task.scattering.build(task.n_samples, task.sample_rate))


def time_scattering_loss(task: Task) -> TransformLoss:
    """The full loss of scattering over time only, with the same wavelets."""
    settings = task.scattering
    transform = Scattering1D(
        task.n_samples,
        settings.J,
        settings.Q,
        settings.T,
        sampling=settings.sampling,
        sample_rate=task.sample_rate,
    )
    return _distance(task, transform)


def _distance(task: Task, transform: Transform) -> TransformLoss:
    distance, eps = task.scattering.distance, task.scattering.eps
    if eps is None:
        return TransformLoss(transform, distance=distance)
    return TransformLoss(transform, rho="log1p", eps=eps, distance=distance)


def embedding_loss(context: LossContext) -> nn.Module:
    """Distance between the embeddings that a user's network gives."""
    return EmbeddingLoss(load_embedding(context.argument), round(context.task.sample_rate))


def pnp_loss(context: LossContext) -> PNPLoss:
    """Distance between parameters in the metric of the scattering loss, damped adaptively."""
    if context.metric is None:
        raise ConfigurationError("the loss 'pnp' needs the metrics of the targets")
    metric, settings = context.metric(), context.settings
    damping = AdaptiveDamping.for_metric(
        metric, shrink=settings.damping_shrink, grow=settings.damping_grow
    )
    return PNPLoss(metric, damping, damping_matrix=settings.damping_matrix, normalize=True)


def _spectral(make: Callable[..., nn.Module]) -> Callable[[LossContext], nn.Module]:
    return lambda context: make(context.settings.fft_sizes, context.task.n_samples)


def _fitting(sizes: Sequence[int], context: LossContext) -> Sequence[int]:
    """Those shorter than the signals; the smallest if none is, for the loss to refuse."""
    return [size for size in sizes if size <= context.task.n_samples] or sizes[:1]


LOSSES: dict[str, Objective] = {
    "scrapl": Objective(
        "SCRAPL as published: one path per step, P-Adam and P-SAGA", one_path, PSAGA, True
    ),
    "scrapl-padam": Objective("SCRAPL without P-SAGA", one_path, PAdam, True),
    "scrapl-adam": Objective("SCRAPL without P-SAGA and P-Adam: AdamW", one_path, adamw, True),
    "kpaths": Objective(
        "8 energy draws per step from plain and compressed distances together, AdamW",
        combined_draws,
    ),
    "jtfs": Objective(
        "the full joint time-frequency scattering loss, AdamW",
        lambda context: scattering_loss(context.task),
    ),
    "scattering1d": Objective(
        "the full scattering loss over time, AdamW",
        lambda context: time_scattering_loss(context.task),
    ),
    "mss-linear": Objective("multi-scale spectral loss (linear), AdamW", _spectral(mss_linear)),
    "mss-log": Objective("multi-scale spectral loss (log + linear), AdamW", _spectral(mss_log)),
    "mss": Objective("another name of mss-log", _spectral(mss_log)),
    "mss-revisited": Objective(
        "multi-scale spectral loss with flat-top windows of prime sizes, AdamW",
        lambda context: mss_revisited(_fitting(PRIME_SIZES, context), context.task.n_samples),
    ),
    "mss-random": Objective(
        "multi-scale spectral loss at random resolutions, AdamW",
        lambda context: mss_random(context.task.n_samples, generator=context.seed),
    ),
    "embedding": Objective(
        "distance between embeddings of any network, AdamW",
        embedding_loss,
        argument="MODULE:FUNCTION",
    ),
    "plugin": Objective(
        "a plug-in's loss or transform: all of up to 8 paths, else 8 energy draws per step, AdamW",
        plugin_draws,
        argument="NAME",
    ),
    "ploss": Objective(
        "supervised: distance between the parameters themselves, AdamW",
        lambda context: nn.L1Loss(),
        supervised=True,
    ),
    "pnp": Objective(
        "supervised: distance between parameters in the metric of the scattering loss, AdamW",
        pnp_loss,
        supervised=True,
        metric=True,
    ),
}
"""The losses a run can be trained with, by name; a new one is a row."""


def find_objective(loss: str) -> Objective:
    """The row of a loss, whose name may end in an argument: ``NAME:ARGUMENT``.

    Raises:
        ConfigurationError: If there is no such loss, or its argument is missing.

    Example:
        >>> find_objective("jtfs").description
        'the full joint time-frequency scattering loss, AdamW'
    """
    name, colon, argument = loss.partition(":")
    objective = LOSSES.get(name)
    if objective is None or (colon and not objective.argument):
        raise ConfigurationError(f"unknown loss {loss!r}; choose one of {', '.join(loss_names())}")
    if objective.argument and not argument:
        raise ConfigurationError(
            f"the loss {name!r} needs an argument: {name}:{objective.argument}"
        )
    return objective


def loss_names() -> list[str]:
    """All names, with the arguments that they take.

    Example:
        >>> loss_names()[:3]
        ['scrapl', 'scrapl-padam', 'scrapl-adam']
    """
    return [
        f"{name}:{objective.argument}" if objective.argument else name
        for name, objective in LOSSES.items()
    ]
