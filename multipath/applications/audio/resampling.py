"""A change of sample rate that gradients pass through."""

from __future__ import annotations

from math import gcd

import numpy as np
import torch
from scipy.signal import firwin
from torch import Tensor, nn

from multipath._internal.inputs import check_tensor
from multipath.errors import ConfigurationError, InputError

from .files import check_rate

__all__ = ["Resample"]

ZERO_CROSSINGS = 10  # of the sinc on each side, as in scipy.signal.resample_poly


class Resample(nn.Module):
    r"""Resamples by a Kaiser-windowed sinc, as ``scipy.signal.resample_poly`` does, with gradients.

    .. math:: y[m] = \sum_i x[i]\, h[m D - i U], \qquad U / D = \text{target} / \text{source rate}

    with the fraction in lowest terms. Only the :math:`2 \cdot 10 \max(1, D / U) + 1` samples under
    the filter are touched, and a table holds the filter for each of the U phases.

    Args:
        source_rate: Sample rate of what comes in: a whole number of Hz up to 1 MHz.
        target_rate: Sample rate of what goes out, another such number.

    Raises:
        ConfigurationError: If a rate is not such a number.

    Example:
        >>> Resample(44100, 16000)(torch.ones(2, 44100)).shape
        torch.Size([2, 16000])
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        super().__init__()
        for rate in (source_rate, target_rate):
            check_rate(rate, error=ConfigurationError)
        divisor = gcd(int(source_rate), int(target_rate))
        self.up, self.down = int(target_rate) // divisor, int(source_rate) // divisor
        widest = max(self.up, self.down)
        half = ZERO_CROSSINGS * widest
        if widest == 1:
            half, sinc = 0, np.ones(1)
        else:
            sinc = firwin(2 * half + 1, 1 / widest, window=("kaiser", 5.0))
        phase = np.arange(self.up) * self.down
        starts = -((half - phase) // self.up)  # where the filter starts for outputs 0 to U - 1
        count = 2 * half // self.up + 1
        lag = phase[:, None] + half - (starts[:, None] + np.arange(count)) * self.up
        inside = (lag >= 0) & (lag <= 2 * half)
        taps = np.where(inside, sinc[lag.clip(0, 2 * half)], 0.0) * self.up
        self._taps = torch.from_numpy(taps)  # no buffer: some devices have no float64
        self.starts = nn.Buffer(torch.from_numpy(starts), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Resample signals.

        Args:
            x: Shape (..., T).

        Returns:
            Shape (..., ceil(T U / D)).

        Raises:
            InputError: If x is not floating-point or is empty.
        """
        check_tensor(x)
        if not x.is_floating_point() or x.ndim < 1 or x.shape[-1] < 1:
            raise InputError(
                f"expected floating-point signals of shape (..., T), got {x.dtype} of "
                f"{tuple(x.shape)}"
            )
        if self.up == self.down:
            return x
        length = -(-x.shape[-1] * self.up // self.down)
        output = torch.arange(length, device=x.device)
        turns, phase = output // self.up, output % self.up
        first = self.starts[phase] + turns * self.down
        before = int(-first.min())
        count = self._taps.shape[1]
        after = max(0, int(first.max()) + count - x.shape[-1])
        padded = torch.nn.functional.pad(x, (before, after))
        taps = self._taps.to(x.dtype).to(x.device)[phase]
        # tap by tap: the memory of all of them at once would be `count` times that of the result
        return sum(  # type: ignore[return-value]
            taps[:, tap] * padded[..., first + (before + tap)] for tap in range(count)
        )

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"up={self.up}, down={self.down}"
