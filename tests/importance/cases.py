"""Small problems that theta-importance is tested on: losses, encoders and decoders."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from multipath import PathDecomposedLoss, TransformLoss
from multipath.testing import QuadraticLoss
from multipath.transforms import JTFS, MultiResolutionSTFT

DTYPE = torch.float64
N = 64


def seeded(build):
    """What a function builds with the global generator seeded; it is left as it was."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return build()


def mlp(n_parameters, inputs=N):
    return seeded(
        lambda: nn.Sequential(
            nn.Linear(inputs, 3), nn.Tanh(), nn.Linear(3, n_parameters), nn.Sigmoid()
        ).to(DTYPE)
    )


def linear(n_parameters):
    return seeded(lambda: nn.Linear(N, n_parameters).to(DTYPE))


class ConvEncoder(nn.Module):
    """Convolution, layer norm, PReLU, then a head for each parameter."""

    def __init__(self, n_parameters):
        super().__init__()
        self.convolution = nn.Conv1d(1, 3, 5, stride=4)
        self.norm = nn.LayerNorm(15, elementwise_affine=False)
        self.activation = nn.PReLU()
        self.heads = nn.ModuleList(nn.Linear(3, 1) for _ in range(n_parameters))

    def forward(self, x):
        hidden = self.activation(self.norm(self.convolution(x[:, None]))).square().mean(dim=2)
        return torch.sigmoid(torch.cat([head(hidden) for head in self.heads], dim=1))


class SharedEncoder(nn.Module):
    """One square matrix that is used three times."""

    def __init__(self, n_parameters):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, n_parameters)
        self.again = self.first

    def forward(self, x):
        hidden = x[:, :4]
        for layer in (self.first, self.again, self.first):
            hidden = torch.tanh(layer(hidden))
        return self.second(hidden).sigmoid()


ENCODERS = {
    "mlp": mlp,
    "convolutions": lambda n: seeded(lambda: ConvEncoder(n).to(DTYPE)),
    "linear": linear,
    "shared": lambda n: seeded(lambda: SharedEncoder(n).to(DTYPE)),
}


def chirp(theta, shift=None):
    """A windowed tone: frequency, and in (batch, U > 1) loudness and length."""
    t = torch.arange(N, dtype=theta.dtype)
    if shift is not None:
        t = t - shift[:, None]
    theta = torch.cat([theta, theta.new_full((len(theta), 3), 0.5)], dim=1)
    frequency, loudness, length = theta[:, 0:1], theta[:, 1:2], theta[:, 2:3]
    window = torch.exp(-(((t - N / 2) / (4 + 10 * length)) ** 2))
    return (0.5 + loudness) * window * torch.sin((0.3 + frequency) * t)


class CubicLoss(torch.autograd.Function):
    """torch.func cannot see through a function without setup_context."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


class OpaqueLoss(PathDecomposedLoss):
    def path_losses(self, input, target, indices):
        difference = CubicLoss.apply(input - target)
        return torch.stack([(difference * (p + 1)).sin().sum(dim=1) for p in indices])


def spectral(**options):
    transform = MultiResolutionSTFT([8, 16, 32], [4, 8, 16], [8, 16, 32])
    return TransformLoss(transform, **options)


def jtfs(**options):
    transform = JTFS(n_samples=N, J=3, Q=(1, 1), J_fr=1, Q_fr=1, T=8, F=2)
    return TransformLoss(transform, **options)


LOSSES = {
    "quadratic": lambda: QuadraticLoss(3),
    "quadratic, sum": lambda: QuadraticLoss(3, reduction="sum"),
    "spectral": spectral,
    "spectral, l2, log": lambda: spectral(distance="l2", rho="log1p", eps=0.1),
    "jtfs": jtfs,
    "grouped": lambda: spectral().grouped([[0, 2], [1]]),
    "opaque": lambda: OpaqueLoss(2),
}


@dataclass
class Problem:
    loss: Any
    encoder: Any
    decoder: Any
    batches: list

    def with_(self, **changes):
        return Problem(**{**vars(self), **changes})

    @property
    def arguments(self):
        return self.loss, self.encoder, self.decoder, self.batches


def problem(loss="quadratic", encoder="mlp", n_parameters=2, sizes=(2,)):
    generator = torch.Generator().manual_seed(3)

    def batch(size):
        truth = torch.rand(size, n_parameters, generator=generator, dtype=DTYPE)
        shift = torch.randint(-4, 5, (size,), generator=generator)
        sound = chirp(truth, shift)
        noise = torch.randn(sound.shape, generator=generator, dtype=DTYPE)
        return sound + 0.1 * noise, sound, -shift

    built = ENCODERS[encoder](n_parameters)
    return Problem(LOSSES[loss](), built, chirp, [batch(size) for size in sizes])


def gradients(made, batch):
    """Norms of the gradients of each path along each parameter, path by path."""
    inputs, target, *context = batch
    theta = made.encoder(inputs).detach().requires_grad_()
    rows = []
    for p in range(len(made.loss.paths)):
        value = made.loss.path_losses(made.decoder(theta, *context), target, [p]).mean()
        rows.append(torch.autograd.grad(value, theta)[0].square().sum(dim=0).sqrt())
    return torch.stack(rows, dim=1)


class Interrupted:
    """A function that is interrupted after some calls."""

    def __init__(self, function, after=10**9):
        self.function, self.after, self.calls = function, after, 0

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls > self.after:
            raise KeyboardInterrupt
        return self.function(*arguments)


def same(a, b):
    return torch.equal(a.curvature, b.curvature) and torch.equal(a.residuals, b.residuals)
