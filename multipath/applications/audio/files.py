"""Recordings in and out: read, check, resample and write mono waveforms."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.signal import resample_poly
from torch import Tensor

from multipath._internal.files import write_bytes
from multipath._internal.settings import real
from multipath.errors import InputError, MultipathError

if TYPE_CHECKING:
    from soundfile import SoundFile

__all__ = [
    "SILENCE",
    "check_rate",
    "find_recordings",
    "opened",
    "playable",
    "read_audio",
    "read_channels",
    "resample",
    "write_audio",
]

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
"""Files in a folder with these suffixes are taken for recordings."""

#: Largest deviation from the mean (full scale = 1) that still counts as silence: -120 dB.
SILENCE = 1e-6

LOUDEST = 1e10
"""Largest sample. PCM of 32 bits kept as unscaled floats reaches 2e9, and sums of squares over a
whole recording still fit in single precision."""

LONGEST = 2**31
"""Numbers in a recording that is read at once: 13 hours in mono at 44.1 kHz."""

CANCELLED = 1e-3
"""Channels that leave less than this of their peak when they are mixed cancel out: -60 dB."""

HIGHEST_RATE = 1_000_000
"""Hz: beyond any recording of sound. The filter that resamples is as long as the rate is high."""

PLAYABLE = 8000
"""Hz: browsers refuse lower sample rates."""

# libsndfile reads what there is of a file that was cut off, and only mentions it in its log
CUT = {
    "bytes": r"(?:data|SSND)\s*: (?P<declared>\d+) \(should be (?P<held>\d+)\)",  # WAV, AIFF
    "samples": r"frame count (?P<held>\d+) .*'ds64' chunk of (?P<declared>\d+)",  # RF64
}
EMPTY = "the recording is empty; it needs at least one sample"
UNKNOWN_LENGTH = 0xFFFFFF00
"""Streams declare the largest number of bytes or thereabouts."""

FORMATS = {"AIF": "AIFF"}
"""Names of formats where they are not the suffix."""


def read_audio(path: str | Path, mono: bool = False) -> tuple[Tensor, int]:
    """Read a recording, and refuse one of which no distance can be computed.

    Args:
        path: A file that libsndfile can read (WAV, FLAC, OGG, MP3, AIFF, ...).
        mono: Mix several channels down to their mean instead of refusing them.

    Returns:
        The waveform, float32 of shape (T,) with full scale at 1, and its sample rate in Hz.

    Raises:
        InputError: If the file is missing, is not audio, is damaged, is empty, has several channels
            (unless ``mono``) or channels that cancel out, holds NaN, infinite, absurdly large
            (above 1e10) or only silent samples, or declares a sample rate above 1 MHz.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> with TemporaryDirectory() as folder:
        ...     write_audio(Path(folder, "tone.wav"), torch.sin(0.1 * torch.arange(800)), 8000)
        ...     waveform, sample_rate = read_audio(Path(folder, "tone.wav"))
        >>> waveform.shape, waveform.dtype, sample_rate
        (torch.Size([800]), torch.float32, 8000)
    """
    path = Path(path)
    channels, sample_rate = read_channels(path)
    n_channels = channels.shape[1]
    if n_channels > 1 and not mono:
        raise InputError(
            f"{path}: expected one channel, got {n_channels}; pass --mono (mono=True) to mix them"
        )
    each = torch.from_numpy(channels)
    waveform = each.mean(dim=1)
    peak, left = (float((x - x.mean(dim=0)).abs().max()) for x in (each, waveform))
    if left < CANCELLED * peak and peak >= SILENCE:
        raise InputError(
            f"{path}: the {n_channels} channels cancel out: they reach {peak:.3g}, and their mean "
            f"only {left:.3g}; invert one of them, or keep one alone"
        )
    check_waveform(waveform, str(path))
    return waveform, sample_rate


def read_channels(path: Path) -> tuple[NDArray[np.float32], int]:
    """Read a recording as it is.

    Args:
        path: A file that libsndfile can read.

    Returns:
        The channels, shape (T, channels) with full scale at 1, and the sample rate in Hz.

    Raises:
        InputError: If the file is missing, is not audio, is damaged, is empty, or declares a sample
            rate above 1 MHz.
    """
    with opened(path) as file:
        if file.frames * file.channels > LONGEST:  # a header may declare anything
            raise InputError(
                f"{path}: the recording declares {file.frames} samples of {file.channels} "
                f"channels, more than {LONGEST} in all; cut it, or repair its header"
            )
        channels = file.read(dtype="float32", always_2d=True)
        if not len(channels):
            raise InputError(f"{path}: {EMPTY}")
        return channels, int(file.samplerate)


@contextmanager
def opened(path: Path) -> Iterator[SoundFile]:
    """A recording that is open to be read, in whole or in part.

    Raises:
        InputError: As :func:`read_channels`; whatever goes wrong while the file is open means that
            it is damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; pass the path of a recording")
    import soundfile  # not needed to start the command line

    try:
        with path.open("rb") as stream, soundfile.SoundFile(stream) as file:  # of any name
            for unit, pattern in CUT.items():
                cut = re.search(pattern, file.extra_info)
                if cut and int(cut["held"]) < int(cut["declared"]) < UNKNOWN_LENGTH:
                    raise InputError(
                        f"{path}: the recording is cut off: it declares {cut['declared']} {unit} "
                        f"of sound and holds {cut['held']}; copy it again"
                    )
            if not file.frames:
                raise InputError(f"{path}: {EMPTY}")
            check_rate(file.samplerate, f"{path}: the sample rate in the header")
            yield file
    except InputError:
        raise
    except Exception as error:  # damaged content may be anything
        raise InputError(
            f"{path}: this is not a readable recording ({getattr(error, 'error_string', error)}); "
            "pass a WAV, FLAC or OGG file"
        ) from error


