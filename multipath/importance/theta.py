r"""How much each path says about each parameter of a synthesizer: theta-importance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from multipath._internal.journal import Journal
from multipath._internal.settings import real, whole
from multipath._internal.units import Units, progress_bars
from multipath._internal.workers import Workers
from multipath.errors import ConfigurationError, InputError
from multipath.losses import PathDecomposedLoss

from ._curvature import gradient_average, gradient_norms
from ._derivatives import ThetaDerivatives, supports_forward
from ._probe import mixes_items, probe
from ._problem import (
    Module,
    Parameters,
    Problem,
    as_batches,
    fingerprint,
    named_weights,
    parameter_names,
    undisturbed,
)
from ._work import Work
from .result import ThetaImportance

Method = Literal["eigenvalue", "hutchinson", "gradient", "gradient_ema"]
Derivatives = Literal["auto", "forward", "reverse"]


def theta_importance(
    loss: PathDecomposedLoss,
    encoder: Module,
    decoder: Module,
    batches: Iterable[Tensor | Sequence[Tensor]],
    params: Parameters | None = None,
    *,
    method: Method = "eigenvalue",
    tolerance: float | None = None,
    max_products: int = 1000,
    derivatives: Derivatives = "auto",
    items_at_once: int = 4,
    names: Sequence[str] | None = None,
    seed: int = 0,
    journal: str | PathLike[str] | None = None,
    progress: bool = False,
) -> ThetaImportance:
    r"""Measure how strongly each path's loss curves along the gradient of each parameter.

    For an encoder E with weights w, a decoder (synthesizer) D, and a batch x,

    .. math::
        s_{u,p} = \frac{\partial L_p(D(\theta))}{\partial \theta_u}\Big|_{\theta = E(x; w)}, \\
        C_{u,p} = \mathbb{E}_x \Big[ \big| \lambda_{max} \big( \tfrac{d}{dw} ( s_{u,p}(w)
        \tfrac{\partial E_u}{\partial w} ) \big) \big| \Big], \qquad
        \pi_p = \frac{1}{U} \sum_{u=1}^{U} \frac{C_{u,p}}{\sum_{p'} C_{u,p'}} .

    Within a batch, :math:`L_p` is reduced over the items as ``loss.reduction`` says, and
    :math:`s_{u,p} \, \partial E_u / \partial w` is the sum over them. The matrix is not symmetric
    when U > 1; :math:`\lambda_{max}` is its eigenvalue of largest magnitude, and where that is a
    complex pair, the magnitude of both. (Plain power iteration does not converge then.)

    The chain rule separates the matrix into derivatives of the loss with respect to theta, a few
    numbers for each item and path, and derivatives of the encoder, which are the same for all
    paths. The loss is therefore evaluated once, not at each step of an eigensolver, and one small
    subspace of weight space, extended until every residual is small, serves all paths.

    With W weights, B examples in a batch and a subspace of d dimensions (a few tens to a few
    hundred), B U W + d W numbers are held in memory: for a million weights and 32 examples of two
    parameters, less than a gigabyte in single precision.

    Under ``torchrun`` the work is shared among the processes: initialise ``torch.distributed``
    (gloo will do) and call this on every rank with the same arguments. Every rank returns the
    result that a single process would. Modes, gradients, buffers and random streams are left as
    they were found.

    Args:
        loss: Any loss with P paths, or groups.
        encoder: A module or function from inputs to theta, shape (batch, U). It must be
            deterministic, and treat items one by one: call ``.eval()`` first.
        decoder: A module or function from theta to what the loss compares with the target. It is
            called as ``decoder(theta, *context)``, must be deterministic, and differentiable twice.
        batches: Tensors x, which are inputs and targets alike, or tuples ``(inputs, target,
            *context)`` of tensors, all batch first; context is what the decoder needs besides
            theta, such as time shifts or seeds. 32 examples suffice (as published for two
            parameters). All are held in memory at once, and interrupted work must be resumed with
            the same ones.
        params: The weights w: tensors, ``(name, tensor)`` pairs or a mapping. Default: those of the
            encoder that require a gradient.
        method: ``"eigenvalue"`` as above, or a cheaper proxy for it: ``"hutchinson"`` takes the
            norm of the matrix times one random vector of signs, ``"gradient"`` the norm
            :math:`\lVert s_{u,p} \rVert`, ``"gradient_ema"`` its exponential moving average over
            the batches in their order (decay 0.9).
        tolerance: Largest relative residual :math:`|M y - \lambda y| / |\lambda|` of an eigenvector
            y. The error of the eigenvalue is most often a tenth of that, or less. Default: 0.02 in
            single precision, ample for probabilities, and 1e-8 in double precision.
        max_products: Largest dimension of the subspace for one batch and parameter. Where it does
            not suffice, a warning is logged, and the residuals say how accurate the result is.
        derivatives: ``"forward"`` differentiates the loss with ``torch.func``, for all paths at
            once; ``"reverse"`` does so path by path, for losses that ``torch.func`` cannot see
            through; ``"auto"`` tries the first and falls back on the second.
        items_at_once: How many items the loss is differentiated for at once; bounds its memory. A
            loss that mixes items, as a term does that is one number for a batch, needs whole
            batches and is differentiated in reverse.
        names: Names of the parameters. Default: ``decoder.parameter_names`` if it has any.
        seed: Seed of the random numbers used.
        journal: A file to which results are added as they come; after an interruption, the same
            call resumes from there.
        progress: Show progress bars on standard error; needs rich.

    Returns:
        The matrix C and the probabilities that follow from it.

    Raises:
        ConfigurationError: If an argument does not fit, the encoder or the decoder is random or
            mixes items, a loss that mixes items is to be differentiated forwards, weights have no
            gradient, or the journal belongs to other work.
        InputError: If theta does not reach the loss, or a derivative is not finite.

    Example:
        >>> from multipath.testing import QuadraticLoss
        >>> encoder = torch.nn.Linear(5, 3, dtype=torch.float64)
        >>> x = torch.randn(4, 5, dtype=torch.float64)
        >>> y = torch.ones(4, 3, dtype=torch.float64)
        >>> result = theta_importance(QuadraticLoss(3), encoder, torch.tanh, [(x, y)])
        >>> result.curvature.shape, float(result.probabilities().sum().round(decimals=6))
        (torch.Size([3, 3]), 1.0)

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), equations 10 to 12.
    """
    problem = Problem(loss, encoder, decoder, named_weights(encoder, params))
    if tolerance is None:
        tolerance = 0.02 if problem.eps > 1e-10 else 1e-8
    settings = _checked(loss, method, tolerance, max_products, derivatives, items_at_once)
    tolerance, max_products, items_at_once = list(settings.values())[1:]
    seed = whole("seed", seed)
    workers = Workers("theta-importance")
    bars = progress_bars(progress and workers.rank == 0)
    with undisturbed(encoder, decoder, loss), bars as bar:
        given = as_batches(batches)
        n_parameters = probe(problem, given[0])
        labels = parameter_names(names, decoder, n_parameters)
        if mixes_items(problem, given):
            if derivatives == "forward":
                raise ConfigurationError(
                    'with derivatives="forward" the loss must treat the items of a batch one by '
                    "one, but its value for an item depends on the others (is a term one number "
                    'for the whole batch?); use derivatives="auto"'
                )
            derivatives, items_at_once = "reverse", max(map(len, given))
            settings["items_at_once"] = items_at_once
        cheap = method in ("gradient", "gradient_ema")
        order: Literal[1, 2] = 1 if cheap else 2
        if derivatives == "auto":
            derivatives = "forward" if supports_forward(problem, given[0], order) else "reverse"
        same = fingerprint(problem, given, derivatives, items_at_once)
        workers.agree(fingerprint(problem, given, derivatives, *settings.values(), seed))
        kept = None if journal is None else Journal(Path(journal), same, workers.rank)
        work = Work(problem, given, Units(workers, kept, bar))
        found = work.theta_derivatives(derivatives, items_at_once, order)
        _check_reach(found, labels)
        residuals, products = None, 0
        if cheap:
            weights = [problem.item_weight(batch) for batch in given]
            rows = [gradient_norms(d, w) for d, w in zip(found, weights, strict=True)]
            plain = method == "gradient"
            curvature = torch.stack(rows).mean(dim=0) if plain else gradient_average(rows)
        else:
            curvature, residuals, products = work.curvature(
                found, method, tolerance, max_products, seed
            )
    return ThetaImportance(
        paths=loss.paths,
        parameters=labels,
        curvature=curvature,
        residuals=residuals,
        settings={
            **settings,
            "derivatives": derivatives,
            "seed": seed,
            "examples": sum(len(batch) for batch in given),
            "batches": len(given),
            "weights": problem.n_weights,
            "products": products,
        },
    )


def _checked(
    loss: Any,
    method: Any,
    tolerance: float,
    max_products: int,
    derivatives: Any,
    items_at_once: int,
) -> dict[str, Any]:
    if not isinstance(loss, PathDecomposedLoss):
        raise ConfigurationError(
            f"loss must be a PathDecomposedLoss, got {type(loss).__name__}; of a StochasticLoss "
            "pass criterion.loss"
        )
    for name, value, choices in (
        ("method", method, get_args(Method)),
        ("derivatives", derivatives, get_args(Derivatives)),
    ):
        if value not in choices:
            raise ConfigurationError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    if not 0 < real(tolerance) < 1:
        raise ConfigurationError(f"tolerance must lie between 0 and 1, got {tolerance!r}")
    counts = {
        "max_products": whole("max_products", max_products),
        "items_at_once": whole("items_at_once", items_at_once),
    }
    for name, number in counts.items():
        if number < 1:
            raise ConfigurationError(f"{name} must be at least 1, got {number}")
    return {"method": method, "tolerance": real(tolerance), **counts}


def _check_reach(derivatives: list[ThetaDerivatives], names: Sequence[str]) -> None:
    # at a minimum the first derivatives are zero, and the second ones are not
    both = [torch.cat([d.first[..., None], d.second], dim=3) for d in derivatives]
    reached = torch.stack([d.any(dim=3).flatten(0, 1).any(dim=0) for d in both]).any(dim=0)
    for name, yes in zip(names, reached.tolist(), strict=True):
        if not yes:
            raise InputError(
                f"{name} does not reach the loss: its derivatives are zero on every path and "
                "item. Check that the decoder uses it and does not detach it"
            )
