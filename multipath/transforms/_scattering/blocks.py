r"""Filtering of signals in blocks, and the mirror images of what is computed.

A short wavelet sees little of a long signal: blocks that overlap by its reach are filtered by
transforms that fit into the nearest cache (overlap-save: Oppenheim and Schafer, Discrete-Time
Signal Processing). Where signals are mirrored at their ends, so are their moduli, since spectra of
wavelets are real:

.. math:: |x * \psi|(2 c - t) = |x(2 c - \cdot) * \psi|(t)

exactly, if the image of a sample that is kept is kept too. Then only the signal itself is filtered,
and a few samples around the seam of the circle, where the two mirror images meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from multipath._internal.tracing import is_traced
from multipath.transforms._numerics.adjoints import Gradients, by_hand

# A block has so many times the reach of the longest wavelet, but SHORTEST samples at least; blocks
# pay off for circles of so many blocks.
REACHES, SHORTEST, FEWEST = 16, 2**10, 6
# Parts of the circle begin at multiples of this, counted from where blocks begin: of any frame.
UNIT = 2**8


@dataclass(frozen=True)
class Circle:
    """A padded signal, which goes on periodically, and where it is mirrored.

    Attributes:
        length: Number of samples.
        centres: Twice the positions of the first and the last sample of the signal, where it is
            mirrored; None if it is not.
    """

    length: int
    centres: tuple[int, int] | None


@dataclass(frozen=True)
class Image:
    """A part of the circle that is the mirror image of another one.

    Attributes:
        start: The first sample of the image.
        stop: One past its last sample.
        centre: The sum of the positions of a sample and of its image.
    """

    start: int
    stop: int
    centre: int


@dataclass(frozen=True)
class Line:
    """Which samples of a circle are computed, and which are images of others.

    Samples from ``first`` to ``stop`` are the *run*; those around the end of the circle, which is
    its start, the *seam*. Run and seam, one after the other, are the *line*, which is all that is
    computed of a row. What lies between them is an image, of a part of the run.

    Attributes:
        length: Samples of the circle.
        first: The first sample of the run.
        stop: One past its last sample.
        before: The first sample of the seam.
        after: One past its last sample, counted from the start of the circle.
        images: The parts of the circle that are images.
    """

    length: int
    first: int
    stop: int
    before: int
    after: int = 0
    images: tuple[Image, ...] = ()

    @classmethod
    def all(cls, length: int) -> Line:
        """All samples of a circle."""
        return cls(length, 0, length, length)

    @classmethod
    def of(cls, circle: Circle, level: int, reach: int, unit: int = 1) -> Line:
        """Find the images in a circle of which one sample in 2^level is kept.

        Args:
            circle: The signal.
            level: One sample in 2^level is kept.
            reach: So many samples of those kept are seen by what is computed, each way.
            unit: Runs and images hold a multiple of so many samples, and so does the seam if both
                ends of the signal have an image.
        """
        length, factor = circle.length >> level, 1 << level
        left, right = circle.centres or (None, None)
        first, after, stop, before = 0, 0, length, length
        images = []
        if left is not None and left % factor == 0:
            first = (left // factor + 1) // 2
            after = (first - reach) % unit + reach
            images.append(Image(after, first, left // factor))
        if right is not None and right % factor == 0:
            wanted = right // factor // 2 + 1 - first
            stop = first + wanted + -wanted % unit
            before = length - reach - (length - reach - first) % unit
            images.append(Image(stop, before, right // factor))
        if stop > before or any(
            image.start >= image.stop
            or image.centre - image.stop + 1 < first
            or image.centre - image.start >= stop
            for image in images
        ):  # the signal is hardly longer than what is seen of it
            return cls.all(length)
        return cls(length, first, stop, before, after, tuple(images))

    @property
    def whole(self) -> bool:
        """Whether all samples are computed, in order."""
        return self.stop - self.first == self.length

    @property
    def split(self) -> int:
        """Where in the line the seam starts."""
        return self.stop - self.first

    @property
    def n_seam(self) -> int:
        """Samples of the seam."""
        return self.length + self.after - self.before

    @property
    def width(self) -> int:
        """Samples of the line."""
        return self.split + self.n_seam

    def originals(self, image: Image) -> slice:
        """The samples of the line that an image is made of, in reverse."""
        start = image.centre - image.stop + 1 - self.first
        return slice(start, start + image.stop - image.start)

    def cut(self, circle: Tensor) -> Tensor:
        """The line (..., width) of circles (..., samples)."""
        if self.whole:
            return circle
        run, before = circle[..., self.first : self.stop], circle[..., self.before :]
        return torch.cat([run, before, circle[..., : self.after]], dim=-1)

    def cut_adjoint(self, line: Tensor) -> Tensor:
        """The adjoint of :meth:`cut`: circles that are zero beyond the line."""
        if self.whole:
            return line
        circle = line.new_zeros(*line.shape[:-1], self.length)
        run, before, after = self._split(line)
        circle[..., self.first : self.stop] = run
        circle[..., self.before :] = before
        circle[..., : self.after] = after
        return circle

    def circle(self, line: Tensor, pairs: bool = False) -> Tensor:
        """The circle (..., samples) from lines.

        Args:
            line: Shape (..., width).
            pairs: Whether rows, the first dimension, are pairs of neighbours whose images change
                places.
        """
        if self.whole:
            return line
        run, before, after = self._split(line)
        left, right = (
            [
                _reversed(run[..., self.originals(image)], pairs)
                for image in self.images
                if image.stop == end
            ]
            for end in (self.first, self.before)
        )
        return torch.cat([after, *left, run, *right, before], dim=-1)

    def circle_adjoint(self, gradient: Tensor, pairs: bool = False) -> Tensor:
        """The adjoint of :meth:`circle`."""
        line = self.cut(gradient)
        for image in self.images:
            into = line[..., self.originals(image)]
            into += _reversed(gradient[..., image.start : image.stop], pairs)
        return line

    def _split(self, line: Tensor) -> list[Tensor]:
        """The run, and the seam before and after the end of the circle."""
        return list(line.split([self.split, self.n_seam - self.after, self.after], dim=-1))


def _reversed(samples: Tensor, pairs: bool) -> Tensor:
    if not pairs:
        return samples.flip(-1)
    turned: Tensor = samples.unflatten(0, (-1, 2)).flip(1, -1).flatten(0, 1)
    return turned


@dataclass(frozen=True, kw_only=True)
class Blocks(Line):
    """A line that is computed in blocks, or in one block, which is the whole circle.

    Blocks follow one another from the first sample of the run to its last; one more gives the seam.
    Runs, seams and images hold a multiple of UNIT samples each.

    Attributes:
        level: One sample in 2^level is kept.
        size: Samples of a block.
        hop: Samples in the middle of a block that no edge has changed.
    """

    level: int
    size: int
    hop: int

    @classmethod
    def one(cls, level: int, length: int) -> Blocks:
        """One block, which is the whole circle."""
        return cls(
            length=length, first=0, stop=length, before=length, level=level, size=length, hop=length
        )

    @classmethod
    def design(cls, circle: Circle, level: int, reach: int) -> Blocks:
        """Choose blocks.

        Args:
            circle: The signal.
            level: One sample in 2^level is kept.
            reach: So many samples of those kept the longest wavelet sees, each way.
        """
        length = circle.length >> level
        size = max(SHORTEST, 1 << (REACHES * reach - 1).bit_length())
        if length < FEWEST * size or length % UNIT:
            return cls.one(level, length)
        hop = size - 2 * reach
        line = Line.of(circle, level, reach, UNIT)
        first, after, stop, before = line.first, line.after, line.stop, line.before
        if before == length:  # no image at the end of the signal
            # as many whole blocks as leave something for the seam, but not more than it can hold
            rest = length - first + after
            stop = first + (rest - 1) // hop * hop // UNIT * UNIT
            if length + after - stop > hop:
                stop += UNIT
            before = stop = min(stop, first + (length - first) // UNIT * UNIT)
        beyond = any(image.centre - image.start >= stop for image in line.images)
        if beyond or length + after - before > hop:  # hardly longer than its wavelets
            return cls.design(Circle(circle.length, None), level, reach)
        return cls(
            length=length,
            first=first,
            stop=stop,
            before=before,
            after=after,
            images=line.images,
            level=level,
            size=size,
            hop=hop,
        )

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.split // self.hop) + (not self.whole)

    @property
    def _margin(self) -> int:
        return (self.size - self.hop) // 2

    @cached_property
    def _starts(self) -> list[int]:
        """Samples of the signal that blocks start from, counted from the circle's first."""
        valid = [*range(self.first, self.stop, self.hop), self.before]
        return [(start - self._margin) << self.level for start in valid]

    @cached_property
    def _overhang(self) -> tuple[int, int]:
        """How far blocks reach beyond the first and the last sample of the circle."""
        end = max(self._starts) + (self.size << self.level)
        return max(0, -min(self._starts)), max(0, end - (self.length << self.level))

    def blocks(self, x: Tensor) -> Tensor:
        """Blocks (batch, blocks, samples) of padded signals (batch, samples)."""
        if self.whole:
            return x[:, None]
        blocks: Tensor = self._cut(x) if is_traced(x) else _Cut.apply(x, self)  # type: ignore[no-untyped-call]
        return blocks

    def _cut(self, x: Tensor) -> Tensor:
        size, (front, back) = self.size << self.level, self._overhang
        longer = torch.cat([x[:, x.shape[1] - front :], x, x[:, :back]], dim=1)
        return torch.stack(
            [longer[:, front + start : front + start + size] for start in self._starts], dim=1
        )

    def _cut_adjoint(self, gradient: Tensor) -> Tensor:
        size, length, (front, back) = gradient.shape[2], self.length << self.level, self._overhang
        longer = gradient.new_zeros(len(gradient), front + length + back)
        for start, block in zip(self._starts, gradient.unbind(1), strict=True):
            longer[:, front + start : front + start + size] += block
        found = longer[:, front : front + length]
        found[:, length - front :] += longer[:, :front]
        found[:, :back] += longer[:, front + length :]
        return found

    def valid(self, blocks: Tensor) -> Tensor:
        """The samples of blocks (..., samples) that no edge has changed."""
        return blocks[..., self._margin : self._margin + self.hop]

    def line(self, blocks: Tensor, reciprocal: bool = False) -> Tensor:
        """Lines (batch, rows, width) of valid samples of blocks (batch, blocks, rows, hop).

        Args:
            blocks: The samples.
            reciprocal: Whether one over them is wanted, which saves a pass.
        """
        if self.whole:
            return blocks[:, 0].reciprocal() if reciprocal else blocks[:, 0]
        line = blocks.new_empty(len(blocks), blocks.shape[2], self.width)
        for part, samples in self._parts(line, blocks):
            if reciprocal:
                torch.reciprocal(samples, out=part)
            else:
                part.copy_(samples)
        return line

    def _parts(self, line: Tensor, blocks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Parts of the line and of blocks (batch, blocks, ..., rows, hop) that correspond.

        They are whole blocks, (batch, blocks, rows, hop), the last block of the run and the seam.
        """
        n_whole, rest = divmod(self.split, self.hop)
        run = line[..., : n_whole * self.hop].unflatten(-1, (n_whole, self.hop))
        yield run.transpose(1, 2), blocks[:, :n_whole]
        if rest:
            yield line[..., self.split - rest : self.split], blocks[:, -2, ..., :rest]
        yield line[..., self.split :], blocks[:, -1, ..., : self.n_seam]

    def room(self, n_signals: int, n_rows: int, step: int, like: Tensor) -> Tensor:
        """Buffer for :meth:`line_adjoint` of up to so many signals, zero but where samples go."""
        shape = n_signals, self.n_blocks, 2, n_rows, step * self.size
        if step > 1:  # between samples, too
            return like.new_zeros(shape)
        room = like.new_empty(shape)
        if not self.whole:
            n_last = self.split - (self.n_blocks - 2) * self.hop
            room[..., : self._margin].zero_()
            for block, n_samples in (slice(-2), self.hop), (-2, n_last), (-1, self.n_seam):
                room[:, block, ..., self._margin + n_samples :].zero_()
        return room

    def line_adjoint(self, directions: Tensor, line: Tensor, room: Tensor) -> Tensor:
        """The adjoint of :meth:`line`, times directions: blocks (batch, blocks, 2, rows, samples).

        Args:
            directions: Shape (batch, blocks, 2, rows, hop).
            line: Shape (batch, rows, width).
            room: Buffer from :meth:`room`.
        """
        room = room[: len(line)]
        into = self.valid(room[..., :: room.shape[-1] // self.size])
        if self.whole:
            torch.mul(directions, line[:, None, None], out=into)
            return room
        for (part, out), (_, towards) in zip(
            self._parts(line, into), self._parts(line, directions), strict=True
        ):
            torch.mul(towards, part.unsqueeze(-3), out=out)
        return room


class _Cut(torch.autograd.Function):
    """Blocks of signals, with an adjoint that adds them up where they overlap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: Blocks) -> Tensor:
        ctx.blocks = blocks
        return blocks._cut(x)

    @staticmethod
    @by_hand
    def backward(ctx: Any, _: Any, gradient: Tensor) -> Gradients:
        return ctx.blocks._cut_adjoint(gradient), None
