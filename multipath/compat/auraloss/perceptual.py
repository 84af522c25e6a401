"""Filters in front of losses, and sum and difference of two channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multipath._internal.settings import positive, whole
from multipath.errors import ConfigurationError, InputError
from multipath.transforms._filter_banks import A_CORNERS
from multipath.transforms.base import without_autocast

from ._parts import check_signals, number, refusal

__all__ = ["FIRFilter", "SumAndDifference"]


class SumAndDifference(nn.Module):
    """Sum and difference of two channels.

    Raises:
        InputError: If there are not two channels.

    Example:
        >>> SumAndDifference()(torch.tensor([[[1.0, 2.0], [3.0, 5.0]]]))
        (tensor([[[4., 7.]]]), tensor([[[-2., -3.]]]))
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both, of shape (batch, 1, T) each, of signals (batch, 2, T)."""
        if x.ndim < 2 or x.shape[1] != 2:
            raise InputError(f"expected stereo signals (batch, 2, T), got {tuple(x.shape)}")
        return self.sum(x).unsqueeze(1), self.diff(x).unsqueeze(1)

    @staticmethod
    def sum(x: Tensor) -> Tensor:
        """Sum of signals (batch, 2, T), shape (batch, T)."""
        return x[:, 0, :] + x[:, 1, :]

    @staticmethod
    def diff(x: Tensor) -> Tensor:
        """Difference of signals (batch, 2, T), shape (batch, T)."""
        return x[:, 0, :] - x[:, 1, :]


class FIRFilter(nn.Module):
    r"""Filters input and target alike.

    Signals get ``ntaps // 2`` zeros at both ends, whatever the filter. Those of ``"aw"`` so keep
    their length; those of the other two, which have three taps, become ``ntaps - 3`` longer.

    Args:
        filter_type: ``"hp"``, a high pass :math:`x_{t-1} - c\, x_t`; ``"fd"``, a folded
            differentiator :math:`x_{t-1} - c\, x_{t+1}`; or ``"aw"``, A-weighting, fitted by least
            squares to the response of a recursive filter.
        coef: c, of the first two. Default 0.85.
        fs: Sample rate in Hz, of the third. Default 44100.
        ntaps: Number of taps of the third, odd. Default 101.
        plot: Show the response of the third with matplotlib.

    Attributes:
        fir: A convolution that holds the taps as ``fir.weight``; it is not trained.

    Raises:
        ConfigurationError: If there is no such filter, or the number of taps is even.

    Example:
        >>> x = torch.zeros(1, 1, 5)
        >>> x[..., 2] = 1.0
        >>> FIRFilter("fd", coef=0.5, ntaps=3)(x, x)[0]
        tensor([[[ 0.0000, -0.5000,  0.0000,  1.0000,  0.0000]]])

    Source: Wright and Välimäki, Perceptual loss function for neural modelling of audio systems,
    ICASSP 2020.
    """

    def __init__(
        self,
        filter_type: str = "hp",
        coef: float = 0.85,
        fs: float = 44100,
        ntaps: int = 101,
        plot: bool = False,
    ) -> None:
        super().__init__()
        if whole("ntaps", ntaps) % 2 == 0:
            raise ConfigurationError(f"ntaps must be odd, got {ntaps}")
        self.filter_type, self.coef, self.fs = filter_type, coef, fs
        self.ntaps, self.plot = ntaps, plot
        if filter_type not in ("hp", "fd", "aw"):
            message = f'filter_type must be "hp", "fd" or "aw", got {filter_type!r}'
            raise refusal(ConfigurationError, AttributeError, message)
        if filter_type == "aw":
            number(positive, "fs", fs, "Hz")
            taps = _a_weighting(float(fs), ntaps, plot)
        else:
            taps = np.array([1.0, -coef, 0.0] if filter_type == "hp" else [1.0, 0.0, -coef])
        # without initial weights, which would use up random numbers of the model
        self.fir = nn.utils.skip_init(
            nn.Conv1d, 1, 1, kernel_size=len(taps), bias=False, padding=len(taps) // 2
        )
        self.fir.weight = nn.Parameter(
            torch.from_numpy(taps.astype(np.float32)).view(1, 1, -1), requires_grad=False
        )

    def forward(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both filtered, signals of shape (batch, 1, T)."""
        check_signals(input, "input")
        check_signals(target, "target")
        return self._filtered(input), self._filtered(target)

    def _filtered(self, x: Tensor) -> Tensor:
        weight = self.fir.weight.detach().to(x)
        with without_autocast(x.device.type):
            return nn.functional.conv1d(x, weight, padding=self.ntaps // 2)


def _a_weighting(rate: float, n_taps: int, plot: bool) -> NDArray[np.float64]:
    """Taps fitted to the digital version of the analog filter, at 512 frequencies."""
    from scipy import signal  # slow to import

    low, middle, upper, high = (2 * np.pi * corner for corner in A_CORNERS)
    poles: NDArray[Any] = np.ones(1)
    # in this order, rounding errors are auraloss's too: logarithms of faint bins magnify them
    for factor in ([1, 2 * high, high**2], [1, 2 * low, low**2], [1, upper], [1, middle]):
        poles = np.polymul(poles, factor)
    zeros = [high**2 * 10 ** (1.9997 / 20), 0.0, 0.0, 0.0, 0.0]  # 0 dB at 1 kHz
    recursive = signal.bilinear(zeros, poles, fs=rate)
    frequencies, response = signal.freqz(*recursive, worN=512, fs=rate)
    taps: NDArray[np.float64] = signal.firls(n_taps, frequencies, np.abs(response), fs=rate)
    if plot:
        import matplotlib.pyplot as plt

        fitted = signal.freqz(taps, worN=512, fs=rate)[1]
        for name, values in (("A-weighting", response), (f"{n_taps} taps", fitted)):
            plt.semilogx(frequencies, 20 * np.log10(np.abs(values).clip(1e-8)), label=name)
        plt.xlabel("frequency (Hz)")
        plt.ylabel("gain (dB)")
        plt.legend()
        plt.show()
    return taps
