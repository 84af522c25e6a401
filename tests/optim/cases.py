"""Small problems that path-wise optimizers are tested on."""

import torch

from multipath import PathDecomposedLoss, StochasticLoss
from multipath.optim import PSAGA, PAdam
from multipath.samplers.base import Sampler
from multipath.testing import QuadraticLoss

LR = 0.01


def gradient(loss, w, target, p):
    """That of QuadraticLoss by hand, where the input is the same for the whole batch."""
    goals = target.double().mean(dim=0) + p / len(loss.paths)
    return [2 * (p + 1) * (w_i - goal) for w_i, goal in zip(w, goals.tolist(), strict=True)]


class Given(PathDecomposedLoss):
    """L_p = sum_d input_d target_d: the target is the gradient, whatever the path."""

    def path_losses(self, input, target, indices):
        return (input * target).sum(dim=-1).expand(len(indices), -1)


class Scripted(Sampler):
    """Plays a list of paths."""

    def __init__(self, script, probabilities=None):
        self.script, self.given = iter(script), probabilities

    @property
    def probabilities(self):
        given = self.given or [1 / self.n_paths] * self.n_paths
        return torch.tensor(given, dtype=torch.float64)

    def draw(self, n_draws, generator):
        indices = torch.tensor([next(self.script) for _ in range(n_draws)])
        return indices, self.probabilities[indices]


class Model(torch.nn.Module):
    """Two parameters of different shape that make one vector of five weights."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        start = torch.linspace(-1, 1, 5, dtype=dtype)
        self.bias = torch.nn.Parameter(start[:2].clone())
        self.matrix = torch.nn.Parameter(start[2:].clone().reshape(3, 1))

    def forward(self, batch=1):
        return torch.cat([self.bias, self.matrix.flatten()]).expand(batch, -1)


def targets(seed, steps, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, 3, 5, generator=generator, dtype=torch.float64).to(dtype)


def train(optimizer, criterion, model, batches, factor=1.0):
    """The weights after every step."""
    trajectory = []
    for target in batches:
        optimizer.zero_grad()
        (factor * criterion(model(len(target)), target)).backward()
        optimizer.step()
        trajectory.append(model()[0].detach().clone())
    return torch.stack(trajectory)


ZERO = torch.zeros(1, 2, dtype=torch.float64)


def make(kind=PSAGA, n_paths=4, sampler=None, start=1.0, loss=None, **options):
    criterion = StochasticLoss(loss or QuadraticLoss(n_paths), sampler, generator=0)
    x = torch.nn.Parameter(torch.full_like(ZERO, start))
    return criterion, x, kind([x], criterion, **{"lr": 0.01, **options})


def visit(run, path=None):
    """One step, at a path drawn or given; its update of x, undivided by the rate."""
    criterion, x, optimizer = run
    if path is not None:
        criterion._pending = criterion.make_draw([path])
    before = x.detach().clone()
    optimizer.zero_grad()
    criterion(x, ZERO).backward()
    optimizer.step()
    return (before - x.detach()) / optimizer.param_groups[0]["lr"]


OPTIMIZERS = {
    "PAdam": (PAdam, {}),
    "PAdam, bfloat16": (PAdam, {"state_dtype": torch.bfloat16}),
    "PSAGA": (PSAGA, {}),
    "PSAGA, damped, visits": (PSAGA, {"alpha": 0.5, "clock": "visits"}),
    "PSAGA, bfloat16": (PSAGA, {"state_dtype": torch.bfloat16}),
    "PSAGA on gradients": (PSAGA, {"adaptive": False}),
    "PSAGA on gradients, bfloat16": (PSAGA, {"adaptive": False, "state_dtype": torch.bfloat16}),
}
