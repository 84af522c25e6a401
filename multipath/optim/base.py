"""The base of path-wise optimizers: link to the criterion, state per path, decoupled decay."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from multipath._internal.modes import trainable
from multipath.draws import Draw
from multipath.errors import ConfigurationError, DrawError, InputError
from multipath.stochastic import StochasticLoss

from ._checks import check_group, check_state, make_plain
from ._foreach import Scratch, batches, mix
from ._shards import local, shard
from .visit import Visit


class PathwiseOptimizer(Optimizer):
    r"""An optimizer whose state is per parameter *and* per path, allocated on first visit.

    ``step()`` takes the draw that the criterion made since the last step. Decoupled weight decay
    and the learning rate are applied here; subclasses turn the gradient of the drawn path into an
    update in :meth:`update`.

    The criterion multiplies the loss of path p by its weight (:math:`w_p / \pi_p` when
    reweighted). On a loss that weight would cancel in :math:`m / \sqrt v`, so the gradient is
    divided by it and the *update* multiplied.

    Time is counted for each parameter in the steps at which it had a gradient, by Python's own
    integers, which no cast of the state to the dtype of a parameter can damage.

    Args:
        params: Parameters or parameter groups, as for any torch optimizer.
        criterion: The :class:`~multipath.StochasticLoss` that draws the paths, with ``n_draws=1``.
        defaults: Default hyperparameters of the parameter groups: ``lr``, ``weight_decay``,
            ``maximize``, ``clock``, ``state_dtype`` and the subclass's own.

    Raises:
        ConfigurationError: If ``criterion`` is not a StochasticLoss or draws several paths per
            step, a hyperparameter is out of range, a parameter is complex, or the ranks of a
            distributed training would draw different paths (they compare: all have to make the
            optimizer).

    Attributes:
        never_negative: Names of what is kept that is never negative, numbers or tensors; loaded
            states are checked for it.
    """

    never_negative: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self, params: Iterable[Any], criterion: StochasticLoss, defaults: dict[str, Any]
    ) -> None:
        name = type(self).__name__
        if not isinstance(criterion, StochasticLoss):
            raise ConfigurationError(
                f"{name} needs the criterion, the StochasticLoss that draws the paths, as its "
                f"second argument, got {type(criterion).__name__}"
            )
        if criterion.n_draws != 1:
            raise ConfigurationError(
                f"{name} keeps moments for one path at a time and the criterion makes "
                f"{criterion.n_draws} draws per step. Group the paths with loss.grouped(by=...) "
                "and draw one group, or use a plain optimizer such as torch.optim.AdamW"
            )
        self.criterion = criterion
        self.n_paths = len(criterion.loss.paths)
        self._scratch = Scratch()
        make_plain(defaults)
        super().__init__(params, defaults)
        criterion.attach(self)
        criterion.compare_ranks()

    @abstractmethod
    def update(self, visit: Visit) -> list[Tensor]:
        """Advance the state by one visit of a path.

        Args:
            visit: Gradients and state of parameters that are updated together.

        Returns:
            The update of each parameter, weight included. The learning rate times it is
            subtracted.
        """

    @abstractmethod
    def path_state(self, group: dict[str, Any]) -> dict[str, float | None]:
        """What is kept for each parameter and path: numbers, or None for a tensor.

        Args:
            group: Hyperparameters of the parameter group.

        Returns:
            Initial values by name. Tensors begin at zero, in the dtype of the state.
        """

    def parameter_state(self) -> dict[str, float | None]:
        """What is kept for each parameter besides: numbers, or None for a tensor.

        Returns:
            Initial values by name. Tensors begin at zero, in the dtype of the arithmetic.
        """
        return {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with a fresh step count.

        Raises:
            ConfigurationError: If a hyperparameter is out of range or a parameter is complex.
        """
        super().add_param_group(param_group)
        try:
            check_group(self.param_groups[-1], type(self).__name__)
        except ConfigurationError:
            self.param_groups.pop()
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with the gradient of the path drawn.

        Args:
            closure: Evaluates the criterion, calls ``backward`` and returns the loss. Optional.

        Returns:
            What the closure returned, else None.

        Raises:
            DrawError: If the criterion made no draw since the last step, or several, or the ranks
                of a distributed training do not come together to compare their draws.
            ConfigurationError: If ranks draw apart.
            InputError: If a gradient is sparse.
        """
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        if any(p.grad is not None and p.grad.is_sparse for p in self._parameters()):
            raise InputError(
                f"{type(self).__name__} keeps dense state and got a sparse gradient; make the "
                "layer dense, e.g. torch.nn.Embedding(..., sparse=False)"
            )
        if self._is_of_a_checkpoint():
            for parameter in self._parameters():
                self.state_of(parameter)
            return result
        draw = self.criterion.take_draw(self)
        if len(draw.indices) != 1:
            raise DrawError(
                f"{type(self).__name__}.step() takes one path at a time and the criterion drew "
                f"{len(draw.indices)}; leave n_draws at 1 or group the paths"
            )
        path = int(draw.indices[0])
        number = 0
        for group in self.param_groups:
            for alike in self._alike(group, path):
                for batch in batches([local(parameter) for parameter in alike]):
                    self._step_batch(alike[batch], draw, group, number)
                    number += 1
        return result

    def _alike(self, group: dict[str, Any], path: int) -> Iterable[list[Tensor]]:
        """Parameters with a gradient, by device, dtype and history; allocates their state."""
        alike: dict[tuple[Any, ...], list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state_of(parameter)
            self.allocate(group, parameter, path)
            state["step"] += 1
            history = (*_history(state), *_history(state["paths"][path]))
            key = (parameter.device, parameter.dtype, *history)
            alike.setdefault(key, []).append(parameter)
        return alike.values()

    def state_of(self, parameter: Tensor) -> dict[str, Any]:
        """The state of a parameter, allocated when it is first asked for."""
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state.update({"step": 0, "paths": {}})
            state.update(_allocate(self.parameter_state(), parameter, working_dtype(parameter)))
        return state

    def allocate(self, group: dict[str, Any], parameter: Tensor, path: int) -> None:
        """Make room for the state of a parameter and path, if there is none."""
        paths = self.state_of(parameter)["paths"]
        if path not in paths:
            dtype = group["state_dtype"] or working_dtype(parameter)
            entry = {"last_step": 0, "age": 0.0}
            paths[path] = entry | _allocate(self.path_state(group), parameter, dtype)

    def _is_of_a_checkpoint(self) -> bool:
        """Whether this is no step of training, but one that is to allocate the state.

        ``torch.distributed.checkpoint.state_dict`` makes one with new optimizers, at learning rate
        0 and with gradients of 0, where the criterion has not drawn.
        """
        if self.state or any(float(group["lr"]) for group in self.param_groups):
            return False
        return not any(p.grad is not None and local(p.grad).any() for p in self._parameters())

    def _step_batch(
        self, batch: list[Tensor], draw: Draw, group: dict[str, Any], number: int
    ) -> None:
        path, weight = int(draw.indices[0]), float(draw.weights[0])
        parameters = [local(parameter) for parameter in batch]
        scratch = self._scratch.batch(parameters)
        gradients = [local(p.grad) for p in batch if p.grad is not None]
        factor, dtype = (
            (-1.0 if group["maximize"] else 1.0) / (weight or 1.0),
            working_dtype(batch[0]),
        )
        if factor != 1.0 or any(gradient.dtype != dtype for gradient in gradients):
            scaled = scratch("gradient", dtype)
            torch._foreach_copy_(scaled, gradients)
            torch._foreach_mul_(scaled, factor)
            gradients = scaled

        states = [self.state[parameter] for parameter in batch]
        entries = [state["paths"][path] for state in states]
        step, last_step = states[0]["step"], entries[0]["last_step"]
        counts_paths = group["clock"] == "paths"
        rate = 1 / self.criterion.n_active if counts_paths else float(draw.probabilities[0])
        elapsed = (step - last_step) * rate
        visit = Visit(
            path=path,
            weight=weight,
            gradients=gradients,
            group=group,
            states=states,
            entries=entries,
            first=last_step == 0,
            elapsed=elapsed,
            age=entries[0]["age"] + elapsed,
            scratch=scratch,
            seed=mix(step, path, number),
        )
        visit.note(last_step=step, age=visit.age)
        updates = self.update(visit)
        lr = float(group["lr"])
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        torch._foreach_add_(parameters, updates, alpha=-lr)

    def _parameters(self) -> Iterator[Tensor]:
        return (parameter for group in self.param_groups for parameter in group["params"])

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles keep the criterion, whose copy they are linked to."""
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_optimizer_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Link the copy of the criterion to the copy of the optimizer, or take a loaded state."""
        super().__setstate__(state)
        for parameter, value in self.state.items():
            if isinstance(value, _Sealed):
                self.state[parameter] = _copy_to(value.state, parameter)
        if "criterion" in state:
            self.criterion.attach(self)

    def state_dict(self) -> dict[str, Any]:
        """The state, of sharded parameters the part that this rank holds.

        With each parameter come its ``visited_paths``, 1 for each of the P paths that has a state,
        so that a checkpoint which lost some is found out; with sharded ones, which ``shards`` these
        are. The ``state_dtype`` is a string: not all helpers of torch take dtypes.
        """
        saved = super().state_dict()
        devices = [parameter.device for parameter in self._parameters()]
        saved["state"] = {
            key: {**state, "visited_paths": self._flags(state["paths"]).to(devices[key])}
            for key, state in saved["state"].items()
        }
        for group in saved["param_groups"]:
            if group["state_dtype"] is not None:
                group["state_dtype"] = str(group["state_dtype"]).removeprefix("torch.")
        shards = [shard(parameter) for parameter in self._parameters()]
        return {**saved, "shards": shards} if any(shards) else saved

    def _flags(self, paths: Iterable[int]) -> Tensor:
        flags = torch.zeros(self.n_paths, dtype=torch.uint8, device="cpu")
        flags[list(paths)] = 1
        return flags

    @trainable
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a saved state exactly; whole tensors are split as their parameter is.

        :meth:`torch.optim.Optimizer.load_state_dict` casts every tensor to the dtype of its
        parameter; here state may be wider or narrower than the parameter, so it goes past that.

        Raises:
            ConfigurationError: If the state is of another kind or version of optimizer, of a loss
                with more paths, or of other shards than this rank holds, or has hyperparameters
                that are out of range.
            InputError: If it holds what no such optimizer can have saved. Nothing is changed then.
        """
        groups, states = check_state(self, state_dict)
        sealed = {
            key: _Sealed({k: v for k, v in state.items() if k != "visited_paths"})
            for key, state in states.items()
        }
        super().load_state_dict({"state": sealed, "param_groups": groups})


