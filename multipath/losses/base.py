r"""The core abstraction: a loss that is a weighted mean over many paths.

.. math:: L(x, y) = \sum_{p=0}^{P-1} w_p L_p(x, y), \qquad w_p = 1/P \text{ unless given.}

A subclass says which paths there are and how to evaluate some of them; everything else in
multipath (the full loss, groups, estimators, samplers, path-wise optimizers) follows from that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from multipath._internal.compilation import as_written
from multipath._internal.inputs import check_tensor
from multipath._internal.modes import trainable
from multipath._internal.settings import choice, vector
from multipath.errors import ConfigurationError, InputError
from multipath.jets import JetOrder
from multipath.paths import GroupBy, Path, PathIndices, PathTable, check_indices, complete_table

Reduction = Literal["mean", "sum", "none"]
Indices = Sequence[int] | Tensor


class PathDecomposedLoss(nn.Module, ABC):
    r"""A loss :math:`L = \sum_p w_p L_p` whose terms can be evaluated a few at a time.

    Subclasses call ``super().__init__(paths)`` and define :meth:`path_losses`.

    Args:
        paths: The number P of paths, or a :class:`~multipath.PathTable` (or iterable of
            :class:`~multipath.Path`) that describes them.
        weights: :math:`w_p \ge 0`, shape (P,). Default: :math:`1/P` each.
        reduction: What calling the loss does with the batch: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ConfigurationError: If there is no path, the weights do not fit the paths, or the reduction
            is unknown.

    Example:
        >>> class Quadratic(PathDecomposedLoss):  # L_p = (x - y - p)^2, averaged over p = 0, 1, 2
        ...     def __init__(self):
        ...         super().__init__(paths=3)
        ...     def path_losses(self, input, target, indices):
        ...         shift = torch.as_tensor(indices, dtype=input.dtype)[:, None]
        ...         return (input - target - shift) ** 2
        >>> loss = Quadratic()
        >>> loss.path_losses(torch.tensor([1.0, 2.0]), torch.zeros(2), [0, 2])
        tensor([[1., 4.],
                [1., 0.]])
        >>> loss(torch.tensor([1.0, 2.0]), torch.zeros(2), reduction="none")
        tensor([0.6667, 1.6667])
    """

    def __init__(
        self,
        paths: int | Iterable[Path],
        *,
        weights: Sequence[float] | Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.paths = complete_table(paths)
        self._path_weights = _check_weights(weights, len(self.paths))
        self._counted = _count(self._path_weights)
        self.reduction = check_reduction(reduction)

    @property
    def path_weights(self) -> Tensor:
        """:math:`w_p`, float64 of shape (P,) on the CPU."""
        return self._path_weights

    @property
    def compilable(self) -> bool:
        """Whether ``torch.compile`` can follow :meth:`path_losses`, else run as it is written."""
        return True

    @abstractmethod
    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """The losses of the chosen paths: one row per path, one column per batch item.

        Work shared between the paths asked for together is done once.

        Args:
            input: What is being trained, batch first.
            target: What it should match, batch first.
            indices: Which paths: any sequence of integers in [0, P), or an integer tensor.

        Returns:
            Tensor of shape (len(indices), batch).
        """

    def forward(
        self, input: Tensor, target: Any = None, reduction: Reduction | None = None
    ) -> Tensor:
        """The full loss: every path evaluated, weighted by :attr:`path_weights`.

        Args:
            input: What is being trained, batch first.
            target: What it should match, batch first; None for losses that need none.
            reduction: Overrides the reduction given at construction.

        Returns:
            A scalar, or shape (batch,) with ``reduction="none"``.
        """
        forward = self._forward if self.compilable else self._forward_as_written
        return forward(input, target, reduction or self.reduction)

    def _forward(self, input: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
        counting, weights = self._paths_that_count()
        values = self.evaluate(input, target, counting)
        return reduce_batch(weighted_sum(weights, values), reduction)

    _forward_as_written = as_written(_forward)

    def _paths_that_count(self) -> tuple[PathIndices, Tensor]:
        """The paths of positive weight, and their weights: 0 times infinity would be NaN."""
        weights = self.path_weights
        if weights is not self._counted[0]:
            self._counted = _count(weights)
        return self._counted[1:]

    def evaluate(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """:meth:`path_losses` with its arguments and its result checked.

        Raises:
            InputError: If input and target differ in their first dimension, an index is out of
                range, or ``path_losses`` returns anything but (len(indices), batch) values.
        """
        chosen = check_indices(indices, len(self.paths))
        _check_batch(input, target)
        values = self.path_losses(input, target, chosen)
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        if not isinstance(values, Tensor) or values.ndim != 2 or len(values) != len(chosen):
            raise InputError(
                f"{type(self).__name__}.path_losses must return a tensor of (number of paths, "
                f"batch) = ({len(chosen)}, batch) values, got {got}"
            )
        return values

    def path_loss_jets(
        self, jets: Tensor, target: Tensor, indices: Indices, order: JetOrder
    ) -> Tensor:
        """Losses of the chosen paths and their derivatives in the parameters behind the input.

        Here by ``torch.func``, which :meth:`path_losses` must let see through it. Overridden where
        there is a quicker way.

        Args:
            jets: The input and its derivatives, see :class:`~multipath.jets.JetOrder`, shape
                (components, batch, ...).
            target: What it should match, batch first.
            indices: Which paths.
            order: Which derivatives there are.

        Returns:
            Shape (components, len(indices), batch).
        """
        return order.through(lambda inputs: self.evaluate(inputs[0], target, indices), [jets])

    def target_norms(self, target: Tensor, indices: Indices) -> Tensor:
        r"""How loud each path of a target is, shape (len(indices), batch); no gradient needed.

        Here :math:`\sqrt{L_p(0, y)}`, the distance from silence; transforms give the norm of their
        coefficients, and do not let it fall to 0 where an input may be loud.
        :class:`~multipath.samplers.Energy` turns it into probabilities.
        """
        check_tensor(target, "target")
        with torch.no_grad():
            return self.evaluate(torch.zeros_like(target), target, indices).abs().sqrt()

    @as_written
    def grouped(self, by: GroupBy) -> GroupedLoss:
        """Make the paths coarser, so that one draw evaluates a whole group.

        Args:
            by: A metadata column (``"rate"``), a function from a path to its group, one label for
                each path (``["a", "a", "b"]``), or a list of lists of path keys or indices that
                holds every path once.

        Returns:
            A loss of the same value whose paths are the groups.

        Raises:
            InputError: If the column does not exist or the groups are not a partition.
        """
        return GroupedLoss(self, by)

    @as_written
    def subset(self, paths: PathTable | Callable[[Path], bool] | Iterable[Hashable]) -> SubsetLoss:
        """The mean over some of the paths, with their weights; only these are ever evaluated.

        Args:
            paths: The paths to keep: keys or indices, in the order wanted; a function that says of
                a path whether to keep it; or what :meth:`PathTable.filter
                <multipath.PathTable.filter>` returned.

        Returns:
            A loss whose paths are those, see :class:`SubsetLoss`.

        Raises:
            InputError: If a path does not exist or is named twice, or if there is none.

        Example:
            >>> from multipath import TransformLoss
            >>> from multipath.transforms import MultiResolutionSTFT
            >>> loss = TransformLoss(MultiResolutionSTFT([64, 128], [16, 32], [64, 128]))
            >>> len(loss.subset(loss.paths.filter(fft_size=128)).paths)
            1
        """
        return SubsetLoss(self, paths)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"P={len(self.paths)}, reduction={self.reduction!r}"


class GroupedLoss(PathDecomposedLoss):
    r"""A loss seen through groups of its paths; made by :meth:`PathDecomposedLoss.grouped`.

    Group g has weight :math:`W_g = \sum_{p \in g} w_p` and loss
    :math:`L_g = \sum_{p \in g} (w_p / W_g) L_p`, so :math:`\sum_g W_g L_g = L` whatever the sizes.
    Its members are evaluated together and share their work; its cost is the sum of theirs.

    Args:
        loss: The loss to group.
        by: As in :meth:`PathDecomposedLoss.grouped`.

    Example:
        >>> from multipath.testing import QuadraticLoss
        >>> loss = QuadraticLoss(4)
        >>> halves = loss.grouped(by=[[0, 1, 2], [3]])
        >>> x, y = torch.ones(1, 4), torch.zeros(1, 4)
        >>> len(halves.paths), bool(torch.isclose(halves(x, y), loss(x, y)))
        (2, True)
    """

    def __init__(self, loss: PathDecomposedLoss, by: GroupBy) -> None:
        groups = loss.paths.group(by)
        column = by if isinstance(by, str) else "group"
        table = PathTable(
            Path(
                index,
                key=label,
                metadata={
                    column: label,
                    **_shared_metadata([loss.paths[member] for member in members]),
                    "paths": len(members),
                },
                cost=sum(loss.paths[member].cost for member in members),
            )
            for index, (label, members) in enumerate(groups.items())
        )
        self.members: list[list[int]] = list(groups.values())
        super().__init__(
            table, weights=_summed(loss.path_weights, self.members), reduction=loss.reduction
        )
        self.loss = loss
        self._follow(loss.path_weights)
        self._paths_that_count()

    @property
    def path_weights(self) -> Tensor:
        """:math:`W_g`, from the weights that the loss has now: it may have restored others."""
        weights = self.loss.path_weights
        if weights is not self._followed:
            self._follow(weights)
        return self._path_weights

    def _follow(self, weights: Tensor) -> None:
        """Sum the weights up, and note which members of each group count, and how much."""
        self._path_weights, self._followed = _summed(weights, self.members), weights
        positive = (weights > 0).tolist()
        # a member of weight 0 need not be evaluated, unless its whole group weighs nothing
        self._counting = [[p for p in group if positive[p]] or group for group in self.members]
        self._shares = [shares(weights[members]) for members in self._counting]

    @property
    def compilable(self) -> bool:
        """Whether the loss is."""
        return self.loss.compilable

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """Weighted mean of the members' losses for each chosen group."""
        groups, paths = self._chosen(indices)
        return self._means(self.loss.evaluate(input, target, paths), groups)

    def path_loss_jets(
        self, jets: Tensor, target: Tensor, indices: Indices, order: JetOrder
    ) -> Tensor:
        """Weighted means of the members' jets."""
        groups, paths = self._chosen(indices)
        values = self.loss.path_loss_jets(jets, target, paths, order)
        return torch.stack([self._means(component, groups) for component in values])

    def _means(self, values: Tensor, groups: list[int]) -> Tensor:
        parts = values.split([len(self._counting[group]) for group in groups])
        pairs = zip(groups, parts, strict=True)
        return torch.stack([weighted_sum(self._shares[group], part) for group, part in pairs])

    def target_norms(self, target: Tensor, indices: Indices) -> Tensor:
        """Root of the weighted mean square of the members' norms."""
        groups, paths = self._chosen(indices)
        return self._means(self.loss.target_norms(target, paths).square(), groups).sqrt()

    def _chosen(self, indices: Indices) -> tuple[list[int], PathIndices]:
        """The chosen groups, and all of their members that count."""
        _ = self.path_weights  # which follows those of the loss
        groups = check_indices(indices, len(self.paths))
        paths = [path for group in groups for path in self._counting[group]]
        return groups, PathIndices(paths, len(self.loss.paths))


