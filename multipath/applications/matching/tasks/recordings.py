"""A folder of recordings as data: read, brought to one length and rate, labelled and split."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from multipath._internal.names import visible
from multipath.applications.audio.files import (
    check_rate,
    check_waveform,
    find_recordings,
    read_audio,
    resample,
)
from multipath.applications.synths.tr808 import TR808Synth
from multipath.errors import ConfigurationError, InputError

from .data import SPLITS
from .drum_types import guess_type, read_labels, split_by_type

log = logging.getLogger(__name__)

LABELS = "labels.csv"

SHORTEST = 0.005
"""Seconds: a recording with less sound is refused."""


@dataclass(frozen=True)
class Recordings:
    """Sounds of one length and rate, each with its name, its type and its place in a split.

    Args:
        sounds: Shape (count, n_samples), full scale at 1.
        names: Where each comes from: its path inside the folder.
        types: What each is: the type of drum.
        splits: Indices of the training, validation and test sounds, by name of the split.
        sample_rate: In Hz.
        theta: Parameters of each, shape (count, U), where a synthesizer made them.
    """

    sounds: Tensor
    names: tuple[str, ...]
    types: tuple[str, ...]
    splits: dict[str, Tensor]
    sample_rate: float
    theta: Tensor | None = None

    def __len__(self) -> int:
        """How many."""
        return len(self.names)


def load_recordings(
    folder: str | Path,
    *,
    n_samples: int = 44100,
    sample_rate: int = 44100,
    trim: float | None = None,
    refuse_bad_files: bool = False,
    seed: int = 0,
) -> Recordings:
    """Read all recordings under a folder, in the order of their names.

    Each is mixed down to one channel, resampled, trimmed if asked, and cut or padded with zeros at
    its end to ``n_samples``.

    Its type is what ``labels.csv`` (columns ``file`` and ``drum``) in the folder says, or else the
    name of the sub-folder it lies in, or else the letters that its name begins with ("BD 01.wav",
    "snare_3.flac"), or else "unknown".

    Args:
        folder: Holds WAV, FLAC, OGG, MP3 or AIFF files, in sub-folders too.
        n_samples: Length to bring them to.
        sample_rate: Rate to bring them to, in Hz, up to 1 MHz.
        trim: Drop leading samples that are this many dB or more below the peak, e.g. 60. Default:
            keep all.
        refuse_bad_files: Refuse the folder if a file is damaged, silent, shorter than 5 ms or
            otherwise refused by :func:`~.audio.read_audio`. Default: such files are left out, with
            a warning in the log that names each.
        seed: Decides the split, see :func:`~.drum_types.split_by_type`.

    Raises:
        ConfigurationError: If a setting is out of range.
        InputError: If there is no such folder, fewer than three recordings in it can be used,
            ``labels.csv`` cannot be read, or a bad file is refused.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multipath.applications.audio.files import write_audio
        >>> with TemporaryDirectory() as folder:
        ...     for number in range(5):
        ...         tone = torch.sin(0.1 * (number + 1) * torch.arange(4000))
        ...         write_audio(Path(folder, f"BD {number}.wav"), tone, 22050)
        ...     drums = load_recordings(folder, n_samples=10000)
        >>> drums.sounds.shape, drums.types[0], drums.names[0]
        (torch.Size([5, 10000]), 'BD', 'BD 0.wav')
        >>> {split: len(indices) for split, indices in drums.splits.items()}
        {'train': 3, 'validation': 1, 'test': 1}
    """
    if n_samples < 1:
        raise ConfigurationError(f"n_samples must be positive, got {n_samples}")
    check_rate(sample_rate, "sample_rate", ConfigurationError)
    if trim is not None and not trim > 0:
        raise ConfigurationError(f"trim must be a positive number of dB, got {trim}")
    folder = Path(folder)
    paths = find_recordings(folder)
    labels = read_labels(folder / LABELS)
    sounds: dict[str, Tensor] = {}
    for path in paths:
        try:
            sound = _read(path, n_samples, sample_rate, trim)
        except InputError as error:
            if refuse_bad_files:
                raise
            log.warning("left out: %s", visible(error))
        else:
            sounds[path.relative_to(folder).as_posix()] = sound
    if len(sounds) < len(SPLITS):
        raise InputError(
            f"{folder}: at least {len(SPLITS)} usable recordings are needed, one to train, one to "
            f"validate and one to test; got {len(sounds)} of {len(paths)}"
        )
    for name in sorted(labels.keys() - {path.relative_to(folder).as_posix() for path in paths}):
        log.warning("%s names %s, which is not there", *map(visible, (folder / LABELS, name)))
    types = tuple(labels.get(name) or guess_type(name) for name in sounds)
    return Recordings(
        torch.stack(list(sounds.values())),
        tuple(sounds),
        types,
        split_by_type(types, seed=seed),
        float(sample_rate),
    )


def synthetic_recordings(synth: TR808Synth, count: int, *, seed: int = 0) -> Recordings:
    """Drums that the synthesizer itself made, with parameters uniform in [0, 1].

    A stand-in for recordings that a synthesizer can match perfectly, and whose ``theta`` is known.

    Args:
        synth: Renders them.
        count: How many, at least 3.
        seed: Decides the parameters, the noise and the split.

    Raises:
        ConfigurationError: If ``count`` is less than 3.

    Example:
        >>> drums = synthetic_recordings(TR808Synth(n_samples=1000), 5)
        >>> drums.sounds.shape, drums.theta.shape, drums.types[0]
        (torch.Size([5, 1000]), torch.Size([5, 14]), 'synthetic')
    """
    if count < len(SPLITS):
        raise ConfigurationError(f"count must be at least {len(SPLITS)}, got {count}")
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(count, len(synth.parameter_names), generator=generator)
    seeds = torch.randint(2**31, (count,), generator=generator)
    place = synth.time.device
    with torch.no_grad():
        sounds = [
            synth(some.to(place), torch.stack([noise, torch.zeros_like(noise)], dim=1)).cpu()
            for some, noise in zip(theta.split(16), seeds.split(16), strict=True)
        ]
    types = ("synthetic",) * count
    names = tuple(f"{index:04d}" for index in range(count))
    splits = split_by_type(types, seed=seed)
    return Recordings(torch.cat(sounds), names, types, splits, synth.sample_rate, theta)


def _read(path: Path, n_samples: int, sample_rate: int, trim: float | None) -> Tensor:
    waveform, rate = read_audio(path, mono=True)
    waveform = resample(waveform, rate, sample_rate)
    if trim is not None:
        loud = waveform.abs() > waveform.abs().max() * 10 ** (-trim / 20)
        waveform = waveform[int(loud.int().argmax()) :]
    if len(waveform) < SHORTEST * sample_rate:
        raise InputError(
            f"{path}: the recording is too short: {1000 * len(waveform) / sample_rate:.3g} ms "
            f"of sound, at least {1000 * SHORTEST:g} ms are needed"
        )
    waveform = waveform[:n_samples]
    check_waveform(waveform, f"{path}, the first {n_samples} samples (trim drops silence)")
    return torch.nn.functional.pad(waveform, (0, n_samples - len(waveform)))
