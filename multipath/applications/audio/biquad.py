"""Second-order recursive filters, exact on finite signals and differentiable in their settings."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from multipath._internal.bookkeeping import widened
from multipath.errors import InputError

__all__ = ["biquad", "high_pass", "high_pass_coefficients"]


def high_pass(signal: Tensor, cutoff: Tensor, q: Tensor, sample_rate: float) -> Tensor:
    r"""High-pass filter of second order, bilinear transform of :math:`s^2 / (s^2 + s/Q + 1)`.

    The gain is 1 at half the sample rate, Q at the cutoff, and falls by 12 dB an octave below.

    Args:
        signal: Shape (..., T). It is silent before its first sample.
        cutoff: Cutoff in Hz, one for each signal, shape (...,) or broadcastable to it.
        q: Quality Q > 0, one for each signal or broadcastable to it.
        sample_rate: Sample rate in Hz.

    Returns:
        The filtered signals, of the signal's shape and dtype, computed in float64.

    Raises:
        InputError: If a cutoff lies outside of 0 to half the sample rate, or a Q is not positive.

    Example:
        >>> tone = torch.sin(2 * torch.pi * 100 / 8000 * torch.arange(8000))
        >>> low, high = high_pass(tone, torch.tensor([10.0, 1000.0]), torch.tensor(0.7), 8000.0)
        >>> round(low[4000:].std().item(), 3), round(high[4000:].std().item(), 3)
        (0.707, 0.006)

    Source: R. Bristow-Johnson, Cookbook formulae for audio equalizer biquad filter coefficients.
    """
    if not bool(((cutoff > 0) & (cutoff < sample_rate / 2)).all()):
        raise InputError(
            f"cutoffs must lie between 0 and half the sample rate = {sample_rate / 2:g} Hz, got "
            f"{cutoff.min().item():g} to {cutoff.max().item():g} Hz"
        )
    if not bool((q > 0).all()):
        raise InputError(f"Q must be positive, got {q.min().item():g}")
    return biquad(signal, *high_pass_coefficients(cutoff, q, sample_rate))


def high_pass_coefficients(cutoff: Tensor, q: Tensor, sample_rate: float) -> tuple[Tensor, Tensor]:
    """Compute numerator and denominator of :func:`high_pass` in float64, of shape (..., 3) each.

    They are on the CPU if the device of the settings has no float64.

    Args:
        cutoff: Cutoff in Hz, of any shape.
        q: Quality, broadcastable with the cutoff.
        sample_rate: Sample rate in Hz.
    """
    angle = 2 * math.pi / sample_rate * widened(cutoff)
    width = torch.sin(angle) / (2 * widened(q))
    cosine = torch.cos(angle)
    scale = 1 / (1 + width)
    gain = (1 + cosine) / 2 * scale
    numerator = torch.stack([gain, -2 * gain, gain], dim=-1)
    denominator = [torch.ones_like(gain), -2 * cosine * scale, (1 - width) * scale]
    return numerator, torch.stack(denominator, dim=-1)


def biquad(signal: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    r"""Filter by a second-order recursion, from rest.

    .. math:: y[n] = b_0 x[n] + b_1 x[n-1] + b_2 x[n-2] - a_1 y[n-1] - a_2 y[n-2]

    The result is exact: with :math:`A(z) = 1 + a_1 z^{-1} + a_2 z^{-2}`, the product
    :math:`A(z) A(-z)` has even powers of z only, so that :math:`1/A(z) = A(-z) / A'(z^2)`. As
    :math:`A'` can be treated in the same way, log2(T) sparse filters of three taps replace T steps
    of recursion; what remains reaches beyond T samples. This holds for all poles, double ones
    included.

    The gradient is the same filter run backwards in time. It can be differentiated again, and works
    under ``torch.func``.

    Args:
        signal: x, shape (..., T).
        numerator: b, shape (..., 3), leading dimensions broadcastable to the signal's.
        denominator: a, of such a shape, with :math:`a_0 = 1`.

    Returns:
        y, of the shape of the broadcast signal and of its dtype; computed in float64, because
        poles near 1 amplify the rounding of float32 a thousandfold. A device without float64
        leaves that to the CPU.

    Example:
        >>> decay = biquad(torch.tensor([1.0, 0, 0, 0]), torch.tensor([1.0, 0, 0]),
        ...                torch.tensor([1.0, -0.5, 0]))
        >>> decay  # y[n] = x[n] + y[n-1] / 2
        tensor([1.0000, 0.5000, 0.2500, 0.1250])

    Source: look-ahead by powers of two: Parhi and Messerschmitt, Pipeline interleaving and
    parallelism in recursive digital filters, IEEE Transactions on Acoustics, Speech and Signal
    Processing 37(7), 1989.
    """
    x = widened(signal)
    b, a = (widened(taps).to(x.device) for taps in (numerator, denominator))
    # differences first: the recursion alone would build up huge low frequencies
    driven = b[..., 0, None] * x
    for lag in (1, 2):
        driven = driven + b[..., lag, None] * _delay(x, lag)
    filtered = _recursion(driven, a[..., 1, None], a[..., 2, None])
    return filtered.to(signal.dtype).to(signal.device)


def _delay(x: Tensor, lag: int) -> Tensor:
    """Delay a signal by some samples; it keeps its length."""
    return pad(x, (lag, 0))[..., : x.shape[-1]]


def _recursion(x: Tensor, a1: Tensor, a2: Tensor) -> Tensor:
    """Solve y[n] = x[n] - a1 y[n-1] - a2 y[n-2], with a1 and a2 of shape (..., 1)."""
    shape = torch.broadcast_shapes(x.shape[:-1], a1.shape[:-1], a2.shape[:-1])
    a1, a2 = a1.expand(*shape, 1), a2.expand(*shape, 1)
    x = x.expand(*shape, x.shape[-1])
    result: Tensor = _Recursion.apply(x, a1, a2)  # type: ignore[no-untyped-call]
    return result


class _Recursion(torch.autograd.Function):
    """The recursion with its own derivatives: autograd would keep all log2(T) partial results."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, a1: Tensor, a2: Tensor) -> Tensor:
        length, lag = x.shape[-1], 1
        while lag < length:
            past = pad(x, (2 * lag, 0))
            x = torch.addcmul(x, a1, past[..., lag : lag + length], value=-1)
            x = torch.addcmul(x, a2, past[..., :length])
            a1, a2 = 2 * a2 - a1 * a1, a2 * a2
            lag *= 2
        return x.clone() if lag == 1 else x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        _, a1, a2 = inputs
        ctx.save_for_backward(a1, a2, output)
        ctx.save_for_forward(a1, a2, output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a1, a2, y = ctx.saved_tensors
        to_x = _recursion(gradients[0].flip(-1), a1, a2).flip(-1)
        to_a1 = -(to_x * _delay(y, 1)).sum(dim=-1, keepdim=True)
        to_a2 = -(to_x * _delay(y, 2)).sum(dim=-1, keepdim=True)
        return to_x, to_a1, to_a2

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        a1, a2, y = ctx.saved_tensors
        x_tangent, a1_tangent, a2_tangent = tangents
        driven = x_tangent - a1_tangent * _delay(y, 1) - a2_tangent * _delay(y, 2)
        return _recursion(driven, a1, a2)
