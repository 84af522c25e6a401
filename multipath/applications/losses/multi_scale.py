"""Multi-scale spectral losses: what scattering losses are compared with.

They are path-decomposed, one path a scale, so that samplers and path-wise optimizers take them too.
Another, :mod:`~multipath.applications.losses.random_resolutions`, draws its scales anew at every
step.
"""

from __future__ import annotations

from collections.abc import Sequence

from multipath import PathDecomposedLoss, SpectralLoss
from multipath._internal.settings import several, whole
from multipath.errors import ConfigurationError
from multipath.transforms import MultiResolutionSTFT

__all__ = [
    "PRIME_SIZES",
    "SIZES",
    "mss_linear",
    "mss_log",
    "mss_revisited",
]

SIZES = (64, 128, 256, 512, 1024, 2048)
"""FFT sizes of :func:`mss_linear` and :func:`mss_log` in samples."""

PRIME_SIZES = (67, 127, 257, 509, 1021, 2053)
"""Window sizes of :func:`mss_revisited` in samples: without common divisors, the zeros that windows
have between harmonics fall on different frequencies at each scale."""


def mss_linear(fft_sizes: Sequence[int] = SIZES, n_samples: int | None = None) -> SpectralLoss:
    r"""Mean absolute difference between magnitudes, averaged over scales.

    .. math:: L_p(x, y) = \operatorname{mean}_{f, t} \big| |X_p| - |Y_p| \big|

    Hann windows as long as the FFT, hops of a quarter. Magnitudes below 1e-4 count as 1e-4.

    Args:
        fft_sizes: In samples, one a path. Default 64 to 2048.
        n_samples: Length of the signals, if scales that do not fit are to be refused at once.

    Returns:
        A loss with w_p = 1/P.

    Raises:
        ConfigurationError: If a scale needs longer signals.

    Example:
        >>> import torch
        >>> x = torch.sin(0.3 * torch.arange(4096.0))
        >>> loss = mss_linear(n_samples=4096)
        >>> len(loss.paths), f"{loss(x, 0.5 * x):.3f}"
        (6, '0.655')

    Source: Engel et al., DDSP, ICLR 2020; values as those of auraloss.
    """
    return SpectralLoss(_transform(fft_sizes, n_samples), ["linear_l1"])


def mss_log(fft_sizes: Sequence[int] = SIZES, n_samples: int | None = None) -> PathDecomposedLoss:
    r"""Mean absolute difference between magnitudes, plus that between their logarithms.

    .. math:: 2 L_p(x, y) = \operatorname{mean}_{f, t} \big| |X_p| - |Y_p| \big|
        + \operatorname{mean}_{f, t} \big| \log |X_p| - \log |Y_p| \big|

    Scales, windows, floor, arguments and errors are those of :func:`mss_linear`.

    Args:
        fft_sizes: In samples, one a path. Default 64 to 2048.
        n_samples: Length of the signals, if scales that do not fit are to be refused at once.

    Returns:
        A loss with w_p = 2/P, the two terms of a scale together in one path.

    Raises:
        ConfigurationError: If a scale needs longer signals.

    Example:
        >>> import torch
        >>> x = torch.sin(0.3 * torch.arange(4096.0))
        >>> print(f"{mss_log()(x, 0.5 * x):.3f}")
        1.043

    Source: Engel et al., DDSP, ICLR 2020; values as those of auraloss.
    """
    loss = SpectralLoss(_transform(fft_sizes, n_samples), ["linear_l1", "log_l1"])
    return loss.grouped("resolution")


def mss_revisited(
    window_sizes: Sequence[int] = PRIME_SIZES, n_samples: int | None = None
) -> SpectralLoss:
    r"""Euclidean distance between compressed magnitudes, summed over scales of prime sizes.

    .. math:: L_p(x, y) = \big\lVert \log(1 + |X_p|) - \log(1 + |Y_p|) \big\rVert_2

    Flat-top windows as long as the FFT, hops of half a window, rounded down.

    Args:
        window_sizes: In samples, one a path. Default ``PRIME_SIZES``.
        n_samples: Length of the signals, if scales that do not fit are to be refused at once.

    Returns:
        A loss with w_p = 1.

    Raises:
        ConfigurationError: If a scale needs longer signals.

    Example:
        >>> import torch
        >>> x = torch.sin(0.3 * torch.arange(4096.0))
        >>> print(f"{mss_revisited()(x, 0.5 * x):.1f}")
        67.8

    Source: Schwär and Müller, Multi-Scale Spectral Loss Revisited, IEEE Signal Processing Letters
    2023.
    """
    transform = _transform(window_sizes, n_samples, hop_divisor=2, window="flattop")
    summed = {"log_norm": len(transform.paths)}
    return SpectralLoss(transform, summed, floor=0.0, offset=1.0)


def _transform(
    sizes: Sequence[int], n_samples: int | None, hop_divisor: int = 4, window: str = "hann"
) -> MultiResolutionSTFT:
    hops = [max(1, whole("fft_size", size) // hop_divisor) for size in several("sizes", sizes)]
    transform = MultiResolutionSTFT(sizes, hops, window=window)
    if n_samples is not None:
        check_length(whole("n_samples", n_samples), sizes)
    return transform


def check_length(n_samples: int, sizes: Sequence[int]) -> None:
    """Refuse signals too short for a scale.

    Raises:
        ConfigurationError: If half of the largest is not exceeded.
    """
    largest = max(sizes)
    if n_samples <= largest // 2:
        raise ConfigurationError(
            f"signals of {n_samples} samples are too short for a scale of {largest}: more than "
            f"{largest // 2} are needed; name smaller scales, or lengthen the signals"
        )
