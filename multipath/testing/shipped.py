"""Conformance tests of everything that multipath ships, for ``multipath check NAME``.

Each class is one small case; the project's own test suite goes through many more settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from multipath.losses import PathDecomposedLoss
from multipath.losses.balanced import BalancedLoss
from multipath.losses.base import Indices
from multipath.losses.combined import CombinedLoss
from multipath.losses.feature_layers import FeatureLayers
from multipath.losses.sliced_wasserstein import SlicedWasserstein
from multipath.losses.spectral import SpectralLoss
from multipath.losses.statistics import StatisticsLoss
from multipath.losses.terms import TermLoss
from multipath.losses.transform import TransformLoss
from multipath.optim import PSAGA, PAdam
from multipath.samplers import (
    AdaptiveImportance,
    Energy,
    Importance,
    Mixture,
    Reshuffle,
    Sampler,
    Stratified,
    Uniform,
)
from multipath.stochastic import StochasticLoss
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    Tiled,
    WaveletPacket,
    WaveletTransform,
)

from .losses import LossTests
from .optimizers import OptimizerTests
from .quadratic import QuadraticLoss
from .samplers import SamplerTests


def loss_tests(
    make: Callable[[], PathDecomposedLoss], *shape: int, n_paths: int | None = None
) -> type[LossTests]:
    """Tests of the loss that a function makes, on three items of noise of some shape."""

    class Tests(LossTests):
        def make_loss(self) -> PathDecomposedLoss:
            return make()

        def make_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            x, y = torch.randn(2, 3, *shape, generator=generator)
            return x, y

    Tests.n_paths = n_paths
    return Tests


def sampler_tests(make: Callable[[int], Sampler], distinct: bool = False) -> type[SamplerTests]:
    """Tests of the sampler that a function makes for a number of paths."""

    class Tests(SamplerTests):
        def make_sampler(self, n_paths: int) -> Sampler:
            return make(n_paths)

    Tests.distinct = distinct
    return Tests


def stft() -> MultiResolutionSTFT:
    """Spectrograms at two resolutions."""
    return MultiResolutionSTFT([32, 64], [8, 16], [24, 64])


def combined() -> CombinedLoss:
    """Two distances in different units."""
    transform = stft()
    losses = {
        "plain": TransformLoss(transform),
        "compressed": TransformLoss(transform, rho="log1p", eps=0.1, distance="l2"),
    }
    shares, sizes = {"plain": 0.7, "compressed": 0.3}, {"plain": 50.0, "compressed": 9.0}
    return CombinedLoss(losses, shares, sizes)


def terms() -> TermLoss:
    """Two distances of unequal cost."""
    distances = {"l2": nn.PairwiseDistance(), "l4": nn.PairwiseDistance(p=4.0)}
    return TermLoss(distances, costs=[1.0, 2.0])


class Untargeted(PathDecomposedLoss):
    """A loss that takes no target, for tests which give one."""

    def __init__(self, loss: PathDecomposedLoss) -> None:
        super().__init__(loss.paths)
        self.loss = loss

    def path_losses(self, input: Tensor, target: Tensor, indices: Indices) -> Tensor:
        """The losses of the input."""
        return self.loss.path_losses(input, None, indices)  # type: ignore[arg-type]


def statistics() -> PathDecomposedLoss:
    """Means of spectrograms over time, and over everything."""
    means = [torch.linspace(0.5, 1.0, 17)[:, None], 0.7]
    return Untargeted(StatisticsLoss(stft(), means, [0.3, 0.2]))


def feature_layers() -> FeatureLayers:
    """Three layers of a small convolutional network."""
    first = nn.Conv1d(1, 4, 9, stride=2, bias=False)
    second = nn.Conv1d(4, 6, 9, stride=2, bias=False)
    generator = torch.Generator().manual_seed(0)
    for convolution in (first, second):
        nn.init.normal_(convolution.weight, std=0.3, generator=generator)
    return FeatureLayers(nn.Sequential(first, nn.Softplus(), second), ["0", "1", "2"])


TransformLossTests = loss_tests(lambda: TransformLoss(stft(), distance="l2"), 256)
MultiResolutionSTFTTests = loss_tests(lambda: TransformLoss(stft()), 256)
JTFSTests = loss_tests(
    lambda: TransformLoss(JTFS(256, J=5, Q=(2, 1), J_fr=2, Q_fr=1, T=64, F=4)), 256
)
Scattering1DTests = loss_tests(lambda: TransformLoss(Scattering1D(256, J=5, Q=(2, 1), T=64)), 256)
Scattering2DTests = loss_tests(lambda: TransformLoss(Scattering2D((16, 16), J=2, L=2)), 16, 16)
TiledTests = loss_tests(lambda: TransformLoss(Tiled(Scattering1D(128, J=2, Q=(2, 1), T=4))), 512)
WaveletTransformTests = loss_tests(lambda: TransformLoss(WaveletTransform("db2", level=2)), 256)
WaveletPacketTests = loss_tests(lambda: TransformLoss(WaveletPacket("db2", level=2)), 256)
BalancedLossTests = loss_tests(  # scales a hundred times apart
    lambda: BalancedLoss(QuadraticLoss(3), [1.0, 10.0, 0.1], power=0.5), 256
)
CombinedLossTests = loss_tests(combined, 256, n_paths=4)
StatisticsLossTests = loss_tests(statistics, 256, n_paths=2)
TermLossTests = loss_tests(terms, 256, n_paths=2)
SpectralLossTests = loss_tests(
    lambda: SpectralLoss(stft(), ["convergence", "log_l1", "linear_l2", "phase"], floor=0.1),
    256,
    n_paths=8,
)
FeatureLayersTests = loss_tests(feature_layers, 1, 256, n_paths=3)


class SlicedWassersteinTests(LossTests):
    """Conformance of :class:`~multipath.SlicedWasserstein`."""

    n_paths = 9

    def make_loss(self) -> PathDecomposedLoss:
        """Project point clouds of two dimensions."""
        return SlicedWasserstein(2, self.n_paths)

    def make_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clouds of seven and of five points."""
        x, y = torch.randn(2, 3, 7, 2, generator=generator)
        return x, y[:, :5]


