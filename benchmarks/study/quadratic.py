r"""A problem with a known answer: quadratic paths, loud and quiet, that want different things.

.. math:: L_p(x, y) = \tfrac12 s_p \lVert A_p (x - y - o_p) \rVert^2

with sizes :math:`s_p` log-uniform over four decades, so that the mean over paths has an exact
minimum which no path shares. Reported is the excess :math:`(L(x) - L^*) / (L(x_0) - L^*)` after a
given price. k paths cost 0.75 + 0.25 k, as paths of a scattering transform do that share a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

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

from .methods import StormAdamW

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


@dataclass(frozen=True)
class QuadraticScheme:
    """A sampler, a number of draws and an optimizer; ``evaluations`` of each draw a step."""

    name: str
    sampler: Callable[[PathDecomposedLoss, Tensor], Sampler]
    k: int
    optimizer: Callable[[list[nn.Parameter], StochasticLoss, float], Optimizer]
    reweight: bool = True
    evaluations: int = 1


def _linked(kind: Callable[..., Optimizer]) -> Callable[..., Optimizer]:
    def make(parameters: list[nn.Parameter], criterion: StochasticLoss, lr: float) -> Optimizer:
        made = kind(parameters, lr=lr)
        criterion.redraw_after(made)
        return made

    return make


def _energy(loss: PathDecomposedLoss, target: Tensor) -> Sampler:
    return Energy.from_targets(loss, [target])


SAMPLERS: dict[str, Callable[[PathDecomposedLoss, Tensor], Sampler]] = {
    "uniform": lambda loss, target: Uniform(),
    "energy": _energy,
    "adaptive": lambda loss, target: AdaptiveImportance(),
    "reshuffle": lambda loss, target: Reshuffle(),
    "stratified": lambda loss, target: Stratified("rate"),
}

SCHEMES: dict[str, QuadraticScheme] = {
    scheme.name: scheme
    for scheme in [
        *(
            QuadraticScheme(f"{name} {k}, Adam", sampler, k, _linked(Adam))
            for name, sampler in SAMPLERS.items()
            for k in (1, 4, 8, 16)
        ),
        QuadraticScheme("uniform 1, SGD", SAMPLERS["uniform"], 1, _linked(SGD)),
        QuadraticScheme("energy 8, SGD", _energy, 8, _linked(SGD)),
        QuadraticScheme(
            "uniform 1, P-Adam", SAMPLERS["uniform"], 1,
            lambda p, criterion, lr: PAdam(p, criterion, lr=lr), reweight=False,
        ),
        QuadraticScheme(
            "uniform 1, P-SAGA", SAMPLERS["uniform"], 1,
            lambda p, criterion, lr: PSAGA(p, criterion, lr=lr), reweight=False,
        ),
        QuadraticScheme(
            "uniform 1, SAGA", SAMPLERS["uniform"], 1,
            lambda p, criterion, lr: PSAGA(p, criterion, lr=lr, adaptive=False),
        ),
        QuadraticScheme(
            "energy 1, SAGA", _energy, 1,
            lambda p, criterion, lr: PSAGA(p, criterion, lr=lr, adaptive=False),
        ),
        QuadraticScheme(
            "energy 4, STORM", _energy, 4,
            lambda p, criterion, lr: StormAdamW(p, lr, criterion=criterion, weight_decay=0.0),
            evaluations=2,
        ),
    ]
}  # fmt: skip


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
    optimizer = scheme.optimizer([x], criterion, lr)
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
    return {"scheme": scheme.name, "lr": lr, "seed": seed, "steps": steps, "curve": curve,
            "validation": [last], "test": [last], "milliseconds": None}  # fmt: skip
