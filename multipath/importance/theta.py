r"""How much each path says about each parameter of a synthesizer: theta-importance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import ConfigurationError, InputError
from ..losses import PathDecomposedLoss
from ._curvature import dominant_eigenvalues
from ._encoder_derivatives import EncoderDerivatives
from ._journal import Journal
from ._probe import probe
from ._problem import Batch, Module, Parameters, Problem, as_batches, named_weights, undisturbed
from ._progress import Stage, progress_bars
from ._proxies import gradient_average, gradient_norms, one_product
from ._theta_derivatives import Mode, ThetaDerivatives, supports_forward, theta_derivatives
from ._workers import Workers
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
        s_{u,p} = \frac{\partial L_p(D(\theta))}{\partial \theta_u}\Big|_{\theta = E(x; w)}, \qquad
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

    Under ``torchrun`` the work is shared between the processes: initialise ``torch.distributed``
    (gloo will do) and call this on every rank with the same arguments. Every rank returns the same
    result as a single process would. Modes, gradients, buffers and random streams are left as they
    were found.

    Args:
        loss: Any loss with P paths, or groups.
        encoder: A module or function from inputs to theta, shape (batch, U). It must be
            deterministic, and treat items one by one: call ``.eval()`` first.
        decoder: A module or function from theta to what the loss compares with the target. It is
            called as ``decoder(theta, *context)``, must be deterministic, and differentiable twice.
        batches: Tensors x, which are inputs and targets alike, or tuples ``(inputs, target,
            *context)`` of tensors, all batch first; context is what the decoder needs besides
            theta, such as time shifts or seeds. 32 examples do (as published for two parameters).
        params: The weights w: tensors, ``(name, tensor)`` pairs or a mapping. Default: those of the
            encoder that require a gradient.
        method: ``"eigenvalue"`` as above, or a cheaper proxy for it: ``"hutchinson"`` takes the
            norm of the matrix times one random vector of signs, ``"gradient"`` the norm
            :math:`\lVert s_{u,p} \rVert`, ``"gradient_ema"`` its exponential moving average over
            the batches in their order (decay 0.9).
        tolerance: Largest relative residual :math:`|M y - \lambda y| / |\lambda|` of an eigenvector
            y. The error of the eigenvalue is most often a tenth of that, or less. Default: 0.02 in
            single precision, ample for probabilities, and 1e-8 in double.
        max_products: Largest dimension of the subspace for one batch and parameter; beyond it
            the residual reached is reported.
        derivatives: ``"forward"`` differentiates the loss with ``torch.func``, for all paths at
            once; ``"reverse"`` path by path, for losses that it cannot see through. ``"auto"``
            tries.
        items_at_once: Items that the loss is differentiated with at once; bounds its memory.
        names: Of the parameters. Default: ``decoder.parameter_names`` if it has any.
        seed: Of the random numbers used.
        journal: A file to which results are added as they come. The same call goes on from there
            after an interruption.
        progress: Show progress bars on standard error; needs rich.

    Returns:
        The matrix C and what follows from it.

    Raises:
        ConfigurationError: If an argument does not fit, the encoder or the decoder is random or
            mixes items, weights have no gradient, or the journal belongs to other work.
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
    given = as_batches(batches)
    with undisturbed(encoder, decoder, loss), progress_bars(progress) as bar:
        n_parameters = probe(problem, given[0])
        labels = _names(names, decoder, n_parameters)
        if derivatives == "auto":
            derivatives = "forward" if supports_forward(problem, given[0]) else "reverse"
        workers = Workers()
        fingerprint = _fingerprint(problem, given, derivatives, items_at_once)
        workers.agree(fingerprint)
        work = _Work(problem, given, workers, _journal(journal, fingerprint, workers.rank), bar)
        cheap = method in ("gradient", "gradient_ema")
        found = work.theta_derivatives(derivatives, items_at_once, order=1 if cheap else 2)
        _check_reach(found, labels)
        residuals, products = None, 0
        if cheap:
            weights = [problem.item_weight(batch) for batch in given]
            rows = [gradient_norms(d, w) for d, w in zip(found, weights, strict=True)]
            plain = method == "gradient"
            curvature = torch.stack(rows).mean(dim=0) if plain else gradient_average(rows)
        else:
            curvature, residuals, products = work.encoder_derivatives(
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


class _Work:
    """The two stages, in units that any process can do."""

    def __init__(
        self,
        problem: Problem,
        batches: list[Batch],
        workers: Workers,
        journal: Journal | None,
        bar: Any,
    ) -> None:
        self.problem, self.batches, self.workers = problem, batches, workers
        self.journal, self.bar = journal, bar
        self.paths = range(len(problem.loss.paths))

    def theta_derivatives(
        self, mode: Mode, items_at_once: int, order: Literal[1, 2]
    ) -> list[ThetaDerivatives]:
        """Derivatives s, and H with order 2, of each batch."""
        parts = {
            f"order {order}/{number}/{start}": (batch, slice(start, start + items_at_once))
            for number, batch in enumerate(self.batches)
            for start in range(0, len(batch), items_at_once)
        }
        stage = Stage(self.bar, "derivatives of the loss", sum(len(b) for b in self.batches))

        def work(unit: str) -> ThetaDerivatives:
            batch, part = parts[unit]
            return theta_derivatives(self.problem, batch.items(part), self.paths, mode, order)

        found = self._run(list(parts), work, lambda unit, d: stage.advance(d.first.shape[1]))
        joined = []
        for number in range(len(self.batches)):
            mine = [found[unit] for unit in parts if unit.split("/")[1] == str(number)]
            first, second = zip(*mine, strict=True)
            joined.append(ThetaDerivatives(torch.cat(first, dim=1), torch.cat(second, dim=1)))
        return joined

    def encoder_derivatives(
        self,
        derivatives: list[ThetaDerivatives],
        method: str,
        tolerance: float,
        max_products: int,
        seed: int,
    ) -> tuple[Tensor, Tensor | None, int]:
        """C, the residuals, and how many Hessian-vector products it took."""
        n_parameters = derivatives[0].first.shape[2]
        units = {
            f"{method} {tolerance:g} {max_products} {seed}/{number}/{u}": (number, u)
            for number in range(len(self.batches))
            for u in range(n_parameters)
        }
        stage = Stage(self.bar, "curvature of the encoder", len(units) * len(self.paths))
        gradients: dict[int, Tensor] = {}

        def work(unit: str) -> tuple[Tensor, ...]:
            number, u = units[unit]
            encoder = EncoderDerivatives(self.problem, self.batches[number])
            if number not in gradients:
                gradients.clear()  # of one batch at a time: they are as many numbers as B U W
                gradients[number] = encoder.gradients()
            arguments = (encoder, gradients[number], derivatives[number], u)
            generator = torch.Generator().manual_seed(seed * 1009 + number * 131 + u)
            weight = self.problem.item_weight(self.batches[number])
            if method == "hutchinson":
                return (one_product(*arguments, weight=weight, generator=generator),)
            done = 0

            def report(n_paths: int) -> None:
                nonlocal done
                stage.advance(n_paths - done)
                done = n_paths

            found = dominant_eigenvalues(
                *arguments,
                weight=weight,
                tolerance=tolerance,
                max_products=max_products,
                generator=generator,
                report=report,
            )
            self._check_finite(found.magnitudes, u)
            return found.magnitudes, found.residuals, torch.tensor(found.products)

        found = self._run(list(units), work, lambda *_: None)
        shape = (len(self.batches), n_parameters, -1)
        columns = list(zip(*(found[unit] for unit in units), strict=True))
        curvature = torch.stack(columns[0]).reshape(shape).mean(dim=0)
        if len(columns) == 1:
            return curvature, None, len(units)
        residuals = torch.stack(columns[1]).reshape(shape).amax(dim=0)
        return curvature, residuals, int(torch.stack(columns[2]).sum())

    def _run(self, units: list[str], work: Any, tell: Callable[[str, Any], None]) -> Any:
        done = self.journal.records if self.journal else {}

        def keep(unit: str, record: Any) -> None:
            if self.journal:
                self.journal.append(unit, record)

        def told(unit: str) -> Any:
            record = work(unit)
            tell(unit, record)
            return record

        return self.workers.run(units, done, told, keep)

    def _check_finite(self, values: Tensor, u: int) -> None:
        if not bool(torch.isfinite(values).all()):
            bad = int((~torch.isfinite(values)).nonzero()[0])
            raise InputError(
                f"the curvature of path {self.problem.loss.paths[bad].key!r} along theta[:, {u}] "
                "is not finite: check that the encoder can be differentiated twice where its "
                "weights are"
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
    if not 0 < tolerance < 1:
        raise ConfigurationError(f"tolerance must lie between 0 and 1, got {tolerance}")
    for name, number in {"max_products": max_products, "items_at_once": items_at_once}.items():
        if number < 1:
            raise ConfigurationError(f"{name} must be at least 1, got {number}")
    return {
        "method": method,
        "tolerance": tolerance,
        "max_products": max_products,
        "items_at_once": items_at_once,
    }


def _names(names: Sequence[str] | None, decoder: Any, n_parameters: int) -> tuple[str, ...]:
    known = getattr(decoder, "parameter_names", None) if names is None else names
    if known is None:
        return tuple(f"theta[{u}]" for u in range(n_parameters))
    if len(known) != n_parameters:
        raise ConfigurationError(
            f"theta has {n_parameters} parameters, but there are {len(known)} names: "
            f"{', '.join(known)}"
        )
    return tuple(known)


def _check_reach(derivatives: list[ThetaDerivatives], names: Sequence[str]) -> None:
    reached = torch.stack([d.first.flatten(0, 1).any(dim=0) for d in derivatives]).any(dim=0)
    for name, yes in zip(names, reached.tolist(), strict=True):
        if not yes:
            raise InputError(
                f"{name} does not reach the loss: its gradient is zero on every path and item. "
                "Check that the decoder uses it and does not detach it, and that the targets "
                "differ from what the decoder makes"
            )


def _journal(path: str | PathLike[str] | None, fingerprint: str, rank: int) -> Journal | None:
    return None if path is None else Journal(Path(path), fingerprint, rank)


def _fingerprint(problem: Problem, batches: list[Batch], *settings: Any) -> str:
    """Of all that results depend on, as far as it can be seen, but for what their names tell."""
    digest = hashlib.sha256()
    described = [repr(settings), repr(problem.loss), str(problem.loss.paths.keys)]
    for module in (problem.encoder, problem.decoder):
        described.append(repr(module) if isinstance(module, nn.Module) else _qualified(module))
    digest.update(repr(described).encode())
    digest.update(problem.loss.path_weights.numpy().tobytes())
    tensors = [t for batch in batches for t in (batch.inputs, batch.target, *batch.context)]
    for tensor in (*problem.weights.values(), *tensors):
        plain = tensor.detach().cpu().contiguous()
        digest.update(repr((tuple(plain.shape), plain.dtype)).encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _qualified(function: Any) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)
