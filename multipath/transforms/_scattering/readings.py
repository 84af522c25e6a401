"""What is read from moduli over time: averages, or the moduli themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multipath.transforms._numerics.rows import take

from .blocks import Blocks, Line
from .products import product

LONGEST_FRAME = 256  # samples that one matrix product sums


class Reading(ABC):
    """A linear map of the samples of real signals, in two steps that can be tiled.

    The signal is cut into frames of ``stride`` samples. :meth:`project` treats each frame alike, so
    that it can be given some frames of a signal, or those of several signals in a row;
    :meth:`gather` makes the outputs from the projections of all frames of one signal.

    Attributes:
        unit: Runs, seams and images of a line that is read hold a multiple of so many samples.
        stride: Samples in a frame.
        n_frames: Frames in a signal.
        n_kept: Outputs.
    """

    unit: int = 1
    stride: int
    n_frames: int
    n_kept: int

    def __call__(self, x: Tensor) -> Tensor:
        """What is read from (..., samples)."""
        return self.gather(self.project(x))

    def adjoint(self, gradient: Tensor) -> Tensor:
        """Gradient with respect to the samples, from that of what was read."""
        return self.project_adjoint(self.gather_adjoint(gradient))

    @abstractmethod
    def project(self, x: Tensor, line: Line | None = None, pairs: bool = False) -> Tensor:
        """Projections of each frame of (..., samples), shape (..., frames, projections).

        Args:
            x: Real signals.
            line: Which samples of them are given, if not all.
            pairs: Whether neighbours along the first dimension are images of one another.
        """

    @abstractmethod
    def project_adjoint(
        self, gradient: Tensor, line: Line | None = None, pairs: bool = False
    ) -> Tensor:
        """The adjoint of :meth:`project`."""

    @abstractmethod
    def gather(self, projections: Tensor) -> Tensor:
        """Outputs from the projections of all frames."""

    @abstractmethod
    def gather_adjoint(self, gradient: Tensor) -> Tensor:
        """The adjoint of :meth:`gather`."""


class Samples(Reading):
    """The samples themselves, some of those of a padded signal.

    Args:
        length: Number of samples.
        kept: Which of them to keep.
    """

    stride = 1

    def __init__(self, length: int, kept: range) -> None:
        self.n_frames, self.kept, self.n_kept = length, kept, len(kept)

    def project(self, x: Tensor, line: Line | None = None, pairs: bool = False) -> Tensor:
        """Add a dimension."""
        return (line.circle(x, pairs) if line else x).unsqueeze(-1)

    def project_adjoint(
        self, gradient: Tensor, line: Line | None = None, pairs: bool = False
    ) -> Tensor:
        """Drop that dimension."""
        samples = gradient.squeeze(-1)
        return line.circle_adjoint(samples, pairs) if line else samples

    def gather(self, projections: Tensor) -> Tensor:
        """Cut the padding off."""
        return projections[..., self.kept.start : self.kept.stop, 0]

    def gather_adjoint(self, gradient: Tensor) -> Tensor:
        """Put zeros in the place of the padding."""
        margins = self.kept.start, self.n_frames - self.kept.stop
        return torch.nn.functional.pad(gradient, margins).unsqueeze(-1)


class Mean(Reading):
    """The mean of some samples of a padded signal, one output.

    A frame gives the sum of all its samples, and those of the parts of it that are kept if the
    samples kept begin or end there.

    Args:
        length: Number of samples.
        kept: The samples to average.
        like: A tensor of the precision and device wanted.
    """

    n_kept = 1

    def __init__(self, length: int, kept: range, like: Tensor) -> None:
        self.stride = int(np.gcd(length, LONGEST_FRAME))
        self.n_frames = length // self.stride
        mask = np.zeros(length)
        mask[kept.start : kept.stop] = 1 / len(kept)
        frames = mask.reshape(self.n_frames, self.stride)
        # frames that are alike share a column: whole ones, empty ones, and at most two others
        columns, kinds = np.unique(frames, axis=0, return_inverse=True)
        weights = np.eye(len(columns))[kinds.reshape(-1)]
        self.columns = torch.as_tensor(columns.T, dtype=like.dtype, device=like.device)
        self.weights = torch.as_tensor(weights.reshape(-1, 1), dtype=like.dtype, device=like.device)

    def project(self, x: Tensor, line: Line | None = None, pairs: bool = False) -> Tensor:
        """Sums of each frame under each of the masks."""
        x = line.circle(x, pairs) if line else x
        sums = product(x.reshape(-1, self.stride), self.columns)
        return sums.reshape(*x.shape[:-1], -1, self.columns.shape[1])

    def project_adjoint(
        self, gradient: Tensor, line: Line | None = None, pairs: bool = False
    ) -> Tensor:
        """The adjoint of :meth:`project`."""
        samples = gradient.reshape(-1, self.columns.shape[1]) @ self.columns.mT
        samples = samples.reshape(*gradient.shape[:-2], -1)
        return line.circle_adjoint(samples, pairs) if line else samples

    def gather(self, projections: Tensor) -> Tensor:
        """The sum over frames, each under its own mask."""
        means: Tensor = projections.flatten(-2) @ self.weights
        return means

    def gather_adjoint(self, gradient: Tensor) -> Tensor:
        """The adjoint of :meth:`gather`."""
        spread: Tensor = (gradient * self.weights[:, 0]).unflatten(-1, (self.n_frames, -1))
        return spread


@dataclass(frozen=True)
class OfRows:
    """A reading of some rows of moduli.

    Attributes:
        blocks: Which samples of the moduli are computed.
        reading: What is read from each row.
        rows: Which rows, increasing.
        n_rows: How many rows there are.
    """

    blocks: Blocks
    reading: Reading
    rows: Sequence[int]
    n_rows: int

    def __call__(self, x: Tensor) -> Tensor:
        """What is read from (batch, rows, computed samples)."""
        return self.reading(self.blocks.circle(take(x, self.rows, dim=1)))

    def empty(self, n_signals: int, n_rows: int, like: Tensor) -> Tensor:
        """Where what is read from moduli of complex signals, such as ``like``, goes."""
        return like.real.new_empty(n_signals, len(self.rows), self.reading.n_kept)

    def read(self, x: Tensor, out: Tensor) -> None:
        """Write what is read from some signals to a part of an :meth:`empty` tensor."""
        out.copy_(self(x))

    def gather(self, read: Tensor) -> Tensor:
        """What is read of all signals, once all is written."""
        return read

    def gather_adjoint(self, gradient: Tensor) -> Tensor:
        """The adjoint of :meth:`gather`."""
        return gradient

    def adjoint(self, gradient: Tensor) -> Tensor:
        """Gradient with respect to all rows."""
        found = self.blocks.circle_adjoint(self.reading.adjoint(gradient))
        if len(self.rows) == self.n_rows:
            return found
        spread = found.new_zeros(len(found), self.n_rows, found.shape[-1])
        for row, part in zip(self.rows, found.unbind(1), strict=True):
            spread[:, row] = part
        return spread
