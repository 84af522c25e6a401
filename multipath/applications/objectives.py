"""What a sound matching run minimises, and with which optimizer, by name of the loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from .. import PathDecomposedLoss, StochasticLoss, TransformLoss
from ..optim import PSAGA
from ..samplers import Uniform
from ..transforms import JTFS, MultiResolutionSTFT
from .presets import MatchConfig

SUPERVISED = "ploss"
"""The one loss that compares parameters and not sounds."""


def build_criterion(config: MatchConfig, target_sounds: Iterable[Tensor]) -> nn.Module:
    """The loss of a run: called with what the model made and what it should have made.

    Args:
        config: Names the loss and its settings.
        target_sounds: Batches of training targets, on which ``kpaths`` measures how loud each
            path is; untouched by the other losses.
    """
    match config.loss:
        case "ploss":
            return nn.L1Loss()
        case "mss":
            return spectral_loss(config)
        case "jtfs":
            return scattering_loss(config)
        case "kpaths":
            return StochasticLoss.for_training(
                scattering_loss(config),
                target_sounds,
                n_draws=config.n_draws,
                floor=config.energy_floor,
                generator=config.seed,
            )
        case _:
            return StochasticLoss(scattering_loss(config), Uniform(), generator=config.seed)


def build_optimizer(
    config: MatchConfig, weights: Iterable[nn.Parameter], criterion: nn.Module
) -> Optimizer:
    """The optimizer of a run, linked to its criterion if that is stochastic."""
    learning_rate, decay = config.learning_rate, config.weight_decay
    if isinstance(criterion, StochasticLoss) and config.loss == "scrapl":
        return PSAGA(weights, paths=criterion, lr=learning_rate, weight_decay=decay)
    optimizer = AdamW(weights, lr=learning_rate, weight_decay=decay)
    if isinstance(criterion, StochasticLoss):
        criterion.link(optimizer)
    return optimizer


def scattering_loss(config: MatchConfig) -> PathDecomposedLoss:
    """The full JTFS loss, squared L2 as in equation 3 of the paper."""
    transform = JTFS(
        n_samples=config.n_samples, sample_rate=config.sample_rate, **asdict(config.jtfs)
    )
    return TransformLoss(transform)


def spectral_loss(config: MatchConfig) -> PathDecomposedLoss:
    """Multi-scale spectral loss: mean L1 between magnitudes plus mean L1 between their logarithms.

    One path a scale, hops of a quarter window.
    """
    transform = MultiResolutionSTFT(
        fft_sizes=config.fft_sizes,
        hop_sizes=[size // 4 for size in config.fft_sizes],
        win_lengths=config.fft_sizes,
    )
    return TransformLoss(transform, rho=linear_and_log, distance=mean_absolute)


def linear_and_log(magnitude: Tensor, floor: float = 1e-4) -> Tensor:
    """Magnitudes beside their logarithms; the floor keeps silence finite.

    Example:
        >>> linear_and_log(torch.tensor([1.0, 0.0])).round(decimals=2)
        tensor([ 1.0000,  0.0000,  0.0000, -9.2100])
    """
    return torch.cat([magnitude, torch.log(magnitude + floor)], dim=-1)


def mean_absolute(difference: Tensor) -> Tensor:
    """Mean absolute value of each item, whatever the size of its scale."""
    return difference.flatten(1).abs().mean(dim=1)
