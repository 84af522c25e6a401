"""Named functions as paths: residuals of a differential equation, tasks of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from multipath._internal.settings import vector
from multipath.errors import ConfigurationError, InputError
from multipath.paths import Path, check_indices

from .base import Indices, PathDecomposedLoss, Reduction

Term = Callable[[Any, Any], Tensor]
Numbers = Mapping[str, float] | Sequence[float] | Tensor


class TermLoss(PathDecomposedLoss):
    r"""A weighted sum of named terms :math:`L = \sum_p w_p L_p`; a path is a term.

    For losses written as a sum: the residuals of a physics-informed network, the tasks
    of a multi-task network. Each term is called as ``term(input, target)`` and returns one value
    for each item, shape (batch,), or a scalar, which then stands for every item: its mean over the
    batch is itself. The terms drawn in a step are computed and the others are not, so that terms of
    unequal cost should declare it: cost-aware samplers
    (``AdaptiveImportance(cost_aware=True)``) draw the expensive ones less often.

    Where the input is a network, or anything else that is no tensor, samplers that learn in
    training (``AdaptiveImportance()``, ``Energy.running()``) learn from the losses of the terms,
    see :class:`~multipath.StochasticLoss`. How loud a target is cannot be measured beforehand then.

    Terms that are modules become submodules.

    Args:
        terms: Functions by name.
        weights: :math:`w_p \ge 0`, by name or in the order of the terms. Default 1/P each, a mean;
            weights of 1 make a sum.
        costs: Cost of one evaluation of each, relative to the others (> 0), by name or in order.
            Default 1 each.
        reduction: Over the batch: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ConfigurationError: If there is no term, one cannot be called, or weights or costs do not
            fit the terms.

    Example:
        >>> def residual(u, x):  # of u'(x) = u(x), in the middle of two points
        ...     middle = (u[:, 1] + u[:, 0]) / 2
        ...     return ((u[:, 1] - u[:, 0]) / (x[:, 1] - x[:, 0]) - middle).square()
        >>> def start(u, x):
        ...     return (u[0, 0] - 1.0).square()  # a scalar
        >>> loss = TermLoss({"residual": residual, "start": start},
        ...                 weights={"residual": 1.0, "start": 10.0}, costs=[3.0, 1.0])
        >>> x = torch.tensor([[0.0, 0.1], [0.1, 0.2]])
        >>> bool(loss(torch.exp(x), x) < 1e-5), loss(2 * torch.exp(x), x)
        (True, tensor(10.0000))
        >>> print(loss.paths)
        index  key       cost
            0  residual     3
            1  start        1
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        *,
        weights: Numbers | None = None,
        costs: Numbers | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        if not isinstance(terms, Mapping):
            raise ConfigurationError(f"terms must be functions by name, got {terms!r}")
        for name, term in terms.items():
            if not isinstance(name, str):
                raise ConfigurationError(f"the name of a term must be a string, got {name!r}")
            if not callable(term):
                raise ConfigurationError(f"term {name!r} must be a function, got {term!r}")
        names = list(terms)
        declared = _in_order(costs, names, "costs") or [1.0] * len(names)
        paths = [Path(i, n, cost=c) for i, (n, c) in enumerate(zip(names, declared, strict=True))]
        super().__init__(paths, weights=_in_order(weights, names, "weights"), reduction=reduction)
        self.terms = dict(terms)
        # known to the module system: they move, and are saved, with the loss
        self.term_modules = nn.ModuleDict(
            {str(i): term for i, term in enumerate(terms.values()) if isinstance(term, nn.Module)}
        )

    def path_losses(self, input: Any, target: Any, indices: Indices) -> Tensor:
        """The chosen terms, each computed once.

        Args:
            input: Whatever the terms take first; a tensor is batch first. What is no tensor counts
                as a batch of one item, so that terms return scalars.
            target: Whatever they take second.
            indices: Which terms.

        Raises:
            InputError: If a term returns anything but one value for each item or a scalar.
        """
        chosen = check_indices(indices, len(self.paths))
        names = {path: str(self.paths[path].key) for path in chosen}
        values = {path: self._value(name, input, target) for path, name in names.items()}
        return torch.stack([values[path] for path in chosen])

    def _value(self, name: str, input: Any, target: Any) -> Tensor:
        batch = len(input) if isinstance(input, Tensor) and input.ndim else 1
        value: Any = self.terms[name](input, target)
        if isinstance(value, Tensor) and value.ndim == 0:
            return value.expand(batch)
        if not isinstance(value, Tensor) or value.shape != (batch,):
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(
                f"term {name!r} must return one value for each item, shape ({batch},), or a "
                f"scalar tensor, got {got}"
            )
        return value

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"{super().extra_repr()}, terms={list(self.terms)}"


def _in_order(numbers: Numbers | None, names: list[str], what: str) -> list[float] | None:
    """One number a term, in the order of the terms."""
    if numbers is None:
        return None
    if isinstance(numbers, Mapping):
        if numbers.keys() != set(names):
            raise ConfigurationError(
                f"{what} must name every term, {', '.join(names)}, got {', '.join(numbers)}"
            )
        numbers = [numbers[name] for name in names]
    values = vector(what, numbers, f"by name or one for each of the {len(names)} terms")
    if values.shape != (len(names),):
        raise ConfigurationError(
            f"{what} must have one entry for each of the {len(names)} terms, got {len(values)}"
        )
    listed: list[float] = values.tolist()
    return listed
