"""The encoder: a small convolutional network from a sound's features to synthesizer parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from multipath._internal.settings import choice
from multipath.errors import ConfigurationError, InputError

PRELU_SLOPE = 0.25
"""Slope of a PReLU for negative inputs, before training."""


class ConvBlock(nn.Module):
    """Layer norm (without affine) over each channel's plane, 3x3 convolution, max pool, PReLU."""

    def __init__(self, inputs: int, outputs: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.pool = pool
        self.convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        self.activation = nn.PReLU()

    def forward(self, planes: Tensor) -> Tensor:
        """Shrinks both sides of (batch, inputs, bins, frames) by the pool's."""
        planes = self.convolution(functional.layer_norm(planes, planes.shape[-2:]))
        activated: Tensor = self.activation(functional.max_pool2d(planes, self.pool))
        return activated


class Encoder(nn.Module):
    """Estimates parameters in (0, 1) from time-frequency features.

    Convolution blocks, the mean over what remains of the plane, a dense layer, then one head for
    each parameter: dense, PReLU, dropout, dense, sigmoid.

    Args:
        n_parameters: Number U of synthesizer parameters.
        channels: Output channels of each block.
        embedding: Width of the dense layer; the heads use half of it.
        dropout: Probability that a unit is dropped in training.
        initialization: ``"torch"`` for the layers' defaults, as published, or ``"he"`` (He et al.,
            2015, for PReLU), which leaves the plateau at the start of training much sooner.
        pools: By how much each block shrinks bins and frames. Default: both are halved.

    Raises:
        ConfigurationError: If an argument is out of range.

    Example:
        >>> encoder = Encoder(n_parameters=2)  # the paper's size
        >>> sum(weight.numel() for weight in encoder.parameters())
        604106
        >>> encoder(torch.zeros(3, 60, 129)).shape
        torch.Size([3, 2])

    Source: SCRAPL (Mitcheltree et al., ICLR 2026), encoder.
    """

    def __init__(
        self,
        n_parameters: int,
        *,
        channels: Sequence[int] = (128, 128, 128, 128, 128),
        embedding: int = 64,
        dropout: float = 0.5,
        initialization: str = "torch",
        pools: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__()
        if min(n_parameters, embedding - 1, *channels, len(channels)) < 1:
            raise ConfigurationError(
                "an encoder needs at least one parameter, one channel in each block and an "
                f"embedding of 2 or more, got {n_parameters}, {tuple(channels)} and {embedding}"
            )
        if not 0.0 <= dropout < 1.0:
            raise ConfigurationError(f"dropout must lie in [0, 1), got {dropout}")
        choice("initialization", initialization, "torch", "he")
        pools = [(2, 2)] * len(channels) if pools is None else list(pools)
        if len(pools) != len(channels) or min(map(min, pools)) < 1:
            raise ConfigurationError(
                f"pools must be pairs of positive numbers, one for each of the {len(channels)} "
                f"blocks, got {pools}"
            )
        self.smallest = tuple(math.prod(sides) for sides in zip(*pools, strict=True))
        self.blocks = nn.Sequential(
            *map(ConvBlock, (1, *channels[:-1]), channels, pools),
        )
        self.dense = nn.Sequential(
            nn.Linear(channels[-1], embedding), nn.PReLU(), nn.Dropout(dropout)
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(embedding, embedding // 2),
                nn.PReLU(),
                nn.Dropout(dropout),
                nn.Linear(embedding // 2, 1),
                nn.Sigmoid(),
            )
            for _ in range(n_parameters)
        )
        if initialization == "he":
            self._initialize()

    def _initialize(self) -> None:
        """He et al. for every layer that a PReLU follows; the last ones stay small."""
        for layer in self.modules():
            last = isinstance(layer, nn.Linear) and layer.out_features == 1
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None and not last:
                nn.init.kaiming_normal_(layer.weight, a=PRELU_SLOPE)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, bins, frames) to parameters (batch, n_parameters).

        Raises:
            InputError: If the features are too small to be shrunk by every block.
        """
        bins, frames = self.smallest
        if features.ndim != 3 or features.shape[1] < bins or features.shape[2] < frames:
            raise InputError(
                f"features must have shape (batch, bins, frames) with at least {bins} bins and "
                f"{frames} frames, got {tuple(features.shape)}; use more octaves, a shorter hop "
                "or fewer blocks"
            )
        embedded = self.dense(self.blocks(features[:, None]).mean(dim=(2, 3)))
        return torch.cat([head(embedded) for head in self.heads], dim=1)
