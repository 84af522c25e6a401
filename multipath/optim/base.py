"""What path-wise optimizers share: the link to the criterion, state per path, decoupled decay."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ConfigurationError, DrawError, InputError
from ..stochastic import StochasticLoss


class PathwiseOptimizer(Optimizer):
    r"""An optimizer whose state is per parameter *and* per path, allocated on first visit.

    ``step()`` takes the draw that the criterion made since the last step. Decoupled weight decay
    and the learning rate are applied here; subclasses turn the gradient of the drawn path into an
    update in :meth:`update`.

    The criterion multiplies the loss of path p by its weight (:math:`w_p / \pi_p` when
    reweighted). On a loss that weight would cancel in :math:`m / \sqrt v`, so the gradient is
    divided by it and the *update* multiplied.

    Args:
        params: Parameters or parameter groups, as for any torch optimizer.
        paths: The :class:`~multipath.StochasticLoss` that draws the paths, with ``n_draws=1``.
        defaults: Default hyperparameters of the parameter groups.

    Attributes:
        state_names: What the subclass keeps for each parameter: ``"step"``, ``"paths"`` (state by
            path) and its own.

    Raises:
        ConfigurationError: If ``paths`` is not a StochasticLoss or draws several paths a step.
    """

    state_names: frozenset[str] = frozenset({"step", "paths"})

    def __init__(
        self, params: Iterable[Any], paths: StochasticLoss, defaults: dict[str, Any]
    ) -> None:
        name = type(self).__name__
        if not isinstance(paths, StochasticLoss):
            raise ConfigurationError(
                f"{name} needs paths=criterion, the StochasticLoss that draws the paths, got "
                f"{type(paths).__name__}"
            )
        if paths.n_draws != 1:
            raise ConfigurationError(
                f"{name} keeps moments for one path at a time and the criterion makes "
                f"{paths.n_draws} draws per step. Group the paths with loss.grouped(by=...) and "
                "draw one group, or use a plain optimizer such as torch.optim.AdamW"
            )
        super().__init__(params, defaults)
        if any(p.is_complex() for group in self.param_groups for p in group["params"]):
            raise ConfigurationError(
                f"{name} does not support complex parameters; optimise torch.view_as_real of them"
            )
        self.criterion = paths
        self.n_paths = len(paths.loss.paths)
        paths.attach(self)

    @abstractmethod
    def update(
        self, gradient: Tensor, state: dict[str, Any], path: int, group: dict[str, Any]
    ) -> tuple[Tensor, Tensor | None]:
        """Advance the state by one visit of a path.

        Args:
            gradient: Gradient of the unweighted loss of the path, in the state's dtype.
            state: State of this parameter; ``state["step"]`` counts this step already.
            path: Index of the path (or group) drawn.
            group: Hyperparameters of the parameter group.

        Returns:
            The part of the update that the draw's weight multiplies, and the part that it does not
            (None for zero).
        """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with the gradient of the path drawn.

        Args:
            closure: Evaluates the criterion, calls ``backward`` and returns the loss. Optional.

        Returns:
            What the closure returned, else None.

        Raises:
            DrawError: If the criterion made no draw since the last step, or several.
            InputError: If a gradient is sparse.
        """
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        with_gradient = [
            (parameter, parameter.grad, group)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if any(gradient.is_sparse for _, gradient, _ in with_gradient):
            raise InputError(
                f"{type(self).__name__} keeps dense state and got a sparse gradient; make the "
                "layer dense, e.g. torch.nn.Embedding(..., sparse=False)"
            )
        draw = self.criterion.take_draw(self)
        if len(draw.indices) != 1:
            raise DrawError(
                f"{type(self).__name__}.step() takes one path at a time and the criterion drew "
                f"{len(draw.indices)}; leave n_draws at 1 or group the paths"
            )
        path, weight = int(draw.indices[0]), float(draw.weights[0])
        for parameter, gradient, group in with_gradient:
            self._step_parameter(parameter, gradient, path, weight, group)
        return result

    def _step_parameter(
        self,
        parameter: Tensor,
        gradient: Tensor,
        path: int,
        weight: float,
        group: dict[str, Any],
    ) -> None:
        state = self.state[parameter]
        state["step"] = state.get("step", 0) + 1
        gradient = gradient.to(state_dtype(parameter))
        if group["maximize"]:
            gradient = -gradient
        if weight not in (0.0, 1.0):
            gradient = gradient / weight
        weighted, plain = self.update(gradient, state, path, group)
        if group["weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(weighted.to(parameter.dtype), alpha=-group["lr"] * weight)
        if plain is not None:
            parameter.add_(plain.to(parameter.dtype), alpha=-group["lr"])

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles keep the criterion, whose copy they are linked to."""
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_optimizer_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Link the copy of the criterion to the copy of the optimizer."""
        super().__setstate__(state)
        if "criterion" in state:
            self.criterion.attach(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a saved state exactly.

        :meth:`torch.optim.Optimizer.load_state_dict` casts every tensor to the dtype of its
        parameter; here state may be wider than the parameter, so its own dtype is put back.

        Raises:
            ConfigurationError: If the state is of another kind of optimizer or of a loss with more
                paths.
        """
        states = state_dict["state"].values()
        for state in states:
            differing = self.state_names ^ set(state)
            if differing:
                raise ConfigurationError(
                    f"this state is not that of a {type(self).__name__}: it differs in "
                    f"{', '.join(sorted(differing))}"
                )
        visited = [path for state in states for path in state["paths"]]
        if visited and max(visited) >= self.n_paths:
            raise ConfigurationError(
                f"this state knows path {max(visited)} and the loss has {self.n_paths} paths; load "
                "it into an optimizer for the loss that it was saved with"
            )
        super().load_state_dict(state_dict)
        parameters = [p for group in self.param_groups for p in group["params"]]
        saved = [p for group in state_dict["param_groups"] for p in group["params"]]
        for identifier, parameter in zip(saved, parameters, strict=True):
            if identifier in state_dict["state"]:
                self.state[parameter] = _copy_to(state_dict["state"][identifier], parameter.device)


def state_dtype(parameter: Tensor) -> torch.dtype:
    """Half-precision parameters keep float32 state: bfloat16 moments would lose small changes."""
    return torch.promote_types(parameter.dtype, torch.float32)


def check_hyperparameters(
    lr: float, weight_decay: float, betas: tuple[float, float] = (0.0, 0.0), eps: float = 0.0
) -> None:
    """Refuse values outside the range of the algorithm.

    Raises:
        ConfigurationError: Naming the value and its range.
    """
    if not lr >= 0.0:
        raise ConfigurationError(f"lr must not be negative, got {lr}")
    if not weight_decay >= 0.0:
        raise ConfigurationError(f"weight_decay must not be negative, got {weight_decay}")
    if not eps >= 0.0:
        raise ConfigurationError(f"eps must not be negative, got {eps}")
    pair = isinstance(betas, tuple | list) and len(betas) == 2
    if not (pair and all(0.0 <= beta < 1.0 for beta in betas)):
        raise ConfigurationError(f"betas must be two numbers in [0, 1), got {betas}")


def _copy_to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone().to(device)
    if isinstance(value, dict):
        return {key: _copy_to(item, device) for key, item in value.items()}
    return value
