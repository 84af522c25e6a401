r"""Losses of waveforms. Signals have shape (batch, channels, T), x the input and y the target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import log

import torch
from torch import Tensor, nn

from multipath._internal.settings import not_negative, positive

from ._parts import check_alike, check_reduction, check_signals, number, reduced

__all__ = ["DCLoss", "ESRLoss", "LogCoshLoss", "SDSDRLoss", "SISDRLoss", "SNRLoss"]


class _WaveformLoss(nn.Module, ABC):
    """Reduces one loss for each signal."""

    def __init__(self, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__()
        number(not_negative, "eps", eps)
        self.eps = eps
        self.reduction = check_reduction(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss.

        Args:
            input: Signals, shape (batch, channels, T).
            target: The same shape, or one that can be broadcast.

        Returns:
            A scalar, or shape (batch, channels) with ``reduction="none"``.

        Raises:
            InputError: If they are no real signals, or have other shapes; also a ``RuntimeError``.
        """
        check_signals(input, "input")
        check_signals(target, "target")
        check_alike(input, target, input, target)
        return reduced(self._losses(input, target), self.reduction)

    @abstractmethod
    def _losses(self, input: Tensor, target: Tensor) -> Tensor:
        """One loss for each signal."""


class ESRLoss(_WaveformLoss):
    r"""Error-to-signal ratio :math:`\sum_t (y_t - x_t)^2 / (\sum_t y_t^2 + \varepsilon)`.

    Args:
        eps: :math:`\varepsilon`, default 1e-8.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over batch and channels.

    Raises:
        ConfigurationError: If there is no such reduction, or :math:`\varepsilon` is negative.

    Example:
        >>> print(f"{ESRLoss()(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)):.3f}")
        1.000

    Source: Wright and Välimäki, Perceptual loss function for neural modelling of audio systems,
    ICASSP 2020.
    """

    def _losses(self, input: Tensor, target: Tensor) -> Tensor:
        error = (target - input).square().sum(dim=-1)
        return error / (target.square().sum(dim=-1) + self.eps)


class DCLoss(_WaveformLoss):
    r"""Squared difference of means over the mean square of the target, plus :math:`\varepsilon`.

    Args:
        eps: :math:`\varepsilon`, default 1e-8.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over batch and channels.

    Raises:
        ConfigurationError: If there is no such reduction, or :math:`\varepsilon` is negative.

    Example:
        >>> print(f"{DCLoss()(torch.zeros(1, 1, 4), torch.ones(1, 1, 4)):.3f}")
        1.000

    Source: Wright and Välimäki, Perceptual loss function for neural modelling of audio systems,
    ICASSP 2020.
    """

    def _losses(self, input: Tensor, target: Tensor) -> Tensor:
        error = (target - input).mean(dim=-1).square()
        return error / (target.square().mean(dim=-1) + self.eps)


class LogCoshLoss(_WaveformLoss):
    r"""Mean over t of :math:`\log(\cosh(a (x_t - y_t)) + \varepsilon) / a`.

    Large differences do not overflow.

    Args:
        a: Smaller is smoother. Default 1.
        eps: :math:`\varepsilon`, default 1e-8.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over batch and channels.

    Raises:
        ConfigurationError: If there is no such reduction, :math:`\varepsilon` is negative, or a
            is not positive.

    Example:
        >>> print(f"{LogCoshLoss()(torch.zeros(1, 1, 4), torch.full((1, 1, 4), 1e4)):.1f}")
        9999.3

    Source: Chen et al., Log hyperbolic cosine loss improves variational auto-encoder, 2019.
    """

    def __init__(self, a: float = 1.0, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__(eps, reduction)
        number(positive, "a", a)
        self.a = a

    def _losses(self, input: Tensor, target: Tensor) -> Tensor:
        steep = self.a * (input - target)
        # log cosh z is nearly z²/2 at 0, where 1 + z²/2 would round it off, and |z| - log 2 far out
        small = steep.clamp(-LINEAR_FROM, LINEAR_FROM)
        curve = torch.log1p(2 * (small / 2).sinh().square() + self.eps)
        return ((curve + steep.abs() - small.abs()) / self.a).mean(dim=-1)


LINEAR_FROM = -log(1e-8)  # where exp(-2 z) is beyond double precision


class SNRLoss(_WaveformLoss):
    r"""Negative signal-to-noise ratio in dB.

    .. math:: -10 \log_{10}\left(\frac{\sum_t y_t^2}{\sum_t (x_t - y_t)^2 + \varepsilon}
        + \varepsilon\right)

    Args:
        zero_mean: Remove the means of input and target first. Default True.
        eps: :math:`\varepsilon`, default 1e-8.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over batch and channels.

    Raises:
        ConfigurationError: If there is no such reduction, or :math:`\varepsilon` is negative.

    Example:
        >>> tone = torch.sin(torch.arange(100.0))[None, None]
        >>> print(f"{SNRLoss()(0.9 * tone, tone):.1f}")
        -20.0
    """

    def __init__(self, zero_mean: bool = True, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__(eps, reduction)
        self.zero_mean = zero_mean

    def _losses(self, input: Tensor, target: Tensor) -> Tensor:
        x, y = (
            signals - signals.mean(dim=-1, keepdim=True) if self.zero_mean else signals
            for signals in (input, target)
        )
        signal, noise = self._parts(x, y)
        ratio = signal.square().sum(dim=-1) / (noise.square().sum(dim=-1) + self.eps)
        return -10 * torch.log10(ratio + self.eps)

    def _parts(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What counts as signal and as noise."""
        return target, input - target

    def _scaled(self, input: Tensor, target: Tensor) -> Tensor:
        """The target at the level that is nearest to the input."""
        energy = target.square().sum(dim=-1, keepdim=True) + self.eps
        return target * ((input * target).sum(dim=-1, keepdim=True) / energy)


class SISDRLoss(SNRLoss):
    r"""Negative scale-invariant signal-to-distortion ratio in dB.

    That is :class:`SNRLoss` with the target multiplied by
    :math:`\sum_t x_t y_t / (\sum_t y_t^2 + \varepsilon)`.

    Args:
        zero_mean: Remove the means of input and target first. Default True.
        eps: :math:`\varepsilon`, default 1e-8.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over batch and channels.

    Raises:
        ConfigurationError: If there is no such reduction, or :math:`\varepsilon` is negative.

    Example:
        >>> tone = torch.sin(torch.arange(100.0))[None, None]
        >>> bool(SISDRLoss()(0.9 * tone, tone) < -60)
        True

    Source: Le Roux et al., SDR - half-baked or well done?, ICASSP 2019.
    """

    def _parts(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        scaled = self._scaled(input, target)
        return scaled, input - scaled


class SDSDRLoss(SNRLoss):
    r"""Negative scale-dependent signal-to-distortion ratio in dB.

    The signal is the scaled target of :class:`SISDRLoss`, the distortion is :math:`x - y`.

    Args:
        zero_mean: Remove the means of input and target first. Default True.
        eps: :math:`\varepsilon`, default 1e-8.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over batch and channels.

    Raises:
        ConfigurationError: If there is no such reduction, or :math:`\varepsilon` is negative.

    Example:
        >>> tone = torch.sin(torch.arange(100.0))[None, None]
        >>> print(f"{SDSDRLoss()(0.9 * tone, tone):.1f}")
        -19.1

    Source: Le Roux et al., SDR - half-baked or well done?, ICASSP 2019.
    """

    def _parts(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return self._scaled(input, target), input - target
