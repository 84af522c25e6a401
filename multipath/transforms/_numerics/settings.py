"""Checks of the settings that several transforms share."""

from __future__ import annotations

from typing import Any

from multipath._internal.settings import is_scalar, several, whole
from multipath.errors import ConfigurationError

DEEPEST = 62
"""The most octaves: no signal has more than 2^62 samples."""


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


def check_scattering(n_samples: int, J: int, Q: tuple[int, int], T: int) -> None:
    """Refuse settings of a scattering transform over time that are out of range.

    Raises:
        ConfigurationError: If a setting is out of range; the message names it.
    """
    if J < 1 or min(Q) < 1:
        raise ConfigurationError(f"J and Q must be at least 1, got J={J}, Q={Q}")
    if max(Q) > n_samples:
        raise ConfigurationError(f"Q must be at most n_samples = {n_samples}, got {Q}")
    if not 1 <= T <= n_samples:
        raise ConfigurationError(
            f"the averaging window T must lie between 1 and the signal's length, got T={T} for "
            f"{n_samples} samples; use a smaller T or longer signals"
        )
