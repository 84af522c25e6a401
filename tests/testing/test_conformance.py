"""Everything that multipath ships passes the tests that it ships, in tables: a plug-in, a row."""

import pytest
import torch
from torch import nn

from multipath import (
    BalancedLoss,
    CombinedLoss,
    FeatureLayers,
    SlicedWasserstein,
    SpectralLoss,
    StatisticsLoss,
    TermLoss,
    TransformLoss,
)
from multipath.optim import PSAGA, PAdam
from multipath.testing import LossTests, OptimizerTests, QuadraticLoss, SamplerTests
from multipath.testing.shipped import Untargeted
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    Tiled,
    WaveletPacket,
    WaveletTransform,
)
from tests.reference.algorithm1 import Algorithm1
from tests.samplers.cases import CASES, season

N = 256
IMAGE = (8, 9)


pytestmark = pytest.mark.slow  # all that ships, by every test


def jtfs():
    return JTFS(N, J=5, Q=(2, 1), J_fr=2, Q_fr=1, T=64, F=4)


def stft():
    return MultiResolutionSTFT([32, 64], [8, 16], [24, 64])


def network():
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv1d(4, 6, 5, stride=2), nn.BatchNorm1d(6))
    return nn.Sequential(nn.Conv1d(1, 4, 9, stride=2), nn.CELU(inplace=True), inner)


def slope(input, target):
    return (input - target).diff(dim=1).square().mean(dim=1)


def combined(transform, **options):
    losses = {
        "plain": TransformLoss(transform, **options),
        "compressed": TransformLoss(transform, rho="log1p", eps=0.1, **options),
    }
    shares, sizes = {"plain": 0.7, "compressed": 0.3}, {"plain": 5.0, "compressed": 90.0}
    return CombinedLoss(losses, shares, sizes)


