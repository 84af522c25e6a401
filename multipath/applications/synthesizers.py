"""The named synthesizers of the paper: what their parameters span. Light to import."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChirpletRanges:
    """What the two parameters of a chirplet synthesizer span, log-uniformly.

    Args:
        am: Slowest and fastest amplitude modulation, in Hz.
        fm: Slowest and fastest frequency modulation, in octaves/s.
    """

    am: tuple[float, float]
    fm: tuple[float, float]


CHIRPLETS = {
    "slow-slow": ChirpletRanges(am=(1.0, 2.0), fm=(0.5, 1.0)),
    "slow-moderate": ChirpletRanges(am=(1.0, 2.0), fm=(2.0, 4.0)),
    "fast-moderate": ChirpletRanges(am=(2.8, 8.4), fm=(2.0, 4.0)),
    "fast-fast": ChirpletRanges(am=(2.8, 8.4), fm=(4.0, 12.0)),
}
"""The four chirplet synthesizers, named AM-FM.

Source: SCRAPL (Mitcheltree et al., ICLR 2026), section on chirplets. The authors' released
configurations narrow the fast AM to 3.96-7.92 Hz and widen the fast FM to 8-16 octaves/s.
"""
