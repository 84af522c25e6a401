r"""Half the Hessian of each path's loss at the target, by jets.

Of a squared L2 distance between coefficients it is :math:`P J_p^\top J_p`, which takes first
derivatives alone; of any other loss, second ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from multipath.importance._derivatives import Mode, theta_derivatives
from multipath.importance._problem import Batch, Problem
from multipath.jets import JetOrder
from multipath.losses import GroupedLoss, PathDecomposedLoss, SubsetLoss, TransformLoss
from multipath.paths import check_indices


def is_squared(loss: PathDecomposedLoss) -> bool:
    """Whether a loss is a squared L2 distance between coefficients on every path."""
    if isinstance(loss, GroupedLoss | SubsetLoss):
        return is_squared(loss.loss)
    own = type(loss)
    return (
        isinstance(loss, TransformLoss)
        and own.path_losses is TransformLoss.path_losses
        and own.path_loss_jets is TransformLoss.path_loss_jets
        and isinstance(loss.distance, str)
        and loss.distance == "squared_l2"
        and loss.normalize is None
    )


def path_metrics(problem: Problem, batch: Batch, indices: Sequence[int], mode: Mode) -> Tensor:
    """Metrics of the chosen paths, (len(indices), batch, U, U), on the CPU; channels are reduced.

    Args:
        problem: Loss and synthesizer; the encoder gives theta as it is.
        batch: Theta, and the sounds that it makes.
        indices: Which paths.
        mode: ``"forward"``, or ``"reverse"`` where ``torch.func`` sees no way.
    """
    if mode == "reverse" or not is_squared(problem.loss):
        return theta_derivatives(problem, batch, indices, mode).second / 2
    theta = batch.inputs
    order = JetOrder(theta.shape[1], order=1)
    with torch.no_grad():
        sounds = order.of(lambda t: problem.decode(t, batch), theta)
        found = _squared(problem.loss, sounds, indices, order)
        channels: Tensor = found.unflatten(1, (len(batch), -1))
        whole = problem.loss.reduction == "sum"
        return (channels.sum(dim=2) if whole else channels.mean(dim=2)).cpu()


def _squared(
    loss: PathDecomposedLoss, sounds: Tensor, indices: Sequence[int], order: JetOrder
) -> Tensor:
    """Metrics of the chosen paths and all sounds, (len(indices), sounds, U, U)."""
    if isinstance(loss, SubsetLoss):
        return _squared(loss.loss, sounds, loss._members(indices), order)
    if isinstance(loss, GroupedLoss):
        groups, paths = loss._chosen(indices)
        members = _squared(loss.loss, sounds, paths, order)
        return loss._means(members.flatten(1), groups).reshape(len(groups), *members.shape[1:])
    if not isinstance(loss, TransformLoss):
        raise TypeError(type(loss).__name__)
    chosen = check_indices(indices, len(loss.paths))
    signals = sounds.reshape(len(sounds), -1, *sounds.shape[-loss.transform.signal_ndim :])
    jets = loss.transform.coefficient_jets(signals, chosen, order)
    shapes: dict[torch.Size, list[int]] = {}
    for place, jet in enumerate(jets):
        shapes.setdefault(jet.shape, []).append(place)
    n_parameters = order.n_parameters
    found = sounds.new_empty(len(chosen), signals.shape[1], n_parameters, n_parameters)
    for places in shapes.values():  # one product for all paths of one shape
        together = torch.stack([jets[place] for place in places], dim=1)
        if loss.rho is not None:
            together = _through(loss.rho, together, order)
        slopes = together[1:].flatten(3)
        found[places] = torch.einsum("upbk,vpbk->pbuv", slopes, slopes) * len(loss.paths)
    return found


def _through(rho: Callable[[Tensor], Tensor], jet: Tensor, order: JetOrder) -> Tensor:
    return order.through(lambda values: rho(values[0]), [jet])