class _Sealed:
    """State of one parameter, opaque to the casts of torch."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state


def working_dtype(parameter: Tensor) -> torch.dtype:
    """The dtype of arithmetic and, by default, of state: bfloat16 moments lose small changes."""
    return torch.promote_types(parameter.dtype, torch.float32)


def _allocate(
    names: dict[str, float | None], parameter: Tensor, dtype: torch.dtype
) -> dict[str, Any]:
    return {
        name: torch.zeros_like(parameter, dtype=dtype) if value is None else value
        for name, value in names.items()
    }


def _history(state: dict[str, Any]) -> list[Any]:
    """What must agree between parameters that share arithmetic: numbers, and dtypes of tensors."""
    return [v if type(v) in (int, float) else getattr(v, "dtype", None) for v in state.values()]


def _copy_to(value: Any, parameter: Tensor) -> Any:
    if isinstance(value, Tensor):
        copy = value.detach().clone().to(parameter.device)
        if shard(parameter) is None or shard(copy) is not None:
            return copy
        from torch.distributed.tensor import distribute_tensor

        part: Any = parameter  # a DTensor; each rank takes its part, without communication
        return distribute_tensor(copy, part.device_mesh, part.placements, src_data_rank=None)
    if isinstance(value, dict):
        return {key: _copy_to(item, parameter) for key, item in value.items()}
    return value
