"""A multi-scale spectral loss whose scales are drawn anew at every training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from multipath import SpectralLoss
from multipath._internal.inputs import check_real
from multipath._internal.settings import MOST, affordable, seeded, whole
from multipath._internal.state import loaded_generator, pack, refused, unpack
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import MultiResolutionSTFT

from .multi_scale import check_length

__all__ = ["RandomResolutionLoss", "Resolution", "mss_random"]

LARGEST_SIZE = 8192
WINDOWS = ("hann", "bartlett", "blackman", "hamming", ("kaiser", 12.0))


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
        )
        values: Tensor = SpectralLoss(transform)(input, target, reduction="none")
        return values


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
        max_fft_size: int = LARGEST_SIZE,
        n_resolutions: int = 3,
        generator: int | torch.Generator = 0,
    ) -> None:
        super().__init__()
        min_fft_size = whole("min_fft_size", min_fft_size)
        max_fft_size = whole("max_fft_size", max_fft_size)
        n_resolutions = whole("n_resolutions", n_resolutions)
        if not 16 <= min_fft_size <= max_fft_size or any(
            size & (size - 1) for size in (min_fft_size, max_fft_size)
        ):
            raise ConfigurationError(
                "FFT sizes must be powers of two with 16 <= min_fft_size <= max_fft_size, got "
                f"{min_fft_size} and {max_fft_size}"
            )
        if n_resolutions < 1:
            raise ConfigurationError(f"n_resolutions must be at least 1, got {n_resolutions}")
        affordable("samples of windows", max_fft_size * n_resolutions, MOST)
        generator = seeded(generator)
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
        check_real(input, "input")
        check_real(target, "target")
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
            return int(torch.randint(low, high, (), generator=generator, device="cpu"))

        fft = 2 ** choose(self.exponents[0], self.exponents[1] + 1)
        fraction = 0.1 + 0.9 * float(torch.rand((), generator=generator, device="cpu"))
        win = fft // 2 ** choose(0, 3)
        return Resolution(fft, int(fft * fraction), win, WINDOWS[choose(0, len(WINDOWS))])

    def get_extra_state(self) -> Tensor:
        """The training stream, and the resolutions of evaluation, as bytes."""
        evaluated = [tuple(vars(resolution).values()) for resolution in self._evaluated]
        return pack({"generator": self.generator.get_state(), "evaluated": evaluated})

    def set_extra_state(self, packed: Tensor) -> None:
        """Go on where the saved loss was.

        Raises:
            InputError: If the state is damaged, or that of a loss of other settings.
        """
        state = unpack(packed, self, {"generator", "evaluated"})
        generator = loaded_generator("the generator of the resolutions", state["generator"])
        evaluated = state["evaluated"]
        if not (
            isinstance(evaluated, list)
            and len(evaluated) == self.n_resolutions
            and all(map(self._could_draw, evaluated))
        ):
            raise refused(
                "the resolutions of evaluation", f"{self.n_resolutions} of this loss", evaluated
            )
        self.generator.set_state(generator)
        self._evaluated = [Resolution(*values) for values in evaluated]

    def _could_draw(self, values: Any) -> bool:
        """Whether values are those of a resolution that this loss may draw."""
        if not isinstance(values, tuple) or [*map(type, values[:3])] != [int] * 3:
            return False
        sizes = [2**exponent for exponent in range(self.exponents[0], self.exponents[1] + 1)]
        return (
            len(values) == 4
            and values[0] in sizes
            and values[0] // 10 <= values[1] <= values[0]
            and values[2] in [values[0] // share for share in (1, 2, 4)]
            and type(values[3]) in (str, tuple)
            and values[3] in WINDOWS
        )

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
        max_fft_size = min(LARGEST_SIZE, 2 ** (quarter.bit_length() - 1))
    check_length(n_samples, [max(16, max_fft_size)])
    return RandomResolutionLoss(16, max(16, max_fft_size), n_resolutions, generator)
