"""Complex signals as two real planes: real parts, then imaginary parts.

Real inverse transforms and arithmetic on contiguous planes run about three times faster on a CPU
than complex inverse transforms and interleaved complex arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def inverse_planes(band: Tensor, length: int) -> Tensor:
    """Inverse transform of a spectrum that is zero beyond its first bins.

    Args:
        band: Complex, shape (batch, rows, width): bins 0 to width - 1.
        length: Number of samples out; a wider band is folded, as subsampling does.

    Returns:
        Shape (batch, 2, rows, length), real and imaginary plane, up to a rotation of phase.
    """
    width = band.shape[-1]
    if width > length:
        band = F.pad(band, (0, -width % length)).unflatten(-1, (-1, length)).sum(dim=-2)
    if width + 1 > length // 2:
        signal = torch.fft.ifft(band, n=length)
        return torch.stack([signal.real, signal.imag], dim=1)
    # Bins 1 to width of a half spectrum: twice the real part comes out, and from -i times the
    # band twice the imaginary part. Bin 0 must stay free since its imaginary part would be lost.
    halves = torch.stack([band / 2, band * -0.5j], dim=1)
    planes: Tensor = torch.fft.irfft(F.pad(halves, (1, length // 2 - width)), n=length)
    return planes


def modulus(planes: Tensor) -> Tensor:
    """Modulus of (batch, 2, ...) planes; its gradient is zero, not NaN, where it is zero."""
    result: Tensor = _Modulus.apply(planes)  # type: ignore[no-untyped-call]
    return result


class _Modulus(torch.autograd.Function):
    """hypot with a gradient that is finite everywhere; written to be differentiated again."""

    @staticmethod
    def forward(ctx: Any, planes: Tensor) -> Tensor:
        size = torch.hypot(planes[:, 0], planes[:, 1])
        ctx.save_for_backward(planes, size)
        return size

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        planes, size = ctx.saved_tensors
        # dividing first keeps the quotient within [-1, 1] for the smallest numbers
        direction: Tensor = planes / size.clamp_min(torch.finfo(size.dtype).tiny)[:, None]
        return direction * gradient[:, None]


def half_spectrum(x: Tensor) -> Tensor:
    """``torch.fft.rfft``, with a real inverse transform as backward instead of a complex one."""
    result: Tensor = _HalfSpectrum.apply(x)  # type: ignore[no-untyped-call]
    return result


class _HalfSpectrum(torch.autograd.Function):
    """The adjoint of a half spectrum is an unscaled inverse that counts inner bins once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.length = x.shape[-1]
        spectrum: Tensor = torch.fft.rfft(x)
        return spectrum

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        inner = gradient[..., 1:-1] / 2
        halved = torch.cat([gradient[..., :1], inner, gradient[..., -1:]], dim=-1)
        signal: Tensor = torch.fft.irfft(halved, n=ctx.length, norm="forward")
        return signal