class SubsetLoss(PathDecomposedLoss):
    r"""The weighted mean over some paths of a loss; made by :meth:`PathDecomposedLoss.subset`.

    .. math:: L_S = \sum_{p \in S} \frac{w_p}{\sum_{q \in S} w_q} L_p

    The paths keep their keys, metadata and costs, and are numbered anew from 0 in the order given.
    The weights follow those of the loss, which may restore others from a checkpoint; where all of
    them are 0, the paths count equally.

    Args:
        loss: The loss to restrict.
        paths: As in :meth:`PathDecomposedLoss.subset`.

    Example:
        >>> from multipath.testing import QuadraticLoss
        >>> loss = QuadraticLoss(4)
        >>> outer = loss.subset([3, 0])
        >>> x, y = torch.ones(1, 4), torch.zeros(1, 4)
        >>> bool(outer(x, y) == loss.path_losses(x, y, [0, 3]).mean())
        True
    """

    def __init__(
        self,
        loss: PathDecomposedLoss,
        paths: PathTable | Callable[[Path], bool] | Iterable[Hashable],
    ) -> None:
        self.members = loss.paths.find(paths)
        table = PathTable(
            replace(loss.paths[member], index=index) for index, member in enumerate(self.members)
        )
        super().__init__(table, reduction=loss.reduction)
        self.loss = loss
        self._restricted: Tensor | None = None
        self._paths_that_count()

    @property
    def path_weights(self) -> Tensor:
        """:math:`w_p` over their sum, from the weights that the loss has now."""
        weights = self.loss.path_weights
        if weights is not self._restricted:
            self._path_weights, self._restricted = shares(weights[self.members]), weights
        return self._path_weights

    @property
    def compilable(self) -> bool:
        """Whether the loss is."""
        return self.loss.compilable

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """The losses that the chosen paths have in the whole loss."""
        return self.loss.path_losses(input, target, self._members(indices))

    def path_loss_jets(
        self, jets: Tensor, target: Tensor, indices: Indices, order: JetOrder
    ) -> Tensor:
        """The jets that the chosen paths have in the whole loss."""
        return self.loss.path_loss_jets(jets, target, self._members(indices), order)

    def target_norms(self, target: Tensor, indices: Indices) -> Tensor:
        """The norms that the chosen paths have in the whole loss."""
        return self.loss.target_norms(target, self._members(indices))

    def _members(self, indices: Indices) -> list[int]:
        chosen = [self.members[index] for index in check_indices(indices, len(self.paths))]
        return check_indices(chosen, len(self.loss.paths))


