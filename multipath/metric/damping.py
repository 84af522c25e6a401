"""Levenberg-Marquardt damping of the PNP loss, which learns from each epoch."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from multipath._internal.inputs import check_real, described, is_whole
from multipath._internal.settings import between, is_scalar, positive
from multipath._internal.state import check_names, loaded_real, refused
from multipath.errors import ConfigurationError, InputError

LEAST = 1e-12
"""Of its start: the damping shrinks no further, or after hundreds of successes it would be zero."""


class AdaptiveDamping:
    r"""The damping :math:`\lambda` of a :class:`~multipath.metric.PNPLoss`, epoch by epoch.

    After each epoch :meth:`update` is told the value of one validation metric that stays the same
    from epoch to epoch, such as the PNP loss of validation targets without damping. If it is lower
    than ever, the weights and the state of the optimizer are remembered and :math:`\lambda`
    shrinks. If not, both are put back to where they were best, and :math:`\lambda` grows, up to its
    start. Learning rates and other settings of the optimizer are left to their schedules.

    Args:
        start: :math:`\lambda` in the first epoch; with :meth:`for_metric` the largest eigenvalue,
            at which the loss is nearly the distance between parameters.
        shrink: What :math:`\lambda` is multiplied by after an epoch that was a success. Default
            0.2, as published for the drum.
        grow: What it is multiplied by after a failure. Default 2.

    Raises:
        ConfigurationError: If a setting is out of range.

    Example:
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> damping = AdaptiveDamping(start=10.0, shrink=0.1)
        >>> damping.update(1.0, model, optimizer), damping.value
        (True, 1.0)
        >>> best = model.weight.clone()
        >>> _ = torch.nn.init.ones_(model.weight)  # a bad epoch
        >>> damping.update(1.5, model, optimizer), damping.value, bool(model.weight == best)
        (False, 2.0, True)

    Source: Han, Lostanlen and Lagrange, *Learning to solve inverse problems for perceptual sound
    matching* (TASLP 2024), whose code never goes back: see the page on PNP.
    """

    def __init__(self, start: float, *, shrink: float = 0.2, grow: float = 2.0) -> None:
        self.start = positive("start", start)
        self.shrink = between("shrink", shrink, 0, 1, "()")
        self.grow = positive("grow", grow)
        if self.grow < 1:
            raise ConfigurationError(f"grow must be at least 1, got {grow!r}")
        self.value = self.start
        self.best = math.inf
        self._weights: dict[str, Any] | None = None
        self._optimizer: dict[Any, Any] | None = None

    @classmethod
    def for_metric(
        cls, metric: Tensor, *, shrink: float = 0.2, grow: float = 2.0
    ) -> AdaptiveDamping:
        """One that starts at the largest eigenvalue of any example's metric.

        Args:
            metric: Shape (..., U, U).
            shrink: As in the class.
            grow: As in the class.

        Raises:
            InputError: If the metric has another shape, or is not finite.
            ConfigurationError: If no parameter has any effect.
        """
        check_real(metric, "metric", "metrics")
        if metric.ndim < 2 or metric.shape[-1] != metric.shape[-2] or not metric.isfinite().all():
            raise InputError(
                "metric must hold finite numbers and have shape (..., U, U), got shape "
                f"{tuple(metric.shape)}"
            )
        values = metric.detach().cpu().double()
        largest = float(torch.linalg.eigvalsh(values).max())
        if not largest > 0:
            raise ConfigurationError(
                "no parameter has any effect: all eigenvalues of the metric are zero"
            )
        return cls(largest, shrink=shrink, grow=grow)

    def update(self, value: float | Tensor, module: nn.Module, optimizer: Optimizer) -> bool:
        """End an epoch.

        Args:
            value: Of the validation metric: lower is better, and NaN or infinity a failure.
            module: What is trained.
            optimizer: What trains it.

        Returns:
            Whether it was a success.

        Raises:
            InputError: If the value is not a number.
        """
        if not (is_scalar(value) or (isinstance(value, Tensor) and value.numel() == 1)):
            raise InputError(f"value must be a number, got {described(value)}")
        found = float(value)
        if math.isfinite(found) and found < self.best:
            self.best = found
            self.value = max(self.value * self.shrink, LEAST * self.start)
            self._weights = copy.deepcopy(module.state_dict())
            self._optimizer = copy.deepcopy(optimizer.state_dict()["state"])
            return True
        if self._weights is not None:
            module.load_state_dict(self._weights)
            groups = optimizer.state_dict()["param_groups"]  # a schedule may have moved on
            optimizer.load_state_dict(
                {"state": copy.deepcopy(self._optimizer), "param_groups": groups}
            )
        self.value = min(self.start, self.value * self.grow)
        return False

    def state_dict(self) -> dict[str, Any]:
        """What a run goes on from, the best weights included."""
        return {
            "value": self.value,
            "best": self.best,
            "weights": self._weights,
            "optimizer": self._optimizer,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            InputError: If it is damaged.
            ConfigurationError: If it is the state of something else.
        """
        names = "value", "best", "weights", "optimizer"
        check_names("AdaptiveDamping", state_dict, names)
        value, best = state_dict["value"], state_dict["best"]
        value = loaded_real("the damping", value)
        if best != math.inf:
            best = loaded_real("the best value of the damping", best, -sys.float_info.max)
        for name in names[2:]:
            if state_dict[name] is not None:
                _check_numbers(f"the {name} of the damping", state_dict[name])
        if not 0 < value <= self.start:
            raise refused("the damping", f"positive and at most {self.start:g}", value)
        self.value, self.best = value, best
        self._weights = copy.deepcopy(state_dict["weights"])
        self._optimizer = copy.deepcopy(state_dict["optimizer"])

    def __repr__(self) -> str:
        """Constructor call, and the present value."""
        return (
            f"AdaptiveDamping(start={self.start:g}, shrink={self.shrink:g}, grow={self.grow:g}, "
            f"value={self.value:g})"
        )


def _check_numbers(name: str, state: Any) -> None:
    """Refuse what cannot be the state of a module or an optimizer: finite numbers, by name."""
    if not isinstance(state, Mapping):
        raise refused(name, "a dictionary", state)
    for key, value in state.items():
        if isinstance(value, Mapping):
            _check_numbers(f"{name}, {key}", value)
        elif not isinstance(value, Tensor):
            loaded_real(f"{name}, {key}", value)
        elif not (is_whole(value) and not value.is_complex() and bool(value.isfinite().all())):
            raise refused(f"{name}, {key}", "finite numbers", value)
