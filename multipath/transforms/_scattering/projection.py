"""Projections of frames of signals of which some samples are mirror images of others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .blocks import Image, Line
from .products import product, products


@dataclass(frozen=True)
class Projection:
    """Frames around a circle, from the first sample of the run on, projected on a few vectors.

    Frames of an image are projected on the vectors in reverse, without being made.

    Attributes:
        line: Which samples are computed. Runs, seams and images hold whole frames.
        basis: The vectors, shape (vectors, samples of a frame).
    """

    line: Line
    basis: Tensor

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
            parts.insert(place, ((image.stop - image.start) // self.frame, image))
        return parts

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
            next(remaining) if image is None else self._of_image(samples, image, pairs)
            for _, image in self.parts
        ]
        return torch.cat(parts, dim=-2)

    def _of_image(self, samples: Tensor, image: Image, pairs: bool) -> Tensor:
        originals = samples[..., self.line.originals(image)]
        frames = originals.flatten(0, -2).unflatten(-1, (-1, self.frame))
        found = products(frames, self.basis.flip(1).mT)
        return _turned(found.unflatten(0, samples.shape[:-1]), pairs)

    def adjoint(self, gradient: Tensor, pairs: bool = False) -> Tensor:
        """Gradient with respect to the samples."""
        parts = gradient.split([n for n, _ in self.parts], dim=-2)
        both = list(zip(parts, (image for _, image in self.parts), strict=True))
        computed = torch.cat([part for part, image in both if image is None], dim=-2)
        line = self._waves(computed, self.basis)
        for part, image in both:
            if image is not None:
                into = line[..., self.line.originals(image)]
                into += self._waves(_turned(part, pairs), self.basis.flip(1))
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