@trainable
def _count(weights: Tensor) -> tuple[Tensor, PathIndices, Tensor]:
    """Weights, the paths for which they are positive, and the weights of these."""
    counting = PathIndices(weights.nonzero().flatten().tolist(), len(weights))
    return weights, counting, weights[counting]


@trainable
def shares(weights: Tensor) -> Tensor:
    """Weights divided by their sum; equal shares where all of them are 0."""
    total = weights.sum()
    return weights / total if total > 0 else torch.full_like(weights, 1 / len(weights))


@trainable
def _summed(weights: Tensor, groups: list[list[int]]) -> Tensor:
    return torch.stack([weights[members].sum() for members in groups])


def _check_batch(input: Any, target: Any) -> None:
    """Refuse a target of another batch size, which would broadcast silently."""
    shapes = [tuple(x.shape) for x in (input, target) if isinstance(x, Tensor) and x.ndim]
    if len(shapes) == 2 and shapes[0][0] != shapes[1][0]:
        raise InputError(
            f"input and target must have the same batch size, got shapes {shapes[0]} and "
            f"{shapes[1]}"
        )


def weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """Weights (k,) times values (k, batch), summed; autocast would round a matrix product."""
    # not to wait for what is in the queue of the device
    return (weights.to(values, non_blocking=True)[:, None] * values).sum(dim=0)


