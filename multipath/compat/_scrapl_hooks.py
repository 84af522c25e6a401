"""The optimization of scrapl-loss as it stands there: hooks that rewrite gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from functools import partial
from typing import Any
from weakref import WeakMethod

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from multipath._internal.inputs import described
from multipath._internal.state import (
    check_names,
    loaded_integer,
    loaded_tensor,
    pack,
    refused,
    unpack,
)
from multipath.errors import ConfigurationError, InputError
from multipath.optim.base import working_dtype
from multipath.optim.psaga import add_exactly, settle

ENTRY = ("last", "mean", "square", "update")
"""What is kept for each parameter and path: the clock at the last visit, and three tensors."""


class GradientHooks(nn.Module):
    r"""P-Adam and P-SAGA of scrapl-loss 0.1, applied to gradients while backward computes them.

    With P-Adam, the gradient g of path p, multiplied by ``grad_mult``, becomes

    .. math::
        m_p &\leftarrow \beta_1^{(t - \tau_p)/P} m_p + (1 - \beta_1^{(t - \tau_p)/P})\, g,
        \qquad v_p \text{ likewise from } g^2 \\
        g &\leftarrow \frac{m_p / (1 - \beta_1^{t/P})}
            {\sqrt{v_p / (1 - \beta_2^{t/P})} + \varepsilon}, \qquad \tau_p \leftarrow t

    where the clock t is 1 plus the number of forwards in training. With P-SAGA, what was made of
    the gradient at the last visit of the path is then subtracted, and the sum of all such memories
    added, divided by the number of paths seen minus 1: by that of the *other* paths.

    Args:
        n_paths: P.
        betas: :math:`(\beta_1, \beta_2)`.
        eps: :math:`\varepsilon`, outside the root.
        grad_mult: What gradients are multiplied by first.
        adaptive: Whether to apply P-Adam.
        saga: Whether to apply P-SAGA.

    Attributes:
        path: The path of the latest forward, in training or not.
        clock: Number of forwards in training.
        seen: The paths of these.
        unsampled: What a first pass over all paths has not drawn yet.
    """

    def __init__(
        self,
        n_paths: int,
        betas: tuple[float, float],
        eps: float,
        grad_mult: float,
        adaptive: bool,
        saga: bool,
    ) -> None:
        super().__init__()
        self.n_paths, self.betas, self.eps = n_paths, betas, eps
        self.grad_mult, self.adaptive, self.saga = grad_mult, adaptive, saga
        self.path: int | None = None
        self.unsampled = list(range(n_paths))
        self._handles: list[RemovableHandle] = []
        self.attach([])

    def attach(self, params: Iterable[Tensor]) -> None:
        """Rewrite the gradients of these parameters from now on, and forget all others.

        Raises:
            ConfigurationError: If these are not distinct parameters that are trained. Those
                attached before then stay attached.
        """
        trained = _trained(params)
        for handle in self._handles:
            handle.remove()
        self.clock, self.seen = 0, set[int]()
        self.attached = trained
        self._paths: list[dict[int, dict[str, Any]]] = [{} for _ in self.attached]
        self._sums: list[tuple[Tensor, Tensor] | None] = [None for _ in self.attached]
        self._handles = [
            parameter.register_hook(partial(_rewritten, WeakMethod(self._rewrite), index))
            for index, parameter in enumerate(self.attached)
        ]

    @property
    def idle(self) -> bool:
        """Whether gradients should be rewritten, and no parameter is attached."""
        return not self.attached and (self.adaptive or self.saga or self.grad_mult != 1)

    def draw(self, probabilities: Tensor, generator: torch.Generator, all_first: bool) -> int:
        """Draw a path as scrapl-loss does, with the same random numbers."""
        if all_first and self.unsampled and len(self.seen) < self.n_paths:
            place = torch.randint(len(self.unsampled), (1,), generator=generator, device="cpu")
            return self.unsampled.pop(int(place))
        return int(torch.multinomial(probabilities, 1, generator=generator))

    def visit(self, path: int) -> None:
        """Note the path of a forward; backward belongs to the latest one."""
        self.path = path
        if self.training:
            self.clock += 1
            self.seen.add(path)

    def _rewrite(self, index: int, gradient: Tensor) -> Tensor:
        if not self.training or self.path is None:
            return gradient
        current = gradient.to(working_dtype(gradient)) * self.grad_mult
        entry = self._entry(index, current)
        if self.adaptive:
            current = self._adam(entry, current)
        if self.saga:
            current = self._saga(index, entry, current)
        return current.to(gradient.dtype)

    def _entry(self, index: int, like: Tensor) -> dict[str, Any]:
        """What is kept for a parameter and the path; parameters may have moved since."""
        entry = self._paths[index].setdefault(self.path, {"last": 0})  # type: ignore[arg-type]
        for name in ENTRY[1:]:
            entry[name] = entry[name].to(like) if name in entry else torch.zeros_like(like)
        return entry

    def _adam(self, entry: dict[str, Any], gradient: Tensor) -> Tensor:
        clock = self.clock + 1
        ages = (clock - entry["last"]) / self.n_paths, clock / self.n_paths
        moments: list[Tensor] = []
        for name, beta, new in zip(
            ("mean", "square"), self.betas, (gradient, gradient.square()), strict=True
        ):
            kept, corrected = beta ** ages[0], 1 - beta ** ages[1]
            entry[name] = kept * entry[name] + (1 - kept) * new
            moments.append(entry[name] / corrected)
        entry["last"] = clock
        return moments[0] / (moments[1].sqrt() + self.eps)

    def _saga(self, index: int, entry: dict[str, Any], current: Tensor) -> Tensor:
        sums, rests = self._sums[index] or (torch.zeros_like(current), torch.zeros_like(current))
        sums, rests = sums.to(current), rests.to(current)
        before: Tensor = entry["update"]
        update = current - before + sums / max(1, len(self.seen) - 1)
        for term in (current, -before):
            add_exactly(
                [sums], [rests], [term.clone()], lambda _name, _dtype: [torch.empty_like(sums)]
            )
        settle([sums], [rests], [torch.empty_like(sums)])
        self._sums[index], entry["update"] = (sums, rests), current
        return update

    def get_extra_state(self) -> Tensor:
        """Everything that further steps depend on, as bytes."""
        return pack(
            {
                "clock": self.clock,
                "seen": sorted(self.seen),
                "unsampled": self.unsampled,
                "parameters": self._paths,
            }
        )

    def set_extra_state(self, packed: Tensor) -> None:
        """Go on where the saved hooks were.

        Raises:
            ConfigurationError: If other parameters are attached than were when it was saved.
            InputError: If the state is damaged.
        """
        state = unpack(packed, self, {"clock", "seen", "unsampled", "parameters"})
        clock = loaded_integer("the clock of scrapl-loss", state["clock"])
        seen, unsampled = (self._loaded_paths(name, state[name]) for name in ("seen", "unsampled"))
        saved = state["parameters"]
        if not isinstance(saved, list) or len(saved) != len(self.attached):
            count = len(saved) if isinstance(saved, list) else 0
            raise ConfigurationError(
                f"this state is of {count} attached parameters and the loss has "
                f"{len(self.attached)}: call attach_params (or make_optimizer) with the same "
                "parameters before load_state_dict"
            )
        paths = [
            self._loaded_entries(entries, parameter, clock)
            for entries, parameter in zip(saved, self.attached, strict=True)
        ]
        self.clock, self.seen, self.unsampled = clock, set(seen), unsampled
        self._paths, self._sums = paths, [_summed(entries) for entries in paths]

    def _loaded_paths(self, name: str, paths: Any) -> list[int]:
        if not isinstance(paths, list):
            raise refused(f"the paths {name} of scrapl-loss", "a list of paths", paths)
        return [loaded_integer(f"a path {name}", path, high=self.n_paths - 1) for path in paths]

    def _loaded_entries(self, entries: Any, parameter: Tensor, clock: int) -> dict[int, Any]:
        if not isinstance(entries, dict):
            raise refused("the paths of a parameter", "a dictionary", entries)
        loaded: dict[int, Any] = {}
        for path, entry in entries.items():
            number = loaded_integer("the number of a path", path, high=self.n_paths - 1)
            check_names("a path of scrapl-loss", entry, ENTRY)
            last = loaded_integer("the last visit of a path", entry["last"], high=clock + 1)
            loaded[number] = {"last": last}
            for name in ENTRY[1:]:
                value = loaded_tensor(
                    f"{name} of a path", entry[name], parameter.shape, working_dtype(parameter)
                )
                if name == "square" and bool((value < 0).any()):
                    raise InputError("a mean square of gradients must not be negative")
                loaded[number][name] = value.to(parameter.device)
        return loaded

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles are attached to nothing: hooks stay with their parameters."""
        return {
            **self.__dict__,
            **{"_handles": [], "attached": [], "_paths": [], "_sums": []},
            **{"clock": 0, "seen": set()},
        }