def find_recordings(folder: Path) -> list[Path]:
    """Paths of all audio files under a folder, hidden ones left out, sorted by name.

    Raises:
        InputError: If there is no such folder or no audio file in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; pass one that holds recordings")
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise InputError(
            f"{folder}: there is no recording in it; it must hold files that end in "
            f"{', '.join(SUFFIXES)}"
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def check_rate(
    rate: float, name: str = "a sample rate", error: type[MultipathError] = InputError
) -> None:
    """Refuse a sample rate that is not a whole number of Hz from 1 to ``HIGHEST_RATE``.

    Args:
        rate: The rate in Hz.
        name: What the message calls it.
        error: The class of the error to raise.

    Example:
        >>> check_rate(44100.5)
        Traceback (most recent call last):
        multipath.errors.InputError: a sample rate must be a whole number of Hz from ... got 44100.5
    """
    if not 1 <= real(rate) <= HIGHEST_RATE or rate != int(rate):
        raise error(f"{name} must be a whole number of Hz from 1 to {HIGHEST_RATE}, got {rate}")


def check_waveform(waveform: Tensor, name: str) -> None:
    """Refuse NaN, infinite or absurdly large samples and silence.

    Args:
        waveform: Samples of shape (T,).
        name: What the message calls the waveform.

    Raises:
        InputError: If a sample is not finite or beyond ``LOUDEST``, or the waveform is constant to
            within ``SILENCE``.
    """
    n_bad = int((~waveform.isfinite()).sum())
    if n_bad:
        raise InputError(
            f"{name}: expected finite samples, got {n_bad} NaN or infinite ones out of "
            f"{waveform.numel()}; repair or cut the recording"
        )
    peak = float(waveform.abs().max())
    if peak > LOUDEST:
        raise InputError(
            f"{name}: expected samples within {LOUDEST:g} (full scale is 1), got {peak:.3g}; scale "
            "the recording, or repair it"
        )
    if (waveform - waveform.mean()).abs().max() < SILENCE:
        raise InputError(
            f"{name}: the recording is silent (no sample leaves the mean by {SILENCE:g}); "
            "a distance to silence says nothing about sound"
        )


def resample(waveform: Tensor, rate: int, new_rate: int) -> Tensor:
    """Change the sample rate with a polyphase, zero-phase anti-aliasing filter.

    Args:
        waveform: Samples of shape (..., T).
        rate: Sample rate of ``waveform`` (Hz).
        new_rate: Sample rate to bring it to (Hz).

    Returns:
        Samples of shape (..., ceil(T * new_rate / rate)), of the same dtype.

    Raises:
        InputError: If a sample rate is not a whole number from 1 to 1 MHz, or the result does not
            fit in memory.

    Example:
        >>> tone = torch.sin(torch.arange(4410) * 0.05)
        >>> resample(tone, 44100, 22050).shape
        torch.Size([2205])
    """
    check_rate(rate)
    check_rate(new_rate)
    if rate == new_rate:
        return waveform
    common = gcd(int(rate), int(new_rate))
    samples = waveform.detach().cpu().numpy().astype(np.float64)
    up, down = int(new_rate) // common, int(rate) // common
    try:
        resampled = resample_poly(samples, up, down, axis=-1)
    except MemoryError as error:  # a rate of a few Hz, most likely by mistake
        raise InputError(
            f"{waveform.shape[-1]} samples at {rate} Hz are {waveform.shape[-1] * up // down} at "
            f"{new_rate} Hz, which do not fit in memory; cut the recording, or choose a lower rate"
        ) from error
    return torch.from_numpy(np.ascontiguousarray(resampled)).to(waveform)


def playable(waveform: Tensor, rate: int) -> tuple[Tensor, int]:
    """Resample to a rate that browsers play: the least multiple of its own of at least 8 kHz.

    Args:
        waveform: Samples of shape (T,).
        rate: Sample rate in Hz.

    Example:
        >>> playable(torch.zeros(300), 3000)[0].shape, playable(torch.zeros(300), 44100)[1]
        (torch.Size([900]), 44100)
    """
    new_rate = rate * -(-PLAYABLE // rate)
    return resample(waveform, rate, new_rate), new_rate


def write_audio(path: str | Path, waveform: Tensor | ArrayLike, sample_rate: int) -> None:
    """Write a mono waveform as 32-bit float, so that no sample is clipped or rounded.

    The file is written whole or not at all: an error leaves what was there before.

    Args:
        path: File to write; its suffix names the format (``.wav`` recommended).
        waveform: Samples of shape (T,).
        sample_rate: Sample rate (Hz).

    Raises:
        InputError: If ``waveform`` does not have shape (T,) or the format cannot hold it.
        OSError: If the file cannot be written.

    Example:
        >>> write_audio("tone.wav", torch.zeros(2, 100), 8000)
        Traceback (most recent call last):
        multipath.errors.InputError: expected a mono waveform of shape (T,), got shape (2, 100)
    """
    path = Path(path)
    if isinstance(waveform, Tensor):
        waveform = waveform.detach().cpu().numpy()
    samples = np.asarray(waveform, dtype=np.float32)
    if samples.ndim != 1:
        raise InputError(f"expected a mono waveform of shape (T,), got shape {samples.shape}")
    import soundfile

    try:
        kind = path.suffix.lstrip(".").upper()
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, int(sample_rate), "FLOAT", format=FORMATS.get(kind, kind))
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise InputError(f"{path}: the recording cannot be written ({error}); use .wav") from error
    write_bytes(path, _undated(buffer.getvalue()))


def _undated(content: bytes) -> bytes:
    """The content of a file without the time in it, so that equal recordings are equal files.

    libsndfile notes beside the peaks of samples in float, in the header of WAV, AIFF and the like,
    when it found them: the chunk has a name, its size, a version and the time, of four bytes each.
    """
    start = content.find(b"PEAK", 0, content.find(b"SSND" if content[:4] == b"FORM" else b"data"))
    return content if start < 0 else content[: start + 12] + bytes(4) + content[start + 16 :]
