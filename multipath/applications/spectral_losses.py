"""Multi-scale spectral losses: what scattering losses are compared with.

The first three are path-decomposed, one path a scale, so that samplers and path-wise optimizers
take them too. The fourth draws its scales anew at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .. import Log1p, TransformLoss
from ..errors import ConfigurationError, InputError
from ..transforms import MultiResolutionSTFT

__all__ = [
    "PRIME_SIZES",
    "SIZES",
    "RandomResolutionLoss",
    "Resolution",
    "mss_linear",
    "mss_log",
    "mss_random",
    "mss_revisited",
]

SIZES = (64, 128, 256, 512, 1024, 2048)
"""FFT sizes of :func:`mss_linear` and :func:`mss_log` in samples."""

PRIME_SIZES = (67, 127, 257, 509, 1021, 2053)
"""Window sizes of :func:`mss_revisited` in samples: without common divisors, the zeros that windows
have between harmonics fall on different frequencies at each scale."""

FLOOR = 1e-4  # magnitudes below it, 80 dB under a sample of 1, count as equal
LARGEST_RANDOM_SIZE = 8192
WINDOWS = ("hann", "bartlett", "blackman", "hamming", ("kaiser", 12.0))


def mss_linear(fft_sizes: Sequence[int] = SIZES, n_samples: int | None = None) -> TransformLoss:
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
        >>> x = torch.sin(0.3 * torch.arange(4096.0))
        >>> loss = mss_linear(n_samples=4096)
        >>> len(loss.paths), f"{loss(x, 0.5 * x):.3f}"
        (6, '0.655')

    Source: Engel et al., DDSP, ICLR 2020; values as those of auraloss.
    """
    return TransformLoss(_transform(fft_sizes, n_samples), rho=floored, distance=mean_absolute)


def mss_log(fft_sizes: Sequence[int] = SIZES, n_samples: int | None = None) -> TransformLoss:
    r"""Mean absolute difference between magnitudes, plus that between their logarithms.

    .. math:: L_p(x, y) = \operatorname{mean}_{f, t} \big| |X_p| - |Y_p| \big|
        + \operatorname{mean}_{f, t} \big| \log |X_p| - \log |Y_p| \big|

    Scales, windows, floor, arguments and errors are those of :func:`mss_linear`.

    Args:
        fft_sizes: In samples, one a path. Default 64 to 2048.
        n_samples: Length of the signals, if scales that do not fit are to be refused at once.

    Returns:
        A loss with w_p = 1/P.

    Raises:
        ConfigurationError: If a scale needs longer signals.

    Example:
        >>> x = torch.sin(0.3 * torch.arange(4096.0))
        >>> print(f"{mss_log()(x, 0.5 * x):.3f}")
        1.043

    Source: Engel et al., DDSP, ICLR 2020; values as those of auraloss.
    """
    transform = _transform(fft_sizes, n_samples)
    return TransformLoss(transform, rho=floored_and_log, distance=sum_of_mean_absolutes)


