r"""A problem with a known answer: quadratic paths, loud and quiet, that want different things.

.. math:: L_p(x, y) = \tfrac12 s_p \lVert A_p (x - y - o_p) \rVert^2

with sizes :math:`s_p` log-uniform over four decades, so that the mean over paths has an exact
minimum which no path shares. Reported is the excess :math:`(L(x) - L^*) / (L(x_0) - L^*)` after a
given price. k paths cost 0.75 + 0.25 k, as paths of a scattering transform do that share a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from multipath import Path, PathDecomposedLoss, StochasticLoss
from multipath.applications.matching.tasks.data import seeded
from multipath.optim import PSAGA, PAdam
from multipath.samplers import (
    AdaptiveImportance,
    Energy,
    Reshuffle,
    Sampler,
    Stratified,
    Uniform,
)

from .methods import LinkedAdamW, StormAdamW

N_RATES, N_SCALES, SIZE, RANK = 12, 5, 16, 2
PRICE = 1500.0
"""Of a run, in evaluations of one path."""


class QuadraticPaths(PathDecomposedLoss):
    """See the head of this file; the paths of one rate have similar sizes."""

    def __init__(self, seed: int) -> None:
        rates = [rate for rate in range(N_RATES) for _ in range(N_SCALES)]
        super().__init__(Path(i, metadata={"rate": rate}) for i, rate in enumerate(rates))
        generator = seeded(seed, "quadratic")
        n_paths = len(rates)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        decades = 4 * torch.tensor(rates) / (N_RATES - 1) + 0.2 * normal(n_paths)
        self.sizes = 10**-decades
        self.maps = normal(n_paths, RANK, SIZE) / SIZE**0.5
        self.offsets = normal(n_paths, SIZE)

    def path_losses(self, input: Tensor, target: Tensor, indices: Any) -> Tensor:
        chosen = torch.as_tensor(indices)
        away = input[None] - target - self.offsets[chosen][:, None]
        mapped = torch.einsum("prd,pbd->pbr", self.maps[chosen], away)
        return 0.5 * self.sizes[chosen][:, None] * mapped.square().sum(dim=2)

    def minimum(self, target: Tensor) -> Tensor:
        """Where the mean over paths is smallest, shape (1, SIZE)."""
        weighted = self.sizes[:, None, None] * self.maps.mT @ self.maps
        right = (weighted @ (self.offsets + target)[..., None]).sum(dim=0)
        return torch.linalg.solve(weighted.sum(dim=0), right).T


class QuadraticScheme(NamedTuple):
    """A sampler, a number of draws and an optimizer; ``evaluations`` of each draw a step."""

    sampler: Callable[[PathDecomposedLoss, Tensor], Sampler]
    k: int
    optimizer: Callable[..., Optimizer]
    reweight: bool = True
    evaluations: int = 1


def sgd(parameters: list[nn.Parameter], criterion: StochasticLoss, lr: float) -> Optimizer:
    """Plain gradient descent, whose steps end a draw."""
    made = SGD(parameters, lr=lr)
    criterion.redraw_after(made)
    return made


def uniform(loss: PathDecomposedLoss, target: Tensor) -> Sampler:
    """Every path alike."""
    return Uniform()


def energy(loss: PathDecomposedLoss, target: Tensor) -> Sampler:
    """Paths in proportion to the norm of the target."""
    return Energy.from_targets(loss, [target])


adam = partial(LinkedAdamW, weight_decay=0.0)

SCHEMES: dict[str, QuadraticScheme] = {
    **{
        f"{name} {k}, Adam": QuadraticScheme(sampler, k, adam)
        for name, sampler in {
            "uniform": uniform,
            "energy": energy,
            "adaptive": lambda loss, target: AdaptiveImportance(),
            "reshuffle": lambda loss, target: Reshuffle(),
            "stratified": lambda loss, target: Stratified("rate"),
        }.items()
        for k in (1, 4, 8, 16)
    },
    "uniform 1, SGD": QuadraticScheme(uniform, 1, sgd),
    "energy 8, SGD": QuadraticScheme(energy, 8, sgd),
    "uniform 1, P-Adam": QuadraticScheme(uniform, 1, PAdam, reweight=False),
    "uniform 1, P-SAGA": QuadraticScheme(uniform, 1, PSAGA, reweight=False),
    "uniform 1, SAGA": QuadraticScheme(uniform, 1, partial(PSAGA, adaptive=False)),
    "energy 1, SAGA": QuadraticScheme(energy, 1, partial(PSAGA, adaptive=False)),
    "energy 4, STORM": QuadraticScheme(
        energy, 4, partial(StormAdamW, weight_decay=0.0), evaluations=2
    ),
}


def train(scheme: QuadraticScheme, lr: float, seed: int, price: float = PRICE) -> dict[str, Any]:
    """One run; ``validation`` and ``test`` are the excess at the end, ``curve`` along the way."""
    loss = QuadraticPaths(seed)
    target = torch.randn(1, SIZE, generator=seeded(seed, "target"), dtype=torch.float64)
    best = loss(loss.minimum(target), target)
    x = nn.Parameter(torch.zeros(1, SIZE, dtype=torch.float64))
    excess = float(loss(x.detach(), target) - best)
    criterion = StochasticLoss(
        loss, scheme.sampler(loss, target), scheme.k, reweight=scheme.reweight, generator=seed
    )
    optimizer = scheme.optimizer([x], criterion, lr=lr)
    steps = round(price / (scheme.evaluations * (0.75 + 0.25 * scheme.k)))
    curve = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = criterion(x, target)
        value.backward()
        return value

    for step in range(steps):
        if step % max(1, steps // 20) == 0:
            curve.append([price * step / steps, float(loss(x.detach(), target) - best) / excess])
        optimizer.step(closure)
        if not bool(torch.isfinite(x).all()):
            break
    last = float(loss(x.detach(), target) - best) / excess
    curve.append([price, last])
    return {"steps": steps, "curve": curve, "validation": [last], "test": [last]}