LOSSES = {
    "quadratic": lambda: QuadraticLoss(5),
    "quadratic, weighted": lambda: QuadraticLoss(3, weights=[0.5, 0.0, 2.0]),
    "quadratic, one path": lambda: QuadraticLoss(1),
    "quadratic, grouped": lambda: QuadraticLoss(5).grouped([[3, 0], [1, 2, 4]]),
    "subset of a quadratic": lambda: QuadraticLoss(8, weights=range(8)).subset([5, 1, 3, 2]),
    "jtfs": lambda: TransformLoss(jtfs()),
    "jtfs, log1p, l2": lambda: TransformLoss(jtfs(), rho="log1p", distance="l2"),
    "jtfs, relative": lambda: TransformLoss(jtfs(), normalize="target"),
    "jtfs by rate": lambda: TransformLoss(jtfs()).grouped("rate"),
    "scattering": lambda: TransformLoss(Scattering1D(N, J=5, Q=(2, 1), T=64)),
    "jtfs, lower orders, means": lambda: TransformLoss(
        JTFS(N, 5, (1, 1), 2, 1, T="global", F="global", orders=(0, 1, 2))
    ),
    "tiled scattering": lambda: TransformLoss(Tiled(Scattering1D(N // 2, J=2, Q=(2, 1), T=4))),
    "stft": lambda: TransformLoss(stft()),
    "stft, l1": lambda: TransformLoss(stft(), distance="l1"),
    "stft, relative, l1": lambda: TransformLoss(stft(), distance="l1", normalize="target"),
    "jtfs, combined": lambda: combined(jtfs()),
    "stft, combined, relative, l1": lambda: combined(stft(), distance="l1", normalize="target"),
    "wavelet, combined, by path": lambda: combined(WaveletTransform("db2", 3)).grouped("path"),
    "wavelet": lambda: TransformLoss(WaveletTransform("db2", level=3)),
    "wavelet, log1p, l1": lambda: TransformLoss(
        WaveletTransform("bior2.2", level=2, mode="reflect"), rho="log1p", distance="l1"
    ),
    "wavelet, log1p, l2, relative": lambda: TransformLoss(
        WaveletTransform("db2", level=2),
        rho="log1p",
        eps=0.1,
        distance="l2",
        normalize="target",
    ),
    "wavelet packet": lambda: TransformLoss(WaveletPacket("db3", level=2, mode="zero")),
    "wavelets of images": lambda: TransformLoss(WaveletTransform("db2", level=2, signal_ndim=2)),
    "wavelet packet of images": lambda: TransformLoss(WaveletPacket("haar", 2, signal_ndim=2)),
    "scattering of images": lambda: TransformLoss(Scattering2D(IMAGE, J=2, L=2)),
    "balanced": lambda: BalancedLoss(TransformLoss(stft()), [1.0, 9.0], power=1.0),
    "balanced, grouped": lambda: BalancedLoss(
        QuadraticLoss(4), [1.0, 10.0, 0.1, 3.0], power=0.5
    ).grouped([[3, 1], [0, 2]]),
    "sliced": lambda: SlicedWasserstein(2, 9),
    "sliced, unequal": lambda: SlicedWasserstein(2, 9, p=3.0),
    "sliced, masses": lambda: SlicedWasserstein(2, 9, masses=True),
    "sliced, absolute": lambda: SlicedWasserstein(2, 5, p=1.0),
    "layers": lambda: FeatureLayers(network(), ["0", "1", "2.0", "2.1"]),
    "layers, absolute": lambda: FeatureLayers(
        network().eval(), ["2", "0"], normalize=False, distance="absolute", frozen=False
    ),
    "statistics": lambda: Untargeted(
        StatisticsLoss(stft(), [0.5, [[0.5]] * 33], 0.1, rho="log1p", rho_of="means")
    ),
    "spectral": lambda: SpectralLoss(
        MultiResolutionSTFT([32, 64], sample_rate=8000.0, scale="mel", n_bins=[5, 12]),
        {"convergence": 1.0, "log_l1": 2.0, "phase": 0.1},
        floor=0.1,
    ),
    "terms": lambda: TermLoss(
        {"slope": slope, "difference": nn.PairwiseDistance(p=4.0)},
        weights={"difference": 2.0, "slope": 0.5},
        costs=[3.0, 1.0],
    ),
}
CLOUDS = {"sliced": (7, 7, 2), "sliced, unequal": (7, 5, 2), "sliced, masses": (7, 5, 3)}


class TestLosses(LossTests):
    @pytest.fixture(autouse=True, params=LOSSES)
    def row(self, request):
        self.name = request.param
        # without masses a cloud is nothing
        self.differentiable_at_zero = self.name != "sliced, masses"

    def make_loss(self):
        return LOSSES[self.name]()

    def make_batch(self, generator):
        if self.name.startswith("sliced"):
            n, m, columns = CLOUDS.get(self.name, (6, 6, 2))
            x, y = torch.randn(2, 3, max(n, m), columns, generator=generator)
            x[..., 2:], y[..., 2:] = x[..., 2:].abs(), y[..., 2:].abs()
            return x[:, :n], y[:, :m]
        shape = IMAGE if "images" in self.name else (N,)
        signals = torch.randn(2, 3, *shape, generator=generator)
        return signals[:, :, None].unbind() if self.name.startswith("layers") else signals.unbind()

    def reference(self, input, target):
        """Path by path and item by item."""
        if not self.name.startswith("quadratic") or "grouped" in self.name:
            return super().reference(input, target)
        n_paths = len(self.make_loss().paths)
        rows = [
            [
                sum((p + 1) * (a - b - p / n_paths) ** 2 for a, b in zip(x, y, strict=True))
                for x, y in zip(input.tolist(), target.tolist(), strict=True)
            ]
            for p in range(n_paths)
        ]
        return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.slow
class TestSamplers(SamplerTests):
    @pytest.fixture(autouse=True, params=CASES)
    def row(self, request):
        self.case = CASES[request.param]
        self.distinct, self.limited = self.case.distinct, self.case.limited
        self.biased, self.follows_table = self.case.biased, self.case.follows_table

    def make_sampler(self, n_paths):
        return self.case.make(range(n_paths))

    def make_relabelled(self, order):
        return self.case.make(order)

    def season(self, sampler):
        season(sampler)


def adam(params, lr):
    return torch.optim.Adam(params, lr=lr, eps=0.0)


def sgd(params, lr):
    return torch.optim.SGD(params, lr=lr)


OPTIMIZERS = {  # class, switches, what it is with one path
    "PAdam": (PAdam, {}, adam),
    "PAdam, visits": (PAdam, {"clock": "visits"}, adam),
    "PAdam, bfloat16": (PAdam, {"state_dtype": torch.bfloat16}, None),
    "PSAGA": (PSAGA, {}, adam),
    "PSAGA, damped, visits": (PSAGA, {"alpha": 0.5, "clock": "visits"}, None),
    "PSAGA, bfloat16": (PSAGA, {"state_dtype": torch.bfloat16}, None),
    "PSAGA on gradients": (PSAGA, {"adaptive": False}, sgd),
    "PSAGA on gradients, bfloat16": (
        PSAGA, {"adaptive": False, "state_dtype": torch.bfloat16}, None
    ),
    "linked SGD": (torch.optim.SGD, {}, sgd),
    "linked AdamW": (torch.optim.AdamW, {}, torch.optim.AdamW),
    "linked Adam, four draws": (torch.optim.Adam, {}, None),
}  # fmt: skip
ALGORITHM_1 = {
    "PAdam": {"adam": True, "saga": False},
    "PSAGA": {"adam": True, "saga": True},
    "PSAGA on gradients": {"adam": False, "saga": True},
}


class TestOptimizers(OptimizerTests):
    @pytest.fixture(autouse=True, params=OPTIMIZERS)
    def row(self, request):
        self.name = request.param
        self.kind, self.switches, self.alike = OPTIMIZERS[self.name]
        self.pathwise = self.kind in (PAdam, PSAGA)
        self.n_draws = 4 if "four draws" in self.name else 1
        if "bfloat16" in self.name:  # of which rounding depends on the values
            self.tolerance = self.single_tolerance = 0.03

    def make_optimizer(self, params, criterion, **options):
        options = {**self.switches, **options}
        if self.pathwise:
            return self.kind(params, criterion, **options)
        optimizer = self.kind(params, **options)
        criterion.redraw_after(optimizer)
        return optimizer

    def reference_optimizer(self, params, lr):
        return self.alike and self.alike(params, lr=lr)

    def reference_step(self, weights, gradient, draw, memory):
        if self.name == "linked SGD":
            return weights - self.lr * gradient
        if self.name not in ALGORITHM_1:
            return None
        if not memory:
            memory["twin"] = Algorithm1(
                weights.tolist(), self.n_paths, lr=self.lr, **ALGORITHM_1[self.name]
            )
        weight = float(draw.weights[0])
        memory["twin"].step(int(draw.indices[0]), (gradient / weight).tolist(), weight)
        return torch.tensor(memory["twin"].w, dtype=torch.float64)
