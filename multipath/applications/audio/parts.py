"""Parts of a recording, read from the file as they are wanted, at the sample rate wanted."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from multipath.errors import InputError

from .files import opened

__all__ = ["Recording"]

SIDELOBES = 10
"""Zero crossings on either side of the filter that scipy resamples with."""


@dataclass(frozen=True)
class Recording:
    """A recording on disk; nothing of its sound is kept in memory.

    Args:
        path: The file.
        frames: Its length in samples of its own rate.
        n_channels: How many channels it has.
        rate: Its sample rate in Hz.
        new_rate: The sample rate to read it at, in Hz.
    """

    path: Path
    frames: int
    n_channels: int
    rate: int
    new_rate: int

    @classmethod
    def at(cls, path: Path, new_rate: int | None = None) -> Recording:
        """A recording from what its header says.

        Args:
            path: The file.
            new_rate: The sample rate to read it at, in Hz. Default: its own.

        Raises:
            InputError: If the file is no readable recording.
        """
        with opened(path) as file:
            rate = int(file.samplerate)
            return cls(path, file.frames, file.channels, rate, new_rate or rate)

    @property
    def ratio(self) -> tuple[int, int]:
        """New samples for so many old ones, in lowest terms."""
        common = gcd(self.rate, self.new_rate)
        return self.new_rate // common, self.rate // common

    @property
    def n_samples(self) -> int:
        """Its length at the new rate."""
        new, old = self.ratio
        return -(-self.frames * new // old)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Some samples at the new rate, as if all of the recording had been resampled.

        Args:
            start: The first of them.
            stop: One past the last.

        Returns:
            Shape (channels, stop - start).

        Raises:
            InputError: If they cannot be read.
        """
        new, old = self.ratio
        reach = -(-SIDELOBES * max(new, old) // new) + 1 if new != old else 0
        # a multiple of both units, so that old and new samples begin together
        units = max(0, start // new - -(-reach // old))
        first, last = units * old, min(self.frames, -(-stop * old // new) + reach)
        sound = self.read_frames(first, last)
        if new == old:
            return sound
        resampled = resample_poly(sound.astype(np.float64), new, old, axis=1)
        begin = start - units * new
        return resampled[:, begin : begin + stop - start].astype(np.float32)

    def frames_of(self, start: int, stop: int) -> tuple[int, int]:
        """Which frames of the file lie in the place of some samples at the new rate."""
        new, old = self.ratio
        return start * old // new, min(self.frames, -(-stop * old // new))

    def read_frames(self, first: int, last: int) -> NDArray[np.float32]:
        """Some samples as the file holds them, shape (channels, last - first).

        Raises:
            InputError: If they cannot be read.
        """
        # opened each time: what a decoder makes of a sample may depend on what it has read before
        with opened(self.path) as file:
            file.seek(first)
            found: NDArray[np.float32] = file.read(last - first, dtype="float32", always_2d=True)
        if len(found) < last - first:
            raise InputError(
                f"{self.path}: the recording ends after {(first + len(found)) / self.rate:.3f} s, "
                f"not after {self.frames / self.rate:.3f} s as its header says; copy it again"
            )
        return np.ascontiguousarray(found.T)
