"""Short-time spectra: magnitudes of the frames of signals, and their gradients.

Forward and adjoint are written by hand, tile by tile. Only the direction of each bin is kept for
the gradient, and nothing where none is wanted. Derivatives of the gradient go through the same
steps in differentiable form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from multipath._internal.tracing import is_traced

from ._numerics.adjoints import Gradients, by_hand, must_be_plain, through_plain
from ._numerics.analytic import half_spectrum, modulus, peak_scale
from ._numerics.tiles import tile_size


@dataclass(frozen=True)
class Frames:
    """Where frames lie in a signal, in samples.

    A window shorter than the FFT lies in the middle of its frame, between zeros.

    Attributes:
        fft_size: Length of a frame.
        hop_size: Distance from one frame to the next.
        win_length: Length of the window.
    """

    fft_size: int
    hop_size: int
    win_length: int

    @property
    def n_bins(self) -> int:
        """Number of bins, from zero to half the sample rate."""
        return self.fft_size // 2 + 1

    @property
    def before(self) -> int:
        """Number of samples of a frame in front of its window."""
        return (self.fft_size - self.win_length) // 2

    @property
    def after(self) -> int:
        """Number of samples of a frame behind its window."""
        return self.fft_size - self.win_length - self.before

    def windowed(self, frames: Tensor) -> Tensor:
        """View of the samples of frames (..., fft_size) that are under the window."""
        return frames[..., self.before : self.before + self.win_length]

    def split(self, signals: Tensor) -> Tensor:
        """The samples under the windows, a view of shape (batch, frames, win_length)."""
        inner = signals[:, self.before : signals.shape[1] - self.after]
        return inner.unfold(1, self.win_length, self.hop_size)

    def merge(self, frames: Tensor, length: int) -> Tensor:
        """The adjoint of :meth:`split`: overlapping frames are added up.

        Frames are cut into pieces of one hop. The n-th pieces of all frames lie side by side in the
        signal without overlap, so that one addition per n does it.
        """
        count, hop = frames.shape[1], self.hop_size
        pieces = frames.split(hop, dim=2)
        rows = frames.new_zeros(len(frames), count + len(pieces) - 1, hop)
        for row, piece in enumerate(pieces):
            rows[:, row : row + count, : piece.shape[2]] += piece
        covered = (count - 1) * hop + self.win_length
        signals = frames.new_zeros(len(frames), length)
        signals[:, self.before : self.before + covered] = rows.flatten(1)[:, :covered]
        return signals

    def unpaired(self, bins: Tensor) -> Tensor:
        """View of the bins without a mirror image: bin 0, and the middle one of an even length."""
        return bins[..., :: self.fft_size // 2] if self.fft_size % 2 == 0 else bins[..., :1]


def magnitudes(signals: Tensor, window: Tensor, frames: Frames) -> Tensor:
    """Magnitudes of windowed frames; the gradient of a zero magnitude is zero, not NaN.

    Args:
        signals: Signals of at least one frame, shape (batch, samples).
        window: The window, shape (win_length,).
        frames: Where the frames lie.

    Returns:
        Shape (batch, bins, frames), laid out in memory frame by frame.
    """
    if is_traced(signals):
        return differentiable_magnitudes(signals, window, frames)
    result: Tensor = _Magnitudes.apply(signals, window, frames)  # type: ignore[no-untyped-call]
    return result


class _Magnitudes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signals: Tensor, window: Tensor, frames: Frames) -> Tensor:
        ctx.frames = frames
        views = frames.split(signals)
        scale = peak_scale(signals)
        count, bins = views.shape[1], frames.n_bins
        found = signals.new_empty(len(signals), count, bins)
        size = min(len(signals), tile_size(count * bins, signals.device))
        # allocated once: only the samples under the windows change from tile to tile
        padded = signals.new_empty(size, count, frames.fft_size)
        padded[..., : frames.before] = 0
        padded[..., frames.fft_size - frames.after :] = 0
        directions = []
        for part, view, gain in zip(
            found.split(size), views.split(size), scale.split(size), strict=True
        ):
            tile = padded[: len(part)]
            # the signal is scaled with the window: squares of quiet signals would underflow
            torch.mul(view, window / gain[:, None, None], out=frames.windowed(tile))
            spectrum = torch.fft.rfft(tile)
            squares = torch.view_as_real(spectrum).square()
            torch.add(squares[..., 0], squares[..., 1], out=part).sqrt_()
            if ctx.needs_input_grad[0]:
                # Where squares underflow, bins are tiny beside the peak: their directions may be
                # too short, but must be finite.
                inverse = part.clamp_min(torch.finfo(part.dtype).tiny ** 0.5).reciprocal_()
                directions.append(spectrum.mul_(inverse))
            part.mul_(gain[:, None, None])
        ctx.save_for_backward(signals, window, *directions)
        return found.transpose(1, 2)

    @staticmethod
    @by_hand
    def backward(ctx: Any, saved: Sequence[Tensor], gradient: Tensor) -> Gradients:
        signals, window, *directions = saved
        frames: Frames = ctx.frames
        if must_be_plain(gradient):
            found = through_plain(
                lambda x: [differentiable_magnitudes(x, window, frames)], [signals], [gradient]
            )
            return *found, None, None
        tiles = gradient.transpose(1, 2).split([len(direction) for direction in directions])
        parts = []
        for tile, direction in zip(tiles, directions, strict=True):
            spectrum = direction * tile
            # an unscaled real inverse counts all other bins twice: these are doubled, and the
            # window is halved
            frames.unpaired(spectrum).mul_(2)
            views = torch.fft.irfft(spectrum, n=frames.fft_size, norm="forward")
            views = frames.windowed(views).mul_(window / 2)
            parts.append(frames.merge(views, signals.shape[1]))
        return torch.cat(parts) if len(parts) > 1 else parts[0], None, None


def differentiable_magnitudes(signals: Tensor, window: Tensor, frames: Frames) -> Tensor:
    """:func:`magnitudes` in steps that can be differentiated twice."""
    scale = peak_scale(signals)[:, None, None]
    return modulus(_planes(signals, window / scale, frames)).transpose(1, 2) * scale


def spectrum(signals: Tensor, window: Tensor, frames: Frames) -> Tensor:
    """Real and imaginary parts of windowed frames, shape (batch, 2, bins, frames).

    Args:
        signals: As in :func:`magnitudes`.
        window: As in :func:`magnitudes`.
        frames: As in :func:`magnitudes`.
    """
    return _planes(signals, window, frames).transpose(2, 3)


def _planes(signals: Tensor, window: Tensor, frames: Frames) -> Tensor:
    """Real and imaginary parts, shape (batch, 2, frames, bins)."""
    views = frames.split(signals) * window
    padded = torch.nn.functional.pad(views, (frames.before, frames.after))
    return torch.view_as_real(half_spectrum(padded)).movedim(-1, 1)