def mss_revisited(
    window_sizes: Sequence[int] = PRIME_SIZES, n_samples: int | None = None
) -> TransformLoss:
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
        >>> x = torch.sin(0.3 * torch.arange(4096.0))
        >>> print(f"{mss_revisited()(x, 0.5 * x):.1f}")
        67.8

    Source: Schwär and Müller, Multi-Scale Spectral Loss Revisited, IEEE Signal Processing Letters
    2023.
    """
    transform = _transform(window_sizes, n_samples, hop_divisor=2, window="flattop")
    weights = torch.ones(len(transform.paths))
    return TransformLoss(transform, rho=Log1p(eps=1.0), distance="l2", weights=weights)


@dataclass(frozen=True)
class Resolution:
    """One spectrogram.

    Attributes:
        fft_size: In samples.
        hop_size: In samples.
        win_length: In samples.
        window: As in :class:`~multipath.transforms.MultiResolutionSTFT`.
    """

    fft_size: int
    hop_size: int
    win_length: int
    window: str | tuple[str, float] = "hann"

    def loss(self, input: Tensor, target: Tensor) -> Tensor:
        r"""Spectral convergence plus mean absolute difference of logarithms, shape (batch,).

        .. math:: \frac{\lVert |X| - |Y| \rVert_2}{\lVert |Y| \rVert_2}
            + \operatorname{mean}_{f, t} \big| \log |X| - \log |Y| \big|

        Magnitudes below 1e-4 count as 1e-4.

        Args:
            input: Shape (batch, T).
            target: The same shape.
        """
        transform = MultiResolutionSTFT(
            [self.fft_size], [self.hop_size], [self.win_length], self.window
        ).to(input.device)
        (x,), (y,) = transform.coefficient_pairs(input, target, [0])
        x, y = floored(x), floored(y)
        convergence = _norm(x - y) / _norm(y)
        return convergence + mean_absolute(x.log() - y.log())


class RandomResolutionLoss(nn.Module):
    """A few resolutions, drawn anew at every training step; see :func:`mss_random`.

    FFT sizes are powers of two, each as probable; windows span all, a half or a quarter of the FFT
    and are of one of five kinds; hops are uniform between a tenth of the FFT and all of it. In
    evaluation mode, and without gradients, the resolutions are always the same, drawn at
    construction: validation is comparable from epoch to epoch and leaves the training stream alone.

    Args:
        min_fft_size: Smallest FFT size, a power of two from 16 on.
        max_fft_size: Largest FFT size, a power of two.
        n_resolutions: Drawn for each step, with replacement.
        generator: A seed or a CPU generator. Its state is part of ``state_dict()``.

    Attributes:
        resolutions: Those of the last forward.

    Raises:
        ConfigurationError: If a setting is out of range.
    """

    def __init__(
        self,
        min_fft_size: int = 16,
        max_fft_size: int = LARGEST_RANDOM_SIZE,
        n_resolutions: int = 3,
        generator: int | torch.Generator = 0,
    ) -> None:
        super().__init__()
        if not 16 <= min_fft_size <= max_fft_size or any(
            size & (size - 1) for size in (min_fft_size, max_fft_size)
        ):
            raise ConfigurationError(
                "FFT sizes must be powers of two with 16 <= min_fft_size <= max_fft_size, got "
                f"{min_fft_size} and {max_fft_size}"
            )
        if n_resolutions < 1:
            raise ConfigurationError(f"n_resolutions must be at least 1, got {n_resolutions}")
        if isinstance(generator, int):
            generator = torch.Generator().manual_seed(generator)
        self.exponents = min_fft_size.bit_length() - 1, max_fft_size.bit_length() - 1
        self.n_resolutions = n_resolutions
        self.generator = generator
        evaluation = torch.Generator().manual_seed((generator.initial_seed() + 1) % 2**63)
        self._evaluated = [self._draw(evaluation) for _ in range(n_resolutions)]
        self.resolutions = self._evaluated

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Mean over the batch and the resolutions.

        Args:
            input: Signals of shape (..., T), T more than half the largest FFT size.
            target: The same shape.

        Raises:
            InputError: If shapes differ or signals are too short.
        """
        if input.shape != target.shape:
            raise InputError(
                "input and target must have the same shape, got "
                f"{tuple(input.shape)} and {tuple(target.shape)}"
            )
        largest = 2 ** self.exponents[1]
        if input.shape[-1] <= largest // 2:  # now, and not when that size happens to be drawn
            raise InputError(
                f"signals of {input.shape[-1]} samples are too short for an FFT of {largest}: more "
                f"than {largest // 2} are needed; lower max_fft_size"
            )
        training = self.training and torch.is_grad_enabled()
        self.resolutions = (
            [self._draw(self.generator) for _ in range(self.n_resolutions)]
            if training
            else self._evaluated
        )
        x, y = (signals.reshape(-1, signals.shape[-1]) for signals in (input, target))
        return torch.stack([resolution.loss(x, y) for resolution in self.resolutions]).mean()

    def _draw(self, generator: torch.Generator) -> Resolution:
        def choose(low: int, high: int) -> int:
            return int(torch.randint(low, high, (), generator=generator))

        fft = 2 ** choose(self.exponents[0], self.exponents[1] + 1)
        fraction = 0.1 + 0.9 * float(torch.rand((), generator=generator))
        win = fft // 2 ** choose(0, 3)
        return Resolution(fft, int(fft * fraction), win, WINDOWS[choose(0, len(WINDOWS))])

    def get_extra_state(self) -> dict[str, Any]:
        """The training stream, and the resolutions of evaluation."""
        return {
            "generator": self.generator.get_state(),
            "evaluated": [tuple(vars(resolution).values()) for resolution in self._evaluated],
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on where the saved loss was."""
        self.generator.set_state(state["generator"].cpu())
        self._evaluated = [Resolution(*values) for values in state["evaluated"]]

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        low, high = self.exponents
        return f"{self.n_resolutions} of FFT sizes {2**low} to {2**high}"


def mss_random(
    n_samples: int,
    max_fft_size: int | None = None,
    n_resolutions: int = 3,
    generator: int | torch.Generator = 0,
) -> RandomResolutionLoss:
    """Spectral convergence plus L1 between logarithms, at resolutions drawn for each step.

    Args:
        n_samples: Length of the signals.
        max_fft_size: Largest FFT size, a power of two. Default the largest that is at most a
            quarter of the signal, and 8192.
        n_resolutions: Drawn for each step.
        generator: A seed or a CPU generator.

    Raises:
        ConfigurationError: If the signals are too short.

    Example:
        >>> loss = mss_random(n_samples=4096, generator=1)
        >>> loss
        RandomResolutionLoss(3 of FFT sizes 16 to 1024)
        >>> x = torch.sin(0.3 * torch.arange(4096.0)).requires_grad_()
        >>> bool(loss(0.5 * x, x) != loss(0.5 * x, x))
        True

    Source: Steinmetz and Reiss, auraloss, DMRN+15, 2020; resolutions and values of one item as its.
    """
    if max_fft_size is None:
        quarter = max(1, n_samples // 4)
        max_fft_size = min(LARGEST_RANDOM_SIZE, 2 ** (quarter.bit_length() - 1))
    _check_length(n_samples, [max(16, max_fft_size)])
    return RandomResolutionLoss(16, max(16, max_fft_size), n_resolutions, generator)


def floored(magnitude: Tensor) -> Tensor:
    """Magnitudes of at least 1e-4; no gradient below."""
    return magnitude.clamp_min(FLOOR)


def floored_and_log(magnitude: Tensor) -> Tensor:
    """Magnitudes of at least 1e-4 beside their logarithms."""
    magnitude = floored(magnitude)
    return torch.cat([magnitude, magnitude.log()], dim=-1)


def mean_absolute(difference: Tensor) -> Tensor:
    """Mean absolute value of each item."""
    return difference.flatten(1).abs().mean(dim=1)


def sum_of_mean_absolutes(difference: Tensor) -> Tensor:
    """The mean of the first half plus that of the second, as :func:`floored_and_log` joins them."""
    return 2 * mean_absolute(difference)


def _norm(values: Tensor) -> Tensor:
    # its gradient is zero, not NaN, at zero
    norm: Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return norm


def _transform(
    sizes: Sequence[int], n_samples: int | None, hop_divisor: int = 4, window: str = "hann"
) -> MultiResolutionSTFT:
    transform = MultiResolutionSTFT(
        sizes, [max(1, size // hop_divisor) for size in sizes], window=window
    )
    if n_samples is not None:
        _check_length(n_samples, sizes)
    return transform


def _check_length(n_samples: int, sizes: Sequence[int]) -> None:
    largest = max(sizes)
    if n_samples <= largest // 2:
        raise ConfigurationError(
            f"signals of {n_samples} samples are too short for a scale of {largest}: more than "
            f"{largest // 2} are needed; name smaller scales, or lengthen the signals"
        )
