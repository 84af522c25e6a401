"""Checks of the settings that several transforms share."""

from __future__ import annotations

from math import log2
from typing import Any, Literal, TypeAlias

from multipath._internal.settings import (
    affordable,
    choice,
    is_scalar,
    positive,
    several,
    whole,
)
from multipath.errors import ConfigurationError

DEEPEST = 62
"""The most octaves: no signal has more than 2^62 samples."""


MOST_PAIRS = 2**17
"""Of a wavelet of the first and one of the second order: hours of work for each signal."""

SHORTEST = 8
"""The fewest samples for which settings of scattering are suggested."""


def suggested(n_samples: Any, sample_rate: Any) -> dict[str, Any]:
    """Settings of scattering over time that fit signals of some length and sample rate.

    The slowest wavelet spans an eighth of the signal, but at most half a second; averages an eighth
    of the signal, but at most a fifth of a second; both are rounded down to a power of two. Below
    512 Hz, where signals are no sounds, these times count as at 512 Hz. No wavelet bank has fewer
    than three octaves, so that there are second-order paths.

    Raises:
        ConfigurationError: If the signals are too short for any, or the rate is not positive.
    """
    n_samples, sample_rate = whole("n_samples", n_samples), positive("sample_rate", sample_rate)
    if n_samples < SHORTEST:
        raise ConfigurationError(
            f"n_samples must be at least {SHORTEST} for any settings to fit, got {n_samples}"
        )
    part, rate = log2(n_samples / 8), max(sample_rate, 512.0)
    J, T = max(3, int(min(part, log2(rate / 2)))), 2 ** int(min(part, log2(rate / 5)))
    return {"n_samples": n_samples, "J": J, "T": T, "sample_rate": sample_rate}


def check_octaves_given(J: Any, transform: type, n_samples: Any) -> None:
    """Name the way to find J where it is missing.

    Raises:
        ConfigurationError: If it is.
    """
    if J is None:
        name = transform.__name__
        raise ConfigurationError(
            f"{name} needs J, the octaves of its filter banks; to have all settings chosen, use "
            f"{name}(**{name}.suggest({n_samples}, sample_rate))"
        )


def octaves(name: str, value: Any) -> int:
    """A number of octaves, of which 2 to the power can be computed.

    Raises:
        ConfigurationError: If it is no integer, or too large for any signal.
    """
    number = whole(name, value)
    if number > DEEPEST:
        raise ConfigurationError(f"{name} must be at most {DEEPEST} octaves, got {number}")
    return number


def highest_order(value: Any) -> int:
    """The highest order of a scattering transform.

    Raises:
        ConfigurationError: If it is neither 1 nor 2.
    """
    number = whole("max_order", value)
    if number not in (1, 2):
        raise ConfigurationError(f"max_order must be 1 or 2, got {number}")
    return number


def wavelets_per_octave(Q: Any) -> tuple[int, int]:
    """The pair (Q1, Q2), from a pair or from Q1 alone, which Q2 = 1 goes with.

    Raises:
        ConfigurationError: If Q is neither.
    """
    if is_scalar(Q):
        return whole("Q", Q), 1
    pair = several("Q", Q)
    if len(pair) != 2:
        raise ConfigurationError(f"Q must be (Q1, Q2) or Q1, got {Q!r}")
    return whole("Q1", pair[0]), whole("Q2", pair[1])


Window: TypeAlias = int | Literal["global", "none"]


def window(name: str, value: Any, default: int) -> Window:
    """The length of an averaging window, or ``"global"`` or ``"none"``.

    Raises:
        ConfigurationError: If it is none of these.
    """
    if isinstance(value, str):
        chosen: Window = choice(name, value, "global", "none", other="a whole number")
        return chosen
    return whole(name, default if value is None else value)


def log2_stride(
    name: str, stride: Any, of: str, averaging: Window, default: int, longest: int
) -> int:
    """How many times the rate is halved by keeping one average in ``stride``.

    Args:
        name: Of the stride.
        stride: A power of two, None for the largest that the window holds.
        of: Name of the window.
        averaging: The window.
        default: The window where there is none.
        longest: The largest stride.

    Raises:
        ConfigurationError: If the stride is no power of two in range, or there is no window.
    """
    if stride is None:
        return (default if isinstance(averaging, str) else averaging).bit_length() - 1
    if isinstance(averaging, str):
        raise ConfigurationError(
            f'{name} is the distance of averages over a window: with {of}="{averaging}" there is '
            f"none, leave {name} out"
        )
    number = whole(name, stride)
    if not 1 <= number <= longest or number & (number - 1):
        raise ConfigurationError(
            f"{name} must be a power of two between 1 and {longest}, got {number}"
        )
    return number.bit_length() - 1


def check_scattering(n_samples: int, J: int, Q: tuple[int, int], T: Window) -> None:
    """Refuse settings of a scattering transform over time that are out of range.

    Raises:
        ConfigurationError: If a setting is out of range; the message names it.
    """
    if J < 1 or min(Q) < 1:
        raise ConfigurationError(f"J and Q must be at least 1, got J={J}, Q={Q}")
    affordable("samples", n_samples)
    if max(Q) > n_samples:
        raise ConfigurationError(f"Q must be at most n_samples = {n_samples}, got {Q}")
    if not isinstance(T, str) and not 1 <= T <= n_samples:
        raise ConfigurationError(
            f"the averaging window T must lie between 1 and the signal's length, got T={T} for "
            f'{n_samples} samples; use a smaller T or longer signals, T="global" to average over '
            'all of a signal, or T="none" to average nothing'
        )
    affordable("pairs of wavelets", (J * Q[0] + 1) * (J * Q[1] + 1), MOST_PAIRS)
