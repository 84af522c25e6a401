"""Checks made before metrics are measured: of the synthesizer, and of the loss at the target."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from multipath.errors import ConfigurationError, InputError
from multipath.importance._problem import Batch, Problem
from multipath.jets import JetOrder

from ._paths import is_squared

log = logging.getLogger(__name__)

MOST_KINKED = 1.5
"""Powers of the distance between 1, that of a norm, and 2, that of a smooth loss."""
REMEDY = (
    'use a squared distance, such as TransformLoss(transform, distance="squared_l2"), which has a '
    "second derivative at the target"
)


def check_reach(problem: Problem, batch: Batch, names: Sequence[str]) -> None:
    """Refuse a synthesizer without derivatives, and warn of parameters without effect.

    Raises:
        ConfigurationError: If a parameter changes the sounds but has no derivative.
        InputError: If a derivative is not finite.
    """
    slopes = _slopes(problem, batch)
    if not bool(slopes.isfinite().all()):
        bad = int((~slopes.flatten(1).isfinite().all(dim=1)).nonzero()[0])
        raise InputError(
            f"the derivative of the sounds with respect to {names[bad]} is not finite; check that "
            "the synthesizer is smooth where theta is"
        )
    for u, name in enumerate(names):
        if bool(slopes[u].any()):
            continue
        theta = batch.inputs
        step = torch.zeros_like(theta)
        step[:, u] = torch.where(theta[:, u] > 0.5, -0.05, 0.05) * theta[:, u].abs().clamp_min(1)
        with torch.no_grad():
            still = torch.equal(problem.decode(theta + step, batch), batch.target)
        if not still:
            raise ConfigurationError(
                f"the synthesizer is not differentiable in {name}: the sound changes with it, but "
                "its derivative is zero; remove what cuts the gradient (detach, no_grad, rounding)"
            )
        log.warning(
            "%s has no effect on the sounds: its row and column of the metric are zero, and a loss "
            "that uses it leaves the parameter to the damping",
            name,
        )


def check_smooth(problem: Problem, batch: Batch) -> None:
    """Refuse a loss without a second derivative at the target; warn where it is not least there.

    Over a distance h that shrinks, the sum of the losses on either side of the target, less twice
    that at the target, falls as h^2 where there is one, and as h where there is a kink.

    Raises:
        ConfigurationError: If there is none.
    """
    item = next((b for b in map(batch.items, _each(batch)) if _slopes(problem, b).any()), None)
    if is_squared(problem.loss) or item is None:
        return
    counting = problem.loss.path_weights.nonzero().flatten().tolist()
    # along all parameters at once, and so far that the sound changes by a small share
    eps = torch.finfo(item.target.dtype).eps
    reach = _slopes(problem, item).sum(dim=0)
    tiny = torch.finfo(reach.dtype).tiny
    step = math.sqrt(10 * eps) * item.target.norm() / reach.norm().clamp_min(tiny) * reach

    def beside(share: float) -> Tensor:
        values = problem.loss.evaluate(item.target + share * step, item.target, counting)
        return values.double().sum(dim=1).cpu()

    with torch.no_grad():
        rest, up, down = beside(0.0), beside(1.0), beside(-1.0)
        far, near = up + down - 2 * rest, beside(0.5) + beside(-0.5) - 2 * rest
    telling = (far.abs() > 0.01 * far.abs().max()) & (far.abs() > 1e3 * eps * rest.abs())
    name, keys = type(problem.loss).__name__, problem.loss.paths.keys
    for place in telling.nonzero().flatten().tolist():
        power = math.log2(float((far[place] / near[place]).abs().clamp(1, 1e6)))
        if power < MOST_KINKED:
            raise ConfigurationError(
                f"{name} has no second derivative at the target: beside it, path "
                f"{keys[counting[place]]!r} grows as the distance to the power {power:.2g} and not "
                f"2, as L1 norms and norms that are not squared do; {REMEDY}"
            )
    slope = (up - down).abs() > 0.1 * far.abs().max()
    if bool(slope.any()):
        log.warning(
            "%s has a slope at the target (path %r): half its Hessian is not all that tells it "
            "from the target nearby",
            name,
            keys[counting[int(slope.nonzero()[0])]],
        )


def _each(batch: Batch) -> list[slice]:
    return [slice(b, b + 1) for b in range(len(batch))]


def _slopes(problem: Problem, batch: Batch) -> Tensor:
    """Derivatives of the sounds, (U, batch, ...), forward where ``torch.func`` sees through."""
    theta = batch.inputs
    try:
        with torch.no_grad():
            order = JetOrder(theta.shape[1], order=1)
            return order.of(lambda t: problem.decode(t, batch), theta)[1:]
    except (RuntimeError, NotImplementedError):
        leaf = theta.clone().requires_grad_()
        sounds = problem.decode(leaf, batch)
        if not sounds.requires_grad:
            return sounds.new_zeros(theta.shape[1], *sounds.shape)
        # the transpose of reverse mode, itself differentiated in reverse
        seed = torch.zeros_like(sounds, requires_grad=True)
        (pulled,) = torch.autograd.grad(sounds, leaf, seed, create_graph=True)
        rows = [
            torch.autograd.grad(pulled[:, u].sum(), seed, retain_graph=True, allow_unused=True)[0]
            for u in range(theta.shape[1])
        ]
        return torch.stack([torch.zeros_like(sounds) if r is None else r for r in rows]).detach()
