"""The conformance tests of what multipath ships, for ``multipath check`` and ``multipath list``.

One small case each; the project's own test suite goes through many more settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from multipath.losses import PathDecomposedLoss
from multipath.losses.balanced import BalancedLoss
from multipath.losses.feature_layers import FeatureLayers
from multipath.losses.sliced_wasserstein import SlicedWasserstein
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
    WaveletPacket,
    WaveletTransform,
)

from .losses import LossTests
from .optimizers import OptimizerTests
from .quadratic import QuadraticLoss
from .samplers import SamplerTests


class TransformLossTests(LossTests):
    """Two resolutions of a spectrogram."""

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        return TransformLoss(MultiResolutionSTFT([32, 64], [8, 16], [24, 64]), distance="l2")

    def make_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noise of 256 samples."""
        x, y = torch.randn(2, 3, 256, generator=generator)
        return x, y


class MultiResolutionSTFTTests(TransformLossTests):
    """Two resolutions."""

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        return TransformLoss(MultiResolutionSTFT([32, 64], [8, 16], [24, 64]))


class JTFSTests(TransformLossTests):
    """A small one."""

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        return TransformLoss(JTFS(256, J=5, Q=(2, 1), J_fr=2, Q_fr=1, T=64, F=4))


class Scattering1DTests(TransformLossTests):
    """Two orders."""

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        return TransformLoss(Scattering1D(256, J=5, Q=(2, 1), T=64))


class Scattering2DTests(LossTests):
    """Small images."""

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        return TransformLoss(Scattering2D((16, 16), J=2, L=2))

    def make_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noise."""
        x, y = torch.randn(2, 3, 16, 16, generator=generator)
        return x, y


class WaveletTransformTests(TransformLossTests):
    """Two levels."""

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        return TransformLoss(WaveletTransform("db2", level=2))


class WaveletPacketTests(TransformLossTests):
    """Four leaves."""

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        return TransformLoss(WaveletPacket("db2", level=2))


class BalancedLossTests(TransformLossTests):
    """Of paths a hundred times apart."""

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        return BalancedLoss(QuadraticLoss(3), [1.0, 10.0, 0.1], power=0.5)


class TermLossTests(TransformLossTests):
    """Two distances."""

    n_paths = 2

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        terms = {"l2": nn.PairwiseDistance(), "l4": nn.PairwiseDistance(p=4.0)}
        return TermLoss(terms, costs=[1.0, 2.0])


class FeatureLayersTests(TransformLossTests):
    """Three layers of a convolutional network."""

    n_paths = 3

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        first = nn.Conv1d(1, 4, 9, stride=2, bias=False)
        second = nn.Conv1d(4, 6, 9, stride=2, bias=False)
        generator = torch.Generator().manual_seed(0)
        for convolution in (first, second):
            nn.init.normal_(convolution.weight, std=0.3, generator=generator)
        return FeatureLayers(nn.Sequential(first, nn.Softplus(), second), ["0", "1", "2"])

    def make_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noise in one channel."""
        x, y = super().make_batch(generator)
        return x[:, None], y[:, None]


class SlicedWassersteinTests(LossTests):
    """Clouds of seven and of five points."""

    n_paths = 9

    def make_loss(self) -> PathDecomposedLoss:
        """See the class."""
        return SlicedWasserstein(2, self.n_paths)

    def make_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See the class."""
        x, y = torch.randn(2, 3, 7, 2, generator=generator)
        return x, y[:, :5]


def rising(n_paths: int) -> Tensor:
    """Probabilities that grow with the index."""
    numbers = torch.arange(1, n_paths + 1, dtype=torch.float64)
    return numbers / numbers.sum()


class UniformTests(SamplerTests):
    """Without replacement."""

    distinct = True

    def make_sampler(self, n_paths: int) -> Sampler:
        """See the class."""
        return Uniform(replacement=False)


class ImportanceTests(SamplerTests):
    """With rising probabilities."""

    def make_sampler(self, n_paths: int) -> Sampler:
        """See the class."""
        return Importance(rising(n_paths))


class ReshuffleTests(SamplerTests):
    """One epoch after the other."""

    distinct = True

    def make_sampler(self, n_paths: int) -> Sampler:
        """See the class."""
        return Reshuffle()


class StratifiedTests(SamplerTests):
    """Two strata, if there are two paths."""

    def make_sampler(self, n_paths: int) -> Sampler:
        """See the class."""
        return Stratified([path % 2 for path in range(n_paths)])


class EnergyTests(SamplerTests):
    """Learned from the targets."""

    def make_sampler(self, n_paths: int) -> Sampler:
        """See the class."""
        return Energy.running(decay=0.5)


class AdaptiveImportanceTests(SamplerTests):
    """Learned from the gradients."""

    def make_sampler(self, n_paths: int) -> Sampler:
        """See the class."""
        return AdaptiveImportance(decay=0.5)


class MixtureTests(SamplerTests):
    """Of uniform and of rising probabilities."""

    def make_sampler(self, n_paths: int) -> Sampler:
        """See the class."""
        return Mixture([Uniform(), Importance(rising(n_paths))], weights=[0.3, 0.7])


class PAdamTests(OptimizerTests):
    """With one path it is Adam."""

    def make_optimizer(
        self, params: Iterable[Any], criterion: StochasticLoss, **options: Any
    ) -> torch.optim.Optimizer:
        """See the class."""
        return PAdam(params, criterion, **options)

    def reference_optimizer(self, params: Iterable[Any], lr: float) -> torch.optim.Optimizer:
        """See the class."""
        return torch.optim.Adam(params, lr=lr, eps=0.0)


class PSAGATests(PAdamTests):
    """With one path it is Adam."""

    def make_optimizer(
        self, params: Iterable[Any], criterion: StochasticLoss, **options: Any
    ) -> torch.optim.Optimizer:
        """See the class."""
        return PSAGA(params, criterion, **options)
