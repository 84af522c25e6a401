"""Conformance tests of everything that multipath ships, for ``multipath check NAME``.

Each class is one small case; the project's own test suite goes through many more settings.
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
    """Conformance of :class:`~multipath.TransformLoss`."""

    def make_loss(self) -> PathDecomposedLoss:
        """Compare spectrograms at two resolutions by their L2 distance."""
        return TransformLoss(MultiResolutionSTFT([32, 64], [8, 16], [24, 64]), distance="l2")

    def make_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noise of 256 samples."""
        x, y = torch.randn(2, 3, 256, generator=generator)
        return x, y


class MultiResolutionSTFTTests(TransformLossTests):
    """Conformance of :class:`~multipath.transforms.MultiResolutionSTFT`."""

    def make_loss(self) -> PathDecomposedLoss:
        """Compare spectrograms at two resolutions."""
        return TransformLoss(MultiResolutionSTFT([32, 64], [8, 16], [24, 64]))


class JTFSTests(TransformLossTests):
    """Conformance of :class:`~multipath.transforms.JTFS`."""

    def make_loss(self) -> PathDecomposedLoss:
        """Compare the coefficients of a small JTFS."""
        return TransformLoss(JTFS(256, J=5, Q=(2, 1), J_fr=2, Q_fr=1, T=64, F=4))


class Scattering1DTests(TransformLossTests):
    """Conformance of :class:`~multipath.transforms.Scattering1D`."""

    def make_loss(self) -> PathDecomposedLoss:
        """Compare the coefficients of both orders."""
        return TransformLoss(Scattering1D(256, J=5, Q=(2, 1), T=64))


class Scattering2DTests(LossTests):
    """Conformance of :class:`~multipath.transforms.Scattering2D`."""

    def make_loss(self) -> PathDecomposedLoss:
        """Compare the coefficients of small images."""
        return TransformLoss(Scattering2D((16, 16), J=2, L=2))

    def make_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noise of 16 by 16 pixels."""
        x, y = torch.randn(2, 3, 16, 16, generator=generator)
        return x, y


class WaveletTransformTests(TransformLossTests):
    """Conformance of :class:`~multipath.transforms.WaveletTransform`."""

    def make_loss(self) -> PathDecomposedLoss:
        """Compare the subbands of two levels."""
        return TransformLoss(WaveletTransform("db2", level=2))


class WaveletPacketTests(TransformLossTests):
    """Conformance of :class:`~multipath.transforms.WaveletPacket`."""

    def make_loss(self) -> PathDecomposedLoss:
        """Compare the four leaves of two levels."""
        return TransformLoss(WaveletPacket("db2", level=2))


class BalancedLossTests(TransformLossTests):
    """Conformance of :class:`~multipath.BalancedLoss`."""

    def make_loss(self) -> PathDecomposedLoss:
        """Balance paths whose scales are a hundred times apart."""
        return BalancedLoss(QuadraticLoss(3), [1.0, 10.0, 0.1], power=0.5)


class TermLossTests(TransformLossTests):
    """Conformance of :class:`~multipath.TermLoss`."""

    n_paths = 2

    def make_loss(self) -> PathDecomposedLoss:
        """Combine two distances of unequal cost."""
        terms = {"l2": nn.PairwiseDistance(), "l4": nn.PairwiseDistance(p=4.0)}
        return TermLoss(terms, costs=[1.0, 2.0])


class FeatureLayersTests(TransformLossTests):
    """Conformance of :class:`~multipath.FeatureLayers`."""

    n_paths = 3

    def make_loss(self) -> PathDecomposedLoss:
        """Compare three layers of a small convolutional network."""
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


class UniformTests(SamplerTests):
    """Conformance of :class:`~multipath.samplers.Uniform`."""

    distinct = True

    def make_sampler(self, n_paths: int) -> Sampler:
        """Draw without replacement."""
        return Uniform(replacement=False)


class ImportanceTests(SamplerTests):
    """Conformance of :class:`~multipath.samplers.Importance`."""

    def make_sampler(self, n_paths: int) -> Sampler:
        """Draw with rising probabilities."""
        return Importance(rising(n_paths))


class ReshuffleTests(SamplerTests):
    """Conformance of :class:`~multipath.samplers.Reshuffle`."""

    distinct = True

    def make_sampler(self, n_paths: int) -> Sampler:
        """Go through all paths, epoch after epoch."""
        return Reshuffle()


class StratifiedTests(SamplerTests):
    """Conformance of :class:`~multipath.samplers.Stratified`."""

    def make_sampler(self, n_paths: int) -> Sampler:
        """Draw from two strata, or from one if there is one path."""
        return Stratified([path % 2 for path in range(n_paths)])


class EnergyTests(SamplerTests):
    """Conformance of :class:`~multipath.samplers.Energy`."""

    def make_sampler(self, n_paths: int) -> Sampler:
        """Learn from the targets."""
        return Energy.running(decay=0.5)


class AdaptiveImportanceTests(SamplerTests):
    """Conformance of :class:`~multipath.samplers.AdaptiveImportance`."""

    def make_sampler(self, n_paths: int) -> Sampler:
        """Learn from the gradients."""
        return AdaptiveImportance(decay=0.5)


class MixtureTests(SamplerTests):
    """Conformance of :class:`~multipath.samplers.Mixture`."""

    def make_sampler(self, n_paths: int) -> Sampler:
        """Mix uniform and rising probabilities."""
        return Mixture([Uniform(), Importance(rising(n_paths))], weights=[0.3, 0.7])


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
