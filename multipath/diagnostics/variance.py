r"""Evidence for the choice of a sampler: how noisy the gradient of each is, on your own data.

Write :math:`g_p` for the gradient of path loss :math:`L_p` with respect to the reconstruction,
:math:`G = \sum_p w_p g_p` for that of the full loss, and :math:`n_p` for the number of times that
path p appears in a draw of k. A :class:`~multipath.StochasticLoss` estimates G by

.. math:: \hat G = \sum_p n_p c_p g_p, \qquad
    c_p = \frac{w_p}{k \pi_p} \; (\text{reweight=True}) \quad\text{or}\quad \frac{P w_p}{k},

where :math:`k \pi_p` is the expected value of :math:`n_p`. Variance and bias of this estimate are
sums over pairs of paths, so that the P x P inner products of the gradients give them exactly, for
any sampler and any k, without a single random draw:

.. math::
    \mathbb E \lVert \hat G - \mathbb E \hat G \rVert^2
        &= \sum_{p,q} \operatorname{Cov}(n_p, n_q)\, c_p c_q \langle g_p, g_q \rangle \\
    \lVert \mathbb E \hat G - G \rVert^2
        &= \sum_{p,q} b_p b_q \langle g_p, g_q \rangle, \qquad b_p = k \pi_p c_p - w_p

Of all unbiased estimates from k independent draws, :math:`\pi_p \propto w_p \lVert g_p \rVert` has
the least variance, :math:`\frac 1 k \big( (\sum_p w_p \lVert g_p \rVert)^2 - \lVert G
\rVert^2 \big)` (Cauchy-Schwarz; Zhao and Zhang, "Stochastic optimization with importance sampling
for regularized loss minimization", ICML 2015). It is the reference, under the name "optimal".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from multipath._internal.extras import extra
from multipath._internal.settings import choice, is_scalar, not_negative, several, vector
from multipath._internal.tables import aligned, html_table
from multipath.errors import ConfigurationError
from multipath.losses import PathDecomposedLoss
from multipath.losses.base import shares
from multipath.paths import PathTable
from multipath.samplers import AdaptiveImportance, Energy, Importance, Sampler, Stratified, Uniform
from multipath.stochastic import StochasticLoss

from ._gradients import inner_products, path_gradients, undisturbed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EstimatorRow", "VarianceReport", "estimate_variance"]

OPTIMAL = "optimal"

Samplers = Sampler | Sequence[Sampler] | Mapping[str, Sampler]


@dataclass(frozen=True)
class EstimatorRow:
    r"""The quality of one sampler's estimates from k draws.

    Attributes:
        name: Name of the sampler.
        n_draws: Number of draws k.
        variance: :math:`\mathbb E \lVert \hat G - \mathbb E \hat G \rVert^2`.
        bias: :math:`\lVert \mathbb E \hat G - G \rVert`.
        relative_variance: Variance over :math:`\lVert G \rVert^2`: noise over signal power.
        cost: Expected cost of a step: that of the distinct paths drawn, and of the step itself.
            Work that paths share is counted for each of them, which makes this an upper bound.
        efficiency: Variance of k optimal independent draws over the mean square error. It exceeds 1
            where dependent draws, or a bias, beat all independent ones.
        unbiased: Whether the bias is zero whatever the gradients are; for "optimal", whether it is
            for these gradients, as is always the case.
    """

    name: str
    n_draws: int
    variance: float
    bias: float
    relative_variance: float
    cost: float
    efficiency: float
    unbiased: bool

    @property
    def mean_square_error(self) -> float:
        r""":math:`\mathbb E \lVert \hat G - G \rVert^2`, the variance plus the square of the bias.

        Example:
            >>> EstimatorRow("biased", 1, 4.0, 3.0, 1.0, 2.0, 0.5, False).mean_square_error
            13.0
        """
        return self.variance + self.bias**2

    @property
    def work(self) -> float:
        """Mean square error times cost; for unbiased estimates, the variance per unit of cost."""
        return self.mean_square_error * self.cost


@dataclass(frozen=True, eq=False)
class VarianceReport:
    r"""What :func:`estimate_variance` found; ``print`` shows it as a table.

    Attributes:
        paths: The paths of the loss.
        weights: :math:`w_p` of each path, float64 of shape (P,).
        gradient_norms: :math:`\lVert g_p \rVert`, float64 of shape (P,).
        gradient_norm: :math:`\lVert G \rVert`.
        optimal_probabilities: :math:`\pi_p \propto w_p \lVert g_p \rVert`, float64 of shape (P,).
        rows: One :class:`EstimatorRow` for each sampler and number of draws, "optimal" last.
    """

    paths: PathTable
    weights: Tensor
    gradient_norms: Tensor
    gradient_norm: float
    optimal_probabilities: Tensor
    rows: tuple[EstimatorRow, ...]

    def best(
        self, by: Literal["variance", "work"] = "work", n_draws: int | None = None
    ) -> EstimatorRow:
        """The row of least error among the samplers given ("optimal" is for reference only).

        Args:
            by: ``"variance"`` compares the mean square error of one step, squared bias included;
                ``"work"`` compares it per unit of cost.
            n_draws: Consider rows of that many draws only.

        Raises:
            ConfigurationError: If ``by`` is neither, or there is no row of that many draws.
        """
        choice("by", by, "variance", "work")
        rows = [row for row in self.rows if row.name != OPTIMAL]
        rows = [row for row in rows if n_draws in (None, row.n_draws)]
        if not rows:
            known = ", ".join(map(str, dict.fromkeys(row.n_draws for row in self.rows)))
            raise ConfigurationError(f"no row has n_draws={n_draws}; choose among {known}")
        return min(rows, key=lambda row: row.work if by == "work" else row.mean_square_error)

    def plot(self, path: str | PathLike[str] | None = None) -> Figure:
        """Plot the error of each sampler per unit of cost, and the gradient norms of the paths.

        The norms, times the weights of the paths, are shown in the plane of rate and scale if the
        paths have such columns, and otherwise in the order of the table. Needs matplotlib.

        Args:
            path: Where to save the plot, if anywhere; the suffix says in which format.

        Returns:
            A ``matplotlib.figure.Figure``.
        """
        with extra():
            from multipath._plots.variance import plot_report
        power = self.gradient_norm**2 or 1.0  # works are zero too where the gradient is
        return plot_report(
            [(row.name, row.n_draws, row.work / power) for row in self.rows],
            self.paths,
            (self.weights * self.gradient_norms).numpy(),
            path,
        )

    def __str__(self) -> str:
        """The rows as aligned text."""
        return aligned(self._cells())

    def _repr_html_(self) -> str:
        """The rows as a table, in notebooks."""
        return html_table(self._cells(), "variance of the gradient of each sampler")

    def _cells(self) -> list[list[str]]:
        names = ["variance", "bias", "relative_variance", "cost", "work", "efficiency"]
        cells = [["sampler", "n_draws", *names, "unbiased"]]
        for row in self.rows:
            numbers = [f"{getattr(row, name):.4g}" for name in names]
            cells.append([row.name, str(row.n_draws), *numbers, "yes" if row.unbiased else "no"])
        return cells


def estimate_variance(
    loss: PathDecomposedLoss,
    input: Tensor,
    target: Tensor,
    samplers: Samplers | None = None,
    n_draws: int | Sequence[int] = 1,
    reweight: bool = True,
    *,
    costs: Sequence[float] | Tensor | None = None,
    step_cost: float = 0.0,
    progress: bool = False,
) -> VarianceReport:
    r"""Exact variance and bias of the gradient that each sampler estimates, on one batch.

    Gradients are those with respect to ``input``, where a loss ends and a model begins. They take P
    evaluations of one path, forward and backward. The loss is reduced over the batch as its
    ``reduction`` says (by the mean for ``"none"``). The gradients are kept in memory on the CPU, in
    float32 (float64 if ``input`` is), with their inner products in float64: at most 2 GiB.

    Nothing is changed for good: samplers are copied (one that has learned is evaluated with its
    present probabilities), the loss is put in evaluation mode and back, and no random number is
    drawn from any stream.

    With ``costs`` alone, independent draws are worth the same per unit of cost however many are
    made per step; it is the fixed cost of a step that decides how many draws pay off.

    Args:
        loss: The loss to estimate.
        input: A batch of reconstructions, as far from the target as in training; any shape.
        target: What they should match.
        samplers: One sampler, several, or a dictionary of named ones. Default: uniform, uniform
            without replacement, by energy of the target, by gradient norms (adaptive importance
            that has just seen every path), and stratified if the paths have a column ``"rate"``.
        n_draws: The number of draws k, or several such numbers.
        reweight: As in :class:`~multipath.StochasticLoss`; the reference is always reweighted.
        costs: Cost of each path, shape (P,), in any unit, e.g. measured milliseconds. Default: the
            relative costs of the path table.
        step_cost: Cost of a step besides its paths (the model, the optimizer), in the same unit.
        progress: Show a progress bar on standard error; needs rich.

    Raises:
        ConfigurationError: If an argument is of the wrong type, or a sampler does not fit the loss
            or cannot make as many draws.
        InputError: If input and target do not fit, the loss does not depend on the input, a
            gradient is not finite, or the gradients need more memory than allowed.

    Example:
        >>> from multipath.testing import QuadraticLoss
        >>> x, y = torch.eye(4, dtype=torch.float64), torch.zeros(4, 4, dtype=torch.float64)
        >>> report = estimate_variance(QuadraticLoss(4), x, y, [Uniform()], n_draws=[1, 2])
        >>> print(report)
        sampler  n_draws  variance  bias  relative_variance   cost   work  efficiency  unbiased
        Uniform        1         4     0               0.64      1      4      0.3362       yes
        Uniform        2         2     0               0.32   1.75    3.5      0.3362       yes
        optimal        1     1.345     0             0.2152      1  1.345           1       yes
        optimal        2    0.6725     0             0.1076  1.663  1.118           1       yes
        >>> report.best(by="variance").n_draws
        2
    """
    if not isinstance(loss, PathDecomposedLoss):
        raise ConfigurationError(
            f"loss must be a PathDecomposedLoss, got {type(loss).__name__}; of a "
            "StochasticLoss pass criterion.loss"
        )
    draws: list[int] = several("n_draws", [n_draws] if is_scalar(n_draws) else n_draws)
    if not draws:
        raise ConfigurationError("n_draws names no number of draws; pass e.g. [1, 4, 16]")
    prices, step_cost = _check_costs(loss, costs), not_negative("step_cost", step_cost)
    given = {"uniform": Uniform()} if samplers is None else _named(samplers)
    criteria = _criteria(loss, given, draws, reweight)  # refuses what it must before the long work
    with undisturbed(loss, input, target):
        gram = inner_products(path_gradients(loss, input, target, progress))
        norms = gram.diagonal().sqrt()
        if samplers is None:
            family = _default_samplers(loss, target, norms, max(draws))
            criteria = _criteria(loss, family, draws, reweight)
    optimal = shares(loss.path_weights * norms)
    criteria += _criteria(loss, {OPTIMAL: Importance(optimal)}, draws, reweight=True)
    moments = [_moments(criterion, gram, prices) for _, criterion in criteria]
    least = [variance for variance, *_ in moments[-len(draws) :]] * (len(criteria) // len(draws))
    power = max(float(loss.path_weights @ gram @ loss.path_weights), 0.0)
    return VarianceReport(
        paths=loss.paths,
        weights=loss.path_weights,
        gradient_norms=norms,
        gradient_norm=power**0.5,
        optimal_probabilities=optimal,
        rows=tuple(
            EstimatorRow(
                name=name,
                n_draws=criterion.n_draws,
                variance=variance,
                bias=bias,
                relative_variance=_ratio(variance, power, alike=0.0),
                cost=step_cost + cost,
                efficiency=_ratio(optimum, variance + bias**2, alike=1.0),
                unbiased=name == OPTIMAL or criterion.unbiased,
            )
            for (name, criterion), (variance, bias, cost), optimum in zip(
                criteria, moments, least, strict=True
            )
        ),
    )


def _criteria(
    loss: PathDecomposedLoss, samplers: Mapping[str, Sampler], draws: list[int], reweight: bool
) -> list[tuple[str, StochasticLoss]]:
    """An estimator for each sampler, which is copied, and each number of draws."""
    return [
        (name, StochasticLoss(loss, deepcopy(sampler), k, reweight, generator=0))
        for name, sampler in samplers.items()
        for k in draws
    ]


def _moments(criterion: StochasticLoss, gram: Tensor, prices: Tensor) -> tuple[float, float, float]:
    """Variance and bias by the formulas above, and the expected cost of the paths drawn."""
    k, weights = criterion.n_draws, criterion.loss.path_weights
    counts = k * criterion.sampler.inclusion(k)
    if criterion.reweight:
        factors = torch.where(counts > 0, weights / counts, 0.0)
    else:
        factors = criterion.n_active * weights / k
    try:
        covariance = criterion.sampler.count_covariance(k)
        coverage = criterion.sampler.coverage(k)
    except NotImplementedError as error:
        raise ConfigurationError(
            f"{error}; define its count_covariance and coverage, or enumerate"
        ) from error
    terms = covariance * factors * factors[:, None] * gram
    # where terms cancel, as those of equal gradients do, all that is left is rounding
    variance, rounding = float(terms.sum()), 1e-14 * float(terms.abs().sum())
    variance = variance if variance > rounding else 0.0
    excess = counts * factors - weights
    excess = torch.where(excess.abs() > 1e-13 * weights, excess, 0.0)  # less is rounding too
    terms = excess * excess[:, None] * gram
    square, rounding = float(terms.sum()), 1e-14 * float(terms.abs().sum())
    bias = square**0.5 if square > rounding else 0.0
    return variance, bias, float(coverage @ prices)


def _default_samplers(
    loss: PathDecomposedLoss, target: Tensor, norms: Tensor, most: int
) -> dict[str, Sampler]:
    """The samplers that are compared unless others are given."""
    adaptive = AdaptiveImportance()
    adaptive.bind(loss.paths, loss.path_weights)
    adaptive.observe(torch.arange(len(norms), device="cpu"), norms)
    loudness = loss.target_norms(target, range(len(norms))).cpu().double().mean(dim=1)
    family: dict[str, Sampler] = {"uniform": Uniform()}
    if most <= int((loss.path_weights > 0).sum()):
        family["uniform, distinct"] = Uniform(replacement=False)
    if loudness.any():
        family["energy"] = Energy(loss.path_weights * loudness)
    family["adaptive"] = adaptive
    if "rate" in loss.paths.columns:
        family["stratified by rate"] = Stratified(by="rate")
    return family


def _named(samplers: Samplers) -> dict[str, Sampler]:
    """Samplers by name; from the second of a class on, they are numbered."""
    if isinstance(samplers, Mapping):
        named = dict(samplers)
    else:
        several = list(samplers) if isinstance(samplers, Iterable) else [samplers]
        kinds = [type(sampler).__name__ for sampler in several]
        counts = [kinds[: i + 1].count(kind) for i, kind in enumerate(kinds)]
        names = [f"{kind} {n}" if n > 1 else kind for kind, n in zip(kinds, counts, strict=True)]
        named = dict(zip(names, several, strict=True))
    if not named:
        raise ConfigurationError("samplers is empty; leave it out for a default family")
    for name, sampler in named.items():
        if not isinstance(sampler, Sampler):
            raise ConfigurationError(
                f"samplers must be Sampler instances, e.g. Uniform(), got {sampler!r}"
            )
        if name == OPTIMAL:
            raise ConfigurationError(
                f"the name {OPTIMAL!r} is that of the reference; give the sampler another"
            )
    return named


def _check_costs(loss: PathDecomposedLoss, costs: Sequence[float] | Tensor | None) -> Tensor:
    if costs is None:
        return loss.paths.costs
    values = vector("costs", costs)
    if values.shape != (len(loss.paths),):
        raise ConfigurationError(
            f"costs must have one entry per path, shape ({len(loss.paths)},), got "
            f"{tuple(values.shape)}"
        )
    if not bool(torch.isfinite(values).all() and (values > 0).all()):
        raise ConfigurationError("costs must be positive and finite")
    return values


def _ratio(a: float, b: float, alike: float) -> float:
    """The quotient a / b, or ``alike`` where both are zero."""
    if b > 0:
        return a / b
    return float("inf") if a > 0 else alike
