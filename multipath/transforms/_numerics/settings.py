"""Checks of the settings that several transforms share."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from multipath.errors import ConfigurationError


def check_integers(**settings: object) -> None:
    """Refuse settings that are not whole numbers.

    Raises:
        ConfigurationError: If a setting is no whole number; the message names it.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ConfigurationError(f"{name} must be a whole number, got {value!r}")


def check_rate(sample_rate: Any) -> None:
    """Refuse sample rates that are not positive.

    Raises:
        ConfigurationError: If the sample rate is no positive number.
    """
    if not (isinstance(sample_rate, Real) and float(sample_rate) > 0):
        raise ConfigurationError(f"sample_rate must be positive, in Hz, got {sample_rate!r}")


def wavelets_per_octave(Q: int | tuple[int, int]) -> tuple[int, int]:
    """The pair (Q1, Q2), from a pair or from Q1 alone, which Q2 = 1 goes with.

    Raises:
        ConfigurationError: If Q is neither.
    """
    pair = (Q, 1) if isinstance(Q, int) else tuple(Q) if isinstance(Q, Sequence) else ()
    if len(pair) != 2:
        raise ConfigurationError(f"Q must be (Q1, Q2) or Q1, got {Q!r}")
    check_integers(Q1=pair[0], Q2=pair[1])
    return pair[0], pair[1]


def check_scattering(n_samples: int, J: int, Q: tuple[int, int], T: int) -> None:
    """Refuse settings of a scattering transform over time that are out of range.

    Raises:
        ConfigurationError: If a setting is out of range; the message names it.
    """
    check_integers(n_samples=n_samples, J=J, T=T)
    if J < 1 or min(Q) < 1:
        raise ConfigurationError(f"J and Q must be at least 1, got J={J}, Q={Q}")
    if not 1 <= T <= n_samples:
        raise ConfigurationError(
            f"the averaging window T must lie between 1 and the signal's length, got T={T} for "
            f"{n_samples} samples; use a smaller T or longer signals"
        )
