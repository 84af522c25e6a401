"""Spectrograms at several resolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multipath._internal.inputs import brief, described
from multipath._internal.printing import listed
from multipath._internal.settings import (
    affordable,
    choice,
    is_scalar,
    positive,
    several,
    whole,
)
from multipath.errors import ConfigurationError, InputError
from multipath.paths import Path, check_indices

from ._filter_banks import a_weighting, chroma_bank, mel_bank, most_mels
from ._frames import Frames, magnitudes, spectrum
from ._numerics.filters import FilterBuffers, vanishing_tails
from ._numerics.tiles import keep_freed_memory
from .base import Transform, check_signal, full_precision, working_dtype

Window = str | tuple[str, float] | Callable[..., Tensor]
Scale = Literal["mel", "chroma"]
BANKS = {"mel": mel_bank, "chroma": chroma_bank}
"""How the bands of each scale are made."""
MOST_MELS, PITCH_CLASSES = 128, 12
"""How many bands there are by default: of mel, fewer where some would hold no bin of the FFT."""


class MultiResolutionSTFT(Transform):
    r"""Magnitude spectrograms at several resolutions, one path each.

    .. math:: \phi_p(x)[f, t] = \big| \sum_n x[n]\, h_p[n - t H_p]\, e^{-2 \pi i f n / N_p} \big|

    with window :math:`h_p`, hop :math:`H_p` and FFT size :math:`N_p`, which may be any whole
    number, even a prime. Frames are centred and the signal is mirrored at its ends, as in
    ``torch.stft``. Coefficients have shape (..., frequency, time). The gradient is zero, not NaN,
    where a magnitude is zero.

    On another frequency scale, magnitudes are averaged over bands: ``"mel"`` takes triangles of
    equal area that are equidistant in mel from 0 Hz to half the sample rate (Slaney's scale), and
    ``"chroma"`` takes pitch classes of all octaves together, from C on, tuned to A = 440 Hz. The
    ``"A"`` weighting multiplies magnitudes by the sensitivity of hearing (IEC 61672) before that.

    Args:
        fft_sizes: FFT size :math:`N_p` of each path in samples. Default (1024, 2048, 512).
        hop_sizes: Hop :math:`H_p` of each path in samples, at most the FFT size, or one for all; a
            hop longer than the window skips samples. Default a quarter of the window.
        win_lengths: Window length of each path in samples, at most the FFT size, or one for all.
            Default the FFT size.
        window: Name of a periodic window in ``scipy.signal.get_window`` (``"hann"``,
            ``"flattop"``), or its name and parameter (``("kaiser", 12.0)``); or a function that
            makes a window, like ``torch.hamming_window``.
        sample_rate: Sample rate in Hz, for the scales, the weighting, and the path table, which
            counts in cycles per sample without it.
        scale: Frequency scale: None for the bins of the FFT, ``"mel"`` or ``"chroma"``.
        n_bins: Number of bands of the scale, or one for each path. Default 12 pitch classes; or
            for each FFT, the largest number of mel bands up to 128 with a bin of it in each.
        weighting: None, or ``"A"``.

    Attributes:
        paths: Columns ``fft_size``, ``hop_size``, ``win_length`` (samples) and ``bandwidth`` (Hz,
            sample rate / win_length).

    Raises:
        ConfigurationError: If the lists differ in length, a size is out of range, there is no
            such window, a scale or weighting lacks a sample rate, or a mel band is so narrow that
            no bin of the FFT lies in it.

    Example:
        >>> transform = MultiResolutionSTFT(fft_sizes=[256, 512])
        >>> [tuple(c.shape) for c in transform(torch.zeros(3, 2048))]
        [(3, 129, 33), (3, 257, 17)]

    Source: Yamamoto, Song and Kim, Parallel WaveGAN, ICASSP 2020; Engel et al., DDSP, ICLR 2020.
    """

    def __init__(
        self,
        fft_sizes: Sequence[int] = (1024, 2048, 512),
        hop_sizes: int | Sequence[int] | None = None,
        win_lengths: int | Sequence[int] | None = None,
        window: Window = "hann",
        sample_rate: float | None = None,
        scale: Scale | None = None,
        n_bins: int | Sequence[int] | None = None,
        weighting: Literal["A"] | None = None,
    ) -> None:
        rate = 1.0 if sample_rate is None else positive("sample_rate", sample_rate, "Hz")
        if is_scalar(fft_sizes):
            raise ConfigurationError(f"fft_sizes must list the sizes, e.g. [{fft_sizes}]")
        ffts = [whole("fft_size", fft) for fft in several("fft_sizes", fft_sizes)]
        affordable("samples of windows", sum(ffts))
        wins = ffts if win_lengths is None else _for_each("win_length", win_lengths, len(ffts))
        quarters = [max(1, win // 4) for win in wins]
        hops = quarters if hop_sizes is None else _for_each("hop_size", hop_sizes, len(ffts))
        if not len(ffts) == len(hops) == len(wins):
            raise ConfigurationError(
                "fft_sizes, hop_sizes and win_lengths need one entry per resolution, got "
                f"{len(ffts)}, {len(hops)} and {len(wins)}"
            )
        for fft, hop, win in zip(ffts, hops, wins, strict=True):
            if not (fft >= win >= 1 and fft >= hop >= 1):
                raise ConfigurationError(
                    "each resolution needs win_length and hop_size between 1 and fft_size, got "
                    f"fft_size={fft}, hop_size={hop}, win_length={win}"
                )
        work = [fft * fft.bit_length() / hop for fft, hop in zip(ffts, hops, strict=True)]
        super().__init__(
            Path(
                index,
                key=f"fft{fft}-hop{hop}-win{win}",
                metadata={
                    "fft_size": fft,
                    "hop_size": hop,
                    "win_length": win,
                    "bandwidth": rate / win,
                },
                cost=cost * len(work) / sum(work),
            )
            for index, (fft, hop, win, cost) in enumerate(zip(ffts, hops, wins, work, strict=True))
        )
        shown = {"window": window, "scale": scale, "weighting": weighting}
        self._shown = listed(**{name: value for name, value in shown.items() if value is not None})
        keep_freed_memory()
        self.windows = FilterBuffers()
        for index, win in enumerate(wins):
            self.windows.register_filter(f"window_{index}", _make_window(window, win))
        self.banks = FilterBuffers()
        for index, bank in enumerate(_make_banks(ffts, sample_rate, scale, n_bins, weighting)):
            self.banks.register_filter(f"bank_{index}", bank)
        self._has_banks = scale is not None or weighting is not None

    @full_precision
    def coefficients(self, x: Tensor, indices: Sequence[int] | Tensor) -> list[Tensor]:
        """Magnitudes at the chosen resolutions, each of shape (..., frequency, time).

        Args:
            x: Signals, shape (..., T) with T more than half the largest FFT size asked for.
            indices: Which resolutions.

        Raises:
            InputError: If the signals are too short, or an index is out of range.
        """
        return self._each(x, indices, self._magnitudes)

    @full_precision
    def spectra(self, x: Tensor, indices: Sequence[int] | Tensor) -> list[Tensor]:
        """Real and imaginary parts of the bins, each of shape (..., 2, frequency, time).

        They are those of the FFT, whatever the scale and the weighting. Phases count from the start
        of the window.

        Args:
            x: As in :meth:`coefficients`.
            indices: Which resolutions.

        Raises:
            InputError: If the signals are too short, or an index is out of range.
        """
        return self._each(x, indices, lambda _, *arguments: spectrum(*arguments))

    def _each(
        self, x: Tensor, indices: Sequence[int] | Tensor, analyse: Callable[..., Tensor]
    ) -> list[Tensor]:
        """What ``analyse`` makes of the padded signals at each of the resolutions, once."""
        check_signal(x)
        signals = x.reshape(-1, x.shape[-1]).to(working_dtype(x))
        found: dict[int, Tensor] = {}
        chosen = check_indices(indices, len(self.paths))
        for index in dict.fromkeys(chosen):
            size = self.paths[index].metadata
            if x.shape[-1] <= size["fft_size"] // 2:
                raise InputError(
                    f"signals of {x.shape[-1]} samples are too short for an FFT of "
                    f"{size['fft_size']}: more than {size['fft_size'] // 2} are needed"
                )
            name = f"window_{index}"
            window = self.windows.derived(name, signals, partial(self.windows.filter, name))
            half = size["fft_size"] // 2
            padded = torch.nn.functional.pad(signals, (half, half), mode="reflect")
            frames = Frames(size["fft_size"], size["hop_size"], size["win_length"])
            values = analyse(index, padded, window, frames)
            found[index] = values.reshape(*x.shape[:-1], *values.shape[1:])
        return [found[index] for index in chosen]

    def _magnitudes(self, index: int, signals: Tensor, window: Tensor, frames: Frames) -> Tensor:
        values = magnitudes(signals, window, frames)
        if not self._has_banks:
            return values
        name = f"bank_{index}"
        bank = self.banks.derived(name, values, partial(self.banks.filter, name))
        return bank @ values if bank.ndim == 2 else bank[:, None] * values

    def extra_repr(self) -> str:
        """Resolutions that ``print`` shows."""
        return ", ".join([*map(str, self.paths.keys), self._shown])


def _for_each(name: str, values: Any, n_resolutions: int) -> list[int]:
    """A setting of each resolution, from one of all or from a list."""
    listed = [values] * n_resolutions if is_scalar(values) else several(f"{name}s", values)
    return [whole(name, value) for value in listed]


def _make_banks(
    fft_sizes: list[int],
    sample_rate: float | None,
    scale: str | None,
    n_bins: int | Sequence[int] | None,
    weighting: str | None,
) -> list[NDArray[np.float64]]:
    """Rows of weights of the bins for each band, or a gain of each bin; nothing without either."""
    scale = choice("scale", scale, None, *BANKS)
    weighting = choice("weighting", weighting, None, "A")
    if scale is None and n_bins is not None:
        raise ConfigurationError(f'n_bins={n_bins!r} belongs to a scale: give scale="mel", too')
    if scale is None and weighting is None:
        return []
    if sample_rate is None:
        raise ConfigurationError("a scale or a weighting needs the sample_rate of the signals")
    rate = positive("sample_rate", sample_rate, "Hz")
    gains = [a_weighting(rate, fft) if weighting else np.ones(fft // 2 + 1) for fft in fft_sizes]
    if scale is None:
        return gains
    if n_bins is None:
        mels = scale == "mel"
        n_bins = [most_mels(rate, fft, MOST_MELS) if mels else PITCH_CLASSES for fft in fft_sizes]
    bands = _for_each("n_bins", n_bins, len(fft_sizes))
    if len(bands) != len(fft_sizes):
        raise ConfigurationError(
            f"n_bins needs one entry per resolution, {len(fft_sizes)}, got {len(bands)}"
        )
    found = []
    for count, fft, gain in zip(bands, fft_sizes, gains, strict=True):
        if not 1 <= count <= fft:
            raise ConfigurationError(
                f"n_bins must lie between 1 and the FFT size {fft}, got {count}"
            )
        affordable("weights of a filter bank", count * (fft // 2 + 1))
        bank = BANKS[scale](rate, fft, count)
        empty = np.flatnonzero(bank.max(axis=1) <= 0)
        if len(empty):
            raise ConfigurationError(
                f"no bin of an FFT of {fft} samples lies in band {empty[0]} of {count}: lower "
                "n_bins, which may list one number for each resolution, or choose larger FFTs"
            )
        found.append(bank * gain)
    return found


@vanishing_tails
def _make_window(window: Window, length: int) -> NDArray[np.float64]:
    window = torch.hann_window if isinstance(window, str) and window == "hann" else window
    if callable(window):
        try:
            with torch.device("cpu"):  # whatever the default device is: filters are designed there
                made = window(length, dtype=torch.float64)
        except TypeError as error:
            raise ConfigurationError(
                "window must be a function of a length and dtype=..., like torch.hamming_window, "
                f"got {window!r} ({error})"
            ) from error
        fits = isinstance(made, Tensor) and made.shape == (length,) and made.is_floating_point()
        if not (fits and made.isfinite().all()):
            raise ConfigurationError(
                f"window must make a tensor of {length} finite numbers, as torch.hamming_window "
                f"does, got {described(made)}"
            )
        values: NDArray[np.float64] = made.double().numpy(force=True)
        return values
    return scipy_window(window, length, "a function, or a name with its parameter that")


def scipy_window(window: Any, length: int, accepted: str) -> NDArray[np.float64]:
    """A periodic window of SciPy.

    Args:
        window: What ``scipy.signal.get_window`` takes.
        length: In samples.
        accepted: What SciPy and others know, for the message.

    Raises:
        ConfigurationError: If there is no such window, or it is not finite.
    """
    from scipy.signal import get_window  # slow to import

    try:
        made = np.asarray(get_window(window, length), dtype=np.float64)
        if not np.isfinite(made).all():
            raise ValueError("it is not finite")
    # there is no such name, or its parameter is missing or out of range
    except (ValueError, TypeError, IndexError) as error:
        shown = repr(window) if isinstance(window, tuple) else described(window)
        raise ConfigurationError(
            f"window must be {accepted} scipy.signal.get_window knows, got {shown} ({brief(error)})"
        ) from error
    return made
