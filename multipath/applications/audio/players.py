"""Players of sounds for notebooks and pages: the sounds are in the page, not in files beside it."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Mapping
from html import escape

import torch
from torch import Tensor

from multipath._internal.names import visible
from multipath.errors import InputError

from .files import SILENCE, check_rate, playable

__all__ = ["Players", "data_uri"]

PEAK = 0.9
LARGEST = 32767
"""Of 16 bits."""


class Players:
    """Named sounds that a notebook, or a page of the gallery, plays where they end a cell.

    They keep their relative loudness: one gain brings the loudest sample of all to 0.9. Sounds at
    rates that browsers refuse are resampled (:func:`~.files.playable`).

    Args:
        sounds: Samples of each sound by its name, shape (T,), on any device, also with gradients.
        sample_rate: Sample rate of all, in Hz; a multiple of the true one plays them faster and
            higher.

    Raises:
        InputError: If there is no sound, one does not have shape (T,) or holds NaN or infinite
            samples, or the sample rate is not a whole number from 1 to 1 MHz.

    Example:
        >>> time = torch.arange(8000) / 8000
        >>> tones = {f"{f} Hz": torch.sin(2 * torch.pi * f * time) for f in (220, 440)}
        >>> players = Players(tones, sample_rate=8000)  # a notebook shows two players
        >>> players
        Players(220 Hz, 440 Hz)
    """

    def __init__(self, sounds: Mapping[str, Tensor], sample_rate: int) -> None:
        check_rate(sample_rate)
        if not sounds:
            raise InputError("there is no sound to play; pass samples by name")
        self.sample_rate = int(sample_rate)
        self.sounds: dict[str, Tensor] = {}
        for name, samples in sounds.items():
            samples = torch.as_tensor(samples).detach().cpu().float()
            if samples.ndim != 1 or not len(samples):
                raise InputError(
                    f"{name}: expected samples of shape (T,), got shape {tuple(samples.shape)}"
                )
            if not samples.isfinite().all():
                raise InputError(f"{name}: expected finite samples, got NaN or infinite ones")
            self.sounds[str(name)] = samples

    def __repr__(self) -> str:
        return f"Players({', '.join(self.sounds)})"

    def _repr_html_(self) -> str:
        """A player below the name of each sound."""
        loudest = max(float(x.abs().max()) for x in self.sounds.values())
        gain = PEAK / max(loudest, SILENCE)
        players = "".join(
            f'<figure style="margin:0"><figcaption>{escape(visible(name))}</figcaption>'
            f'<audio controls style="max-width:100%" src="{data_uri(gain * x, self.sample_rate)}">'
            "</audio></figure>"
            for name, x in self.sounds.items()
        )
        return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{players}</div>'


def data_uri(waveform: Tensor, sample_rate: int) -> str:
    """A sound as an address that holds it: a WAV file of 16 bits, at a rate that browsers play.

    Args:
        waveform: Samples of shape (T,), with full scale at 1; what lies beyond is clipped.
        sample_rate: Sample rate in Hz.

    Example:
        >>> data_uri(torch.zeros(800), 8000)[:22]
        'data:audio/wav;base64,'
    """
    samples, rate = playable(waveform, sample_rate)
    whole = (samples.clamp(-1.0, 1.0) * LARGEST).round().numpy().astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.tobytes())
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"