def reduce_batch(values: Tensor, reduction: Reduction) -> Tensor:
    """Apply a reduction to one value per batch item."""
    match check_reduction(reduction):
        case "mean":
            return values.mean()
        case "sum":
            return values.sum()
        case _:
            return values


def check_reduction(reduction: Any) -> Reduction:
    """The reduction, if it is one."""
    found: Reduction = choice("reduction", reduction, "mean", "sum", "none")
    return found


@trainable
def _check_weights(weights: Sequence[float] | Tensor | None, n_paths: int) -> Tensor:
    """Weights in float64 on the CPU: a float32 1/P would cost the estimators their exactness."""
    if weights is None:
        return torch.full((n_paths,), 1 / n_paths, dtype=torch.float64, device="cpu")
    values = vector("weights", weights)
    if values.shape != (n_paths,):
        raise ConfigurationError(
            f"weights must have one entry per path, shape ({n_paths},), got {tuple(values.shape)}"
        )
    if not bool(torch.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise ConfigurationError("weights must be finite, not negative and not all zero")
    return values


def _shared_metadata(paths: Sequence[Path]) -> dict[str, Hashable]:
    """The metadata on which all members of a group agree."""
    first = paths[0].metadata
    return {
        name: value
        for name, value in first.items()
        if all(path.metadata.get(name) == value for path in paths)
    }
