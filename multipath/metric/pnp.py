r"""The PNP loss: distances between parameters, measured by what they do to the sound."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from multipath._internal.inputs import check_real, described
from multipath._internal.modes import trainable
from multipath._internal.settings import choice, not_negative, switch
from multipath.errors import InputError
from multipath.losses import PathDecomposedLoss
from multipath.losses.base import Indices, Reduction, weighted_sum
from multipath.paths import Path, check_indices

from .damping import AdaptiveDamping

ROUNDING = 1e-4
"""How far from symmetric and from positive semi-definite a metric may be, relative to its largest
entry."""


class PNPLoss(PathDecomposedLoss):
    r"""Perceptual-neural-physical loss: a quadratic distance between parameters.

    .. math:: L(\hat\theta, \theta) = (\hat\theta - \theta)^\top (M(\theta) + \lambda D)
        (\hat\theta - \theta)

    It approximates a loss between sounds, of which M is the metric
    (:func:`~multipath.metric.parameter_metric`), at the price of a distance between parameters:
    neither a synthesizer nor a transform runs in training. It is a loss with one path, or with
    those of the metric, so that it can be a term of a :class:`~multipath.BalancedLoss`, and counts,
    subsets and reductions are those of any other.

    The quadratic form is right near the target, and leaves errors free along directions that M
    calls inaudible. The damping :math:`\lambda` holds these, and begins large: see
    :class:`~multipath.metric.AdaptiveDamping`.

    Args:
        metric: M of n examples, shape (n, U, U), or :math:`M_p` of P paths, (P, n, U, U), of which
            the loss takes the mean with its weights. If n = 1, or the shape is (U, U), all
            examples have the same metric.
        damping: :math:`\lambda`, a number that is not negative (default 0), or an
            ``AdaptiveDamping``, which is asked at each evaluation.
        damping_matrix: D: ``"identity"``, ``"diagonal"`` for that of each M, or ``"mean"`` for the
            mean of M over the examples.
        normalize: Divide by the mean eigenvalue of :math:`M + \lambda D` over all examples, so that
            gradients keep their size while the damping shrinks by orders of magnitude. Adam would
            otherwise go on dividing by the large gradients of the beginning, and stand still.
        paths: Of the P metrics, if they have names. Default: numbers.
        weights: :math:`w_p`, default 1/P. The damping counts with each path.
        reduction: Over the batch: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        InputError: If the metric has another shape, is not symmetric, or has negative eigenvalues.
        ConfigurationError: If a setting is out of range.

    Example:
        >>> metric = torch.tensor([[[4.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
        >>> loss = PNPLoss(metric, damping=0.1, reduction="none")
        >>> theta, estimate = torch.zeros(2, 2), torch.ones(2, 2)
        >>> loss(estimate, theta)
        tensor([4.2000, 2.2000])
        >>> loss.take([1])(estimate[:1], theta[:1])  # a batch of the second example alone
        tensor([2.2000])

    Source: Han, Lostanlen and Lagrange, *Perceptual-neural-physical sound matching* (ICASSP 2023)
    and *Learning to solve inverse problems for perceptual sound matching* (TASLP 2024).
    """

    def __init__(
        self,
        metric: Tensor,
        damping: float | AdaptiveDamping = 0.0,
        *,
        damping_matrix: Literal["identity", "diagonal", "mean"] = "identity",
        normalize: bool = False,
        paths: Iterable[Path] | None = None,
        weights: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        values = _checked(metric)
        super().__init__(
            len(values) if paths is None else paths, weights=weights, reduction=reduction
        )
        if len(self.paths) != len(values):
            raise InputError(
                f"there must be as many metrics as paths, {len(self.paths)}, got {len(values)}"
            )
        self.damping = (
            damping if isinstance(damping, AdaptiveDamping) else not_negative("damping", damping)
        )
        self.damping_matrix = choice(
            "damping_matrix", damping_matrix, "identity", "diagonal", "mean"
        )
        whole = weighted_sum(self.path_weights, values.flatten(1)).view(values.shape[1:])
        self.metric = nn.Buffer(values, persistent=False)
        self.damped = nn.Buffer(self._damped(whole), persistent=False)
        self.normalize = switch("normalize", normalize)
        self._taken = False
        self._sizes = tuple(
            float(each.diagonal(dim1=1, dim2=2).mean()) for each in (whole, self.damped)
        )

    def _damped(self, whole: Tensor) -> Tensor:
        """D, shape (n or 1, U, U)."""
        match self.damping_matrix:
            case "diagonal":
                return torch.diag_embed(whole.diagonal(dim1=1, dim2=2))
            case "mean":
                return whole.mean(dim=0, keepdim=True)
            case _:
                return torch.eye(whole.shape[1], dtype=whole.dtype, device=whole.device)[None]

    @property
    def level(self) -> float:
        r"""The present damping :math:`\lambda`."""
        return self.damping.value if isinstance(self.damping, AdaptiveDamping) else self.damping

    @property
    def scale(self) -> float:
        r"""The mean eigenvalue of :math:`M + \lambda D` over all examples, which may not be 0."""
        own, damped = self._sizes
        return max(own + self.level * damped, torch.finfo(torch.float32).tiny)

    def take(self, rows: Tensor | list[int] | slice) -> PNPLoss:
        """The loss of some of the examples, for a batch of these; the damping stays shared.

        Args:
            rows: Numbers of the examples, or a mask.

        Raises:
            InputError: If they are no such list.
        """
        if not isinstance(rows, slice):
            rows = torch.as_tensor(rows, device=self.metric.device)
            if rows.ndim != 1 or rows.is_floating_point():
                raise InputError(
                    "rows must be the numbers of some examples, as a list or a tensor of one "
                    f"dimension, got {described(rows)}"
                )
        few = copy.copy(self)
        few._taken = True  # for a batch of just these: a single one is not for any other
        few._buffers = {
            "metric": self.metric[:, rows],
            "damped": self.damped[rows] if len(self.damped) > 1 else self.damped,
        }
        return few

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """Quadratic distances, shape (len(indices), batch).

        Args:
            input: Estimated parameters, shape (batch, U).
            target: True parameters, shape (batch, U), in the order of the metrics.
            indices: Which paths.

        Raises:
            InputError: If there are more or fewer parameters or examples than metrics.
        """
        chosen = check_indices(indices, len(self.paths))
        check_real(input, "input", "parameters")
        check_real(target, "target", "parameters")
        count, size = self.metric.shape[1:3]
        if input.shape != target.shape or input.ndim != 2 or input.shape[1] != size:
            raise InputError(
                f"input and target must both have shape (batch, {size}), got "
                f"{tuple(input.shape)} and {tuple(target.shape)}"
            )
        if len(input) != count and (count > 1 or self._taken):
            raise InputError(
                f"the loss has the metrics of {count} examples, but the batch has {len(input)}; "
                "choose those of the batch with .take(rows)"
            )
        error = (input - target)[:, :, None]
        forms = self.metric[chosen] + self.level * self.damped
        values = (error * (forms.to(error) @ error)).sum(dim=(2, 3))
        return values / self.scale if self.normalize else values

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        count, size = self.metric.shape[1:3]
        return (
            f"{super().extra_repr()}, examples={count}, parameters={size}, damping={self.damping}"
        )


@trainable
def _checked(metric: Tensor) -> Tensor:
    """Metrics of shape (paths, examples, U, U)."""
    check_real(metric, "metric", "metrics")
    if not 2 <= metric.ndim <= 4 or metric.shape[-1] != metric.shape[-2]:
        raise InputError(
            "metric must have shape (examples, U, U), or (paths, examples, U, U), got "
            f"{tuple(metric.shape)}"
        )
    if not bool(metric.isfinite().all()):
        raise InputError("metric must be finite, got NaN or infinity")
    values: Tensor = metric.detach()[(None,) * (4 - metric.ndim)].clone()
    largest = float(values.abs().max())
    if float((values - values.mT).abs().max()) > ROUNDING * largest:
        raise InputError("metric must be symmetric; take that of parameter_metric, or (M + M.mT)/2")
    least = float(torch.linalg.eigvalsh(values.cpu().double()).min())
    if least < -ROUNDING * largest:
        raise InputError(
            f"metric must have no negative eigenvalues, got {least:.2g}: the loss that it stands "
            "for has no minimum at the target"
        )
    return values