def rising(n_paths: int) -> Tensor:
    """Probabilities that grow with the index."""
    numbers = torch.arange(1, n_paths + 1, dtype=torch.float64)
    return numbers / numbers.sum()


UniformTests = sampler_tests(lambda n_paths: Uniform(replacement=False), distinct=True)
ImportanceTests = sampler_tests(lambda n_paths: Importance(rising(n_paths)))
ReshuffleTests = sampler_tests(lambda n_paths: Reshuffle(), distinct=True)
StratifiedTests = sampler_tests(lambda n_paths: Stratified([p % 2 for p in range(n_paths)]))
EnergyTests = sampler_tests(lambda n_paths: Energy.running(decay=0.5))
AdaptiveImportanceTests = sampler_tests(lambda n_paths: AdaptiveImportance(decay=0.5))
MixtureTests = sampler_tests(
    lambda n_paths: Mixture([Uniform(), Importance(rising(n_paths))], weights=[0.3, 0.7])
)


class PAdamTests(OptimizerTests):
    """Conformance of :class:`~multipath.optim.PAdam`."""

    kind: type[PAdam] | type[PSAGA] = PAdam

    def make_optimizer(
        self, params: Iterable[Any], criterion: StochasticLoss, **options: Any
    ) -> torch.optim.Optimizer:
        """Make the optimizer of the class, with the options given."""
        return self.kind(params, criterion, **options)

    def reference_optimizer(self, params: Iterable[Any], lr: float) -> torch.optim.Optimizer:
        """Adam, which P-Adam is if there is one path."""
        return torch.optim.Adam(params, lr=lr, eps=0.0)


class PSAGATests(PAdamTests):
    """Conformance of :class:`~multipath.optim.PSAGA`."""

    kind = PSAGA
