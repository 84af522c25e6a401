r"""The metric of a synthesizer's parameters: half the Hessian of a loss around its target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from multipath._internal.inputs import check_real, check_tensor
from multipath._internal.journal import Journal
from multipath._internal.settings import choice, count, several
from multipath._internal.units import Shape, Units, progress_bars
from multipath._internal.workers import Workers
from multipath.errors import ConfigurationError, InputError
from multipath.importance._derivatives import supports_forward
from multipath.importance._probe import mixes_items, probe_function
from multipath.importance._problem import (
    Batch,
    Problem,
    fingerprint,
    parameter_names,
    undisturbed,
)
from multipath.losses import PathDecomposedLoss
from multipath.losses.base import Indices
from multipath.paths import check_indices

from ._checks import check_reach, check_smooth
from ._paths import path_metrics

KIND = "parameter metrics"
"""What a journal of these says that it is."""
TRIED = 4
"""Examples on which synthesizer and loss are tried before the long work."""


def parameter_metric(
    loss: PathDecomposedLoss,
    synth: Callable[..., Tensor],
    theta: Tensor,
    indices: Indices | None = None,
    *,
    context: Tensor | Sequence[Tensor] = (),
    names: Sequence[str] | None = None,
    derivatives: Literal["auto", "forward", "reverse"] = "auto",
    items_at_once: int = 8,
    journal: str | PathLike[str] | None = None,
    progress: bool = False,
) -> Tensor:
    r"""How a loss between sounds measures small changes of the parameters behind them.

    For a synthesizer g and a loss :math:`L = \sum_p w_p L_p`,

    .. math::
        L\big(g(\hat\theta), g(\theta)\big) = (\hat\theta - \theta)^\top M(\theta)\,
        (\hat\theta - \theta) + O(|\hat\theta - \theta|^3), \qquad
        M = \tfrac 1 2 \nabla^2_{\hat\theta} L = \sum_p w_p M_p .

    With ``distance="squared_l2"``, :math:`M_p = P J_p^\top J_p` where :math:`J_p` are the
    derivatives of :math:`\rho(\phi_p(g(\theta)))`. All of them are pushed through the transform at
    once as jets (:class:`~multipath.jets.JetOrder`), at the price of 1 + U transforms of a sound
    with U parameters. Other losses take second derivatives, at up to (1 + U)(1 + U/2).

    The sum over paths makes random paths an unbiased estimate: with a draw of a sampler,
    ``(draw.weights[:, None, None, None] * parameter_metric(loss, synth, theta,
    draw.indices)).sum(0)`` has the expectation M.

    A synthesizer with random numbers is given them as ``context``, say a seed for each sound, and
    target and neighbours share them (*common random numbers*): M then tells what the parameters
    change while all else stays the same.

    Under ``torchrun`` the processes share the work, as in
    :func:`~multipath.importance.theta_importance`.

    Args:
        loss: Any loss with P paths, groups or subsets.
        synth: From theta, and ``context``, to sounds: ``synth(theta, *context)``, deterministic,
            item by item, and differentiable.
        theta: Parameters, shape (batch, U), float32 or float64.
        indices: Which paths. None: the whole loss.
        context: What else the synthesizer needs, a tensor or several, each with the batch first.
        names: Names of the parameters. Default: ``synth.parameter_names`` if it has any.
        derivatives: ``"forward"`` by ``torch.func``, ``"reverse"`` path by path for what that
            cannot see through, or ``"auto"``.
        items_at_once: Sounds at a time; bounds the memory.
        journal: A file to which results are added as they come; after an interruption, the same
            call resumes from there, and the result is the same bit for bit.
        progress: Show a progress bar on standard error; needs rich.

    Returns:
        M, shape (batch, U, U), symmetric; with ``indices`` the metrics :math:`M_p` of single paths,
        shape (len(indices), batch, U, U). Channels of a sound are reduced as the loss's reduction
        says. Rows and columns of a parameter without effect are zero, and a warning is logged.

    Raises:
        ConfigurationError: If the loss has no second derivative at the target, as L1 and L2 norms
            that are not squared, or mixes the items of a batch; if the synthesizer is random, mixes
            items, or is not differentiable; or if the journal belongs to other work.
        InputError: If theta is no batch of parameters, or a metric is not finite.

    Example:
        >>> from multipath import TransformLoss
        >>> from multipath.transforms import MultiResolutionSTFT
        >>> loss = TransformLoss(MultiResolutionSTFT([64, 128]))
        >>> time = torch.arange(512.0)
        >>> def synth(theta):  # loudness and pitch
        ...     return theta[:, :1] * torch.sin((0.3 + theta[:, 1:]) * time)
        >>> theta = torch.tensor([[1.0, 0.5]])
        >>> metric = parameter_metric(loss, synth, theta)
        >>> near = theta + torch.tensor([[1e-2, 0.0]])
        >>> value = loss(synth(near), synth(theta))
        >>> metric.shape, bool((1e-4 * metric[0, 0, 0] / value - 1).abs() < 1e-3)
        (torch.Size([1, 2, 2]), True)

    Source: Han, Lostanlen and Lagrange, *Perceptual-neural-physical sound matching* (ICASSP 2023).
    """
    if not isinstance(loss, PathDecomposedLoss):
        raise ConfigurationError(
            f"loss must be a PathDecomposedLoss, got {type(loss).__name__}; of a StochasticLoss "
            "pass criterion.loss"
        )
    choice("derivatives", derivatives, "auto", "forward", "reverse")
    size, theta = count("items_at_once", items_at_once), _checked_theta(theta)
    given = (context,) if isinstance(context, Tensor) else several("context", context)
    for part in given:
        check_tensor(part, "context")
    if any(part.shape[:1] != theta.shape[:1] for part in given):
        raise InputError(
            f"context must have the batch of theta first, {len(theta)} items, got "
            f"{', '.join(str(tuple(part.shape)) for part in given)}"
        )
    extras = tuple(part.detach() for part in given)
    weights = loss.path_weights
    if indices is None:
        paths = weights.nonzero().flatten().tolist()
    else:
        paths = list(check_indices(indices, len(loss.paths)))
    labels = parameter_names(names, synth, theta.shape[1])
    workers = Workers(KIND)
    bars = progress_bars(progress and workers.rank == 0)
    with undisturbed(synth, loss), bars as bar:
        problem = Problem(loss, _as_it_is, synth, {})
        first = Batch(theta[:TRIED], theta[:TRIED], tuple(part[:TRIED] for part in extras))
        target = probe_function("synthesizer", synth, lambda b: problem.decode(b.inputs, b), first)
        first = Batch(first.inputs, target, first.context)
        check_reach(problem, first, labels)
        check_smooth(problem, first)
        # at the target all losses are zero: these are away from it, each by another distance
        factors = torch.arange(2, 2 + len(target), dtype=target.dtype, device=target.device)
        factors = factors.reshape(-1, *[1] * (target.ndim - 1))
        apart = Batch(first.inputs, target * factors, first.context)
        if mixes_items(problem, [apart]):
            raise ConfigurationError(
                "the loss must treat the items of a batch one by one, but its value for an item "
                "depends on the others (is a term one number for the whole batch?)"
            )
        if derivatives == "auto":
            derivatives = "forward" if supports_forward(problem, first, 2) else "reverse"
        whole = Batch(theta, theta, extras)
        settings = (derivatives, size, paths, indices is None)
        same = fingerprint(problem, [whole], *settings)
        workers.agree(same)
        kept = None if journal is None else Journal(Path(journal), same, workers.rank, kind=KIND)
        units = Units(workers, kept, bar)
        parts = {f"{k}": slice(k, k + size) for k in range(0, len(theta), size)}
        advance = units.stage("metrics of the parameters", len(theta))

        def work(unit: str) -> tuple[Tensor]:
            part = whole.items(parts[unit])
            with torch.no_grad():
                sounds = problem.decode(part.inputs, part)
            batch = Batch(part.inputs, sounds, part.context)
            found = path_metrics(problem, batch, paths, derivatives)
            if not bool(found.isfinite().all()):
                raise InputError(
                    "a metric is not finite: check that synthesizer and loss are smooth where theta"
                    f" is, {part.inputs[~found.isfinite().all(dim=(0, 2, 3))][0].tolist()}"
                )
            if indices is None:
                found = torch.einsum("p,pbuv->buv", weights[paths].to(found), found)[None]
            advance(len(batch))
            return ((found + found.mT) / 2,)

        def shapes(unit: str) -> list[Shape]:
            n_paths = 1 if indices is None else len(paths)
            n_items = len(range(len(theta))[parts[unit]])
            return [(n_paths, n_items, theta.shape[1], theta.shape[1])]

        records = units.run(list(parts), work, lambda record: advance(record[0].shape[1]), shapes)
    found = torch.cat([records[unit][0] for unit in parts], dim=1).to(theta)
    return found[0] if indices is None else found


def _as_it_is(theta: Tensor) -> Tensor:
    return theta


def _checked_theta(theta: Any) -> Tensor:
    check_real(theta, "theta", "parameters")
    if theta.ndim != 2 or theta.dtype not in (torch.float32, torch.float64):
        raise InputError(
            "theta must have shape (batch, U) and be float32 or float64, got "
            f"{theta.dtype} of shape {tuple(theta.shape)}"
        )
    if not bool(theta.isfinite().all()):
        raise InputError("theta must be finite, got NaN or infinity")
    found: Tensor = theta.clone() if theta.is_inference() else theta.detach()
    return found