def _trained(params: Any) -> list[Tensor]:
    """The parameters to attach, if their gradients can be rewritten, each once."""
    expected = "attach_params takes the parameters that the loss trains, as model.parameters()"
    if isinstance(params, Tensor | np.ndarray):
        raise ConfigurationError(
            f"{expected}: a list of one of them is [parameter], got {described(params)}"
        )
    if isinstance(params, str | bytes | Mapping | Set) or not isinstance(params, Iterable):
        raise ConfigurationError(f"{expected}, got {described(params)}")
    trained: dict[int, Tensor] = {}
    for place, parameter in enumerate(params):
        if not isinstance(parameter, Tensor):
            raise ConfigurationError(f"{expected}, got {described(parameter)} at place {place}")
        problem = None
        if not parameter.requires_grad:
            problem = "is frozen (requires_grad=False): leave out those that are not trained"
        elif not parameter.is_leaf:
            problem = "is computed from other tensors: attach those"
        elif id(parameter) in trained:
            problem = "comes twice, and its gradients would be rewritten twice: attach it once"
        if problem is not None:
            raise ConfigurationError(
                f"the parameter at place {place}, {described(parameter)}, {problem}"
            )
        trained[id(parameter)] = parameter
    return list(trained.values())


def _rewritten(rewrite: WeakMethod[Any], index: int, gradient: Tensor) -> Tensor:
    """The gradient as a loss rewrites it that is still in use; parameters may outlive it."""
    method = rewrite()
    rewritten: Tensor = gradient if method is None else method(index, gradient)
    return rewritten


def _summed(entries: dict[int, Any]) -> tuple[Tensor, Tensor] | None:
    """The sum of the memories, and what it lacks."""
    updates = [entry["update"] for entry in entries.values()]
    if not updates:
        return None
    exact = torch.stack([update.double().cpu() for update in updates]).sum(dim=0)
    sums = exact.to(updates[0])
    return sums, (exact - sums.double().cpu()).to(updates[0])
