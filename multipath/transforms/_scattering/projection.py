"""Projections of frames of signals of which some samples are mirror images of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from .blocks import Image, Line
from .products import product

# A frame that is off by more samples than these is too far from one of the grid to be made of it.
FARTHEST = 2


class Turn(NamedTuple):
    """How projections of the frames of an image follow from those of frames of the run.

    Attributes:
        frames: Which frames of the run, in reverse.
        shift: How many samples later than those frames the originals of the image start.
        matrix: Makes projections of a frame of the image from those of a frame of the run.
    """

    frames: slice
    shift: int
    matrix: Tensor


@dataclass(frozen=True)
class Projection:
    """Frames around a circle, from the first sample of the run on, projected on a few vectors.

    Frames of an image are projected on the vectors in reverse, without being made. If the vectors
    span slow waves, they are not even read: a wave in reverse, a sample earlier or later, is a wave
    too, so that a small matrix makes projections of a frame of the image from those of the frame
    that it is an image of. Where the two grids of frames are a sample apart, one frame begins or
    ends a sample too late, and another one too early, which is corrected.

    Attributes:
        line: Which samples are computed. Runs, seams and images hold whole frames.
        basis: The vectors, shape (vectors, samples of a frame).
        turned: The matrix of a :class:`Turn` by a shift, if the vectors span slow waves. Rows of
            such projections are not in pairs.
    """

    line: Line
    basis: Tensor
    turned: Callable[[int], Tensor] | None = None

    @property
    def frame(self) -> int:
        """Samples of a frame."""
        return self.basis.shape[1]

    @cached_property
    def parts(self) -> list[tuple[int, Image | None]]:
        """Number of frames of what follows one another around the circle, and images."""
        line = self.line
        parts: list[tuple[int, Image | None]] = [(line.split // self.frame, None)]
        if line.n_seam:
            parts.append((line.n_seam // self.frame, None))
        for image in line.images:
            place = 1 if image.start == line.stop else len(parts)
            parts.insert(place, (self._n_frames(image), image))
        return parts

    def __post_init__(self) -> None:
        # made together with the filters: a first visit under torch.func must serve later ones
        if self.turned is not None:
            _ = self.corrections

    @cached_property
    def turns(self) -> dict[Image, Turn]:
        """The images whose projections follow from those of the run."""
        if self.turned is None:
            return {}
        turns = {}
        for image in self.line.images:
            start, n_frames = self.line.originals(image).start, self._n_frames(image)
            shift = (start + self.frame // 2) % self.frame - self.frame // 2
            first = (start - shift) // self.frame
            within = first >= 0 and first + n_frames <= self.line.split // self.frame
            if within and abs(shift) <= FARTHEST:
                turns[image] = Turn(slice(first, first + n_frames), shift, self.turned(shift))
        return turns

    @cached_property
    def corrections(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """What turned frames miss, or have in excess: samples of the line, frames, and vectors."""
        found, place = [], 0
        for n_frames, image in self.parts:
            if image in self.turns:
                originals, shift = self.line.originals(image), self.turns[image].shift
                # at one end of the image, samples are missing, at the other one, as many in excess
                at_start = 1 if shift > 0 else -1
                for first, sign in (0, at_start), (n_frames * self.frame, -at_start):
                    for n in range(first + min(shift, 0), first + max(shift, 0)):
                        found.append((originals.stop - 1 - n, place * self.frame + n, sign))
            place += n_frames
        if not found:
            return None
        samples, positions, signs = torch.tensor(found, device=self.basis.device).unbind(dim=1)
        vectors = self.basis[:, positions % self.frame] * signs
        return samples, positions // self.frame % place, vectors.mT.contiguous()

    def _n_frames(self, image: Image) -> int:
        return (image.stop - image.start) // self.frame

    def __call__(self, samples: Tensor, pairs: bool = False) -> Tensor:
        """Projections (..., frames, vectors) of lines.

        Args:
            samples: Shape (..., width).
            pairs: Whether rows, the first dimension, are pairs of neighbours whose images change
                places.
        """
        found = product(samples.reshape(-1, self.frame), self.basis.mT)
        computed = found.reshape(*samples.shape[:-1], -1, len(self.basis))
        if not self.line.images:
            return computed
        remaining = iter(computed.split([n for n, image in self.parts if image is None], dim=-2))
        parts = [
            next(remaining) if image is None else self._of_image(samples, image, pairs, computed)
            for _, image in self.parts
        ]
        whole = torch.cat(parts, dim=-2)
        if self.corrections is None:
            return whole
        places, frames, vectors = self.corrections
        return whole.index_add(-2, frames, samples[..., places, None] * vectors)

    def _of_image(self, samples: Tensor, image: Image, pairs: bool, computed: Tensor) -> Tensor:
        turn = self.turns.get(image)
        if turn is not None:
            return computed[..., turn.frames, :].flip(-2) @ turn.matrix.mT
        originals = samples[..., self.line.originals(image)]
        found = product(originals.reshape(-1, self.frame), self.basis.flip(1).mT)
        return _turned(found.reshape(*samples.shape[:-1], -1, len(self.basis)), pairs)

    def adjoint(self, gradient: Tensor, pairs: bool = False) -> Tensor:
        """Gradient with respect to the samples."""
        parts = gradient.split([n for n, _ in self.parts], dim=-2)
        both = list(zip(parts, (image for _, image in self.parts), strict=True))
        computed = torch.cat([part for part, image in both if image is None], dim=-2)
        images = {image: part for part, image in both if image is not None}
        for image, turn in self.turns.items():
            computed[..., turn.frames, :] += images.pop(image).flip(-2) @ turn.matrix
        line = self._waves(computed, self.basis)
        for image, part in images.items():
            into = line[..., self.line.originals(image)]
            into += self._waves(_turned(part, pairs), self.basis.flip(1))
        if self.corrections is not None:
            places, frames, vectors = self.corrections
            line.index_add_(-1, places, (gradient[..., frames, :] * vectors).sum(dim=-1))
        return line

    def _waves(self, projections: Tensor, basis: Tensor) -> Tensor:
        samples = product(projections.reshape(-1, len(basis)), basis)
        return samples.reshape(*projections.shape[:-2], -1)


def _turned(frames: Tensor, pairs: bool) -> Tensor:
    """Frames (..., frames, vectors) in reverse; of pairs of rows, those of the other one."""
    if not pairs:
        return frames.flip(-2)
    turned: Tensor = frames.unflatten(0, (-1, 2)).flip(1, -2).flatten(0, 1)
    return turned
