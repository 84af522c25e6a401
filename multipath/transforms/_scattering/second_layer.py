r"""The second layer of a scattering transform: from spectra of moduli to averaged coefficients.

As in the first layer, forward and adjoint are written by hand, tile by tile, and the gradient needs
the direction of each complex sample. Directions are kept where rows are not mixed. Mixed rows are
many more than those of the first layer: but for those of a few paths nothing is kept of them, and
the gradient computes each tile again. Derivatives of the gradient go through the same steps in
differentiable form.

As in the first layer, the mirror image of a signal saves samples. With c the centre of the mirror
and a wavelet of real spectrum, the modulated rows satisfy

.. math:: Y(2 c - t) = \overline{Y(t)}

and so do they after real filters along the rows; after a complex filter, the image of its modulus
is the modulus after the conjugate filter: rising and falling patterns change places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from multipath._internal.tracing import is_traced
from multipath.transforms._numerics.adjoints import (
    Gradients,
    by_hand,
    must_be_plain,
    through_plain,
)
from multipath.transforms._numerics.analytic import (
    inverse_modulus,
    modulus,
    modulus_and_inverse,
    quick_modulus,
)
from multipath.transforms._numerics.tiles import SignalTiles, largest_tile, signal_tiles, tile_size

from .blocks import Line
from .mixing import Mixing
from .modulation import Modulation
from .readings import Reading

# Directions of mixed rows are kept for the gradient up to so many numbers.
KEPT = 2**23


class Tile(NamedTuple):
    """Rows out that are treated at once.

    Attributes:
        rows: Which rows.
        line: Which samples of them are computed.
        pairs: Whether neighbours are images of one another.
    """

    rows: slice
    line: Line
    pairs: bool


@dataclass(frozen=True)
class Branch:
    """What becomes of the first layer under one second-order wavelet.

    Attributes:
        modulate: Band-passes moduli with that wavelet.
        average: The averaging over time that follows the modulus, if any.
        line: Which samples are computed of mixed rows whose mirror images are known, or all.
        mixing: Complex filters along the rows. None leaves the rows as they are.
    """

    modulate: Modulation
    average: Reading
    line: Line
    mixing: Mixing | None = None

    @property
    def rows(self) -> int:
        """Number of rows out."""
        return self.modulate.rows if self.mixing is None else self.mixing.rows

    @property
    def imaged(self) -> bool:
        """Whether mirror images save computing some of the mixed rows."""
        return self.mixing is not None and not self.line.whole and self.mixing.n_single < self.rows

    def batches(self, n_signals: int, wanted: int, device: torch.device) -> SignalTiles:
        """Which signals to treat at once: as many as fit into a tile, or one."""
        rows = max(self.rows, self.modulate.rows)
        return signal_tiles(n_signals, tile_size(2 * rows * self.line.length, device), wanted)

    def scratch(self, spectra: Sequence[Tensor], batches: SignalTiles) -> Tensor | None:
        """Buffer that several batches share; one batch alone frees its own sooner."""
        if len(batches) == 1:
            return None
        return self.modulate.scratch(spectra, largest_tile(batches))

    def tiles(self, n_signals: int, device: torch.device) -> list[Tile]:
        """Which rows out of so many signals to treat at once."""
        if self.mixing is None:
            return [Tile(slice(0, self.rows), self.line, False)]
        # pairs stay together
        size = max(2, tile_size(2 * n_signals * self.line.length, device))
        single = self.rows if self.line.whole else self.mixing.n_single
        paired = min(single + self.mixing.n_paired, self.rows)
        sections = [
            (0, single, Line.all(self.line.length), False),
            (single, paired, self.line, True),
            (paired, self.rows, self.line, False),
        ]
        return [
            Tile(slice(start, min(start + size, last)), line, pairs)
            for first, last, line, pairs in sections
            for start in range(first, last, size)
        ]

    def read(self, planes: Tensor, moduli: Callable[[Tensor], Tensor]) -> Tensor:
        """Averages (batch, rows out, frames kept) of modulated planes (2, rows, batch, samples).

        Args:
            planes: From :attr:`modulate`.
            moduli: Makes moduli (rows, batch, samples) of planes of some rows out.
        """
        tiles = self.tiles(planes.shape[2], planes.device)
        lines = lines_of(tiles, planes)
        del planes
        sums = []
        for tile in tiles:
            line = lines[tile.line]
            samples = moduli(line if self.mixing is None else self.mixing(line, tile.rows))
            sums.append(self.average.project(samples, tile.line, tile.pairs))
            del samples
        return self.average.gather(_joined(sums)).transpose(0, 1)


def lines_of(tiles: Iterable[Tile], planes: Tensor) -> dict[Line, Tensor]:
    """The samples of planes that tiles need."""
    return {line: line.cut(planes) for line in dict.fromkeys(tile.line for tile in tiles)}


def averaged_moduli(
    branches: Sequence[Branch], spectra: Sequence[Tensor], joint: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Averages over time of the moduli at the ends of branches.

    All branches together are one node of the graph, so that their gradients with respect to the
    same spectra add up in place.

    Args:
        branches: Second-order wavelets and what follows them.
        spectra: Spectra of the first layer, each (batch, rows, bins), with gradient.
        joint: The spectra, without gradient, followed by those of signals that want none.

    Returns:
        For each branch, averages (batch, rows out, frames kept), of the joint batch if given.
    """
    if any(map(is_traced, [*spectra, *(joint or ())])):
        return [_differentiable_average(branch, spectra) for branch in branches]
    joint = [s.detach() for s in spectra] if joint is None else joint
    result: Iterable[Tensor] = _AveragedModuli.apply(branches, joint, *spectra)  # type: ignore[no-untyped-call]
    return list(result)


class _AveragedModuli(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, branches: Sequence[Branch], joint: Sequence[Tensor], *spectra: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.branches, ctx.n_spectra = branches, len(spectra)
        wanted = len(spectra[0]) if any(ctx.needs_input_grad) else 0
        found = [
            _average(branch, joint, wanted, keeps)
            for branch, keeps in zip(branches, _kept(branches, wanted), strict=True)
        ]
        ctx.n_kept = [len(directions) for _, directions in found]
        ctx.save_for_backward(*spectra, *(kept for _, directions in found for kept in directions))
        ctx.set_materialize_grads(False)
        return tuple(averages for averages, _ in found)

    @staticmethod
    @by_hand
    def backward(ctx: Any, saved: Sequence[Tensor], *gradients: Tensor | None) -> Gradients:
        spectra, kept = saved[: ctx.n_spectra], iter(saved[ctx.n_spectra :])
        wanted = [
            (branch, gradient[: len(spectra[0])], directions)
            for branch, gradient, directions in zip(
                ctx.branches, gradients, [list(islice(kept, n)) for n in ctx.n_kept], strict=True
            )
            if gradient is not None
        ]
        if must_be_plain(*gradients):
            found = through_plain(
                lambda *spectra: [_differentiable_average(b, spectra) for b, *_ in wanted],
                spectra,
                [gradient for _, gradient, _ in wanted],
            )
            return None, None, *found
        sums = [torch.zeros_like(s, memory_format=torch.contiguous_format) for s in spectra]
        for branch, gradient, directions in wanted:
            if branch.mixing is None or directions:
                _add_adjoint(branch, directions, gradient, sums)
            else:
                _add_recomputed_adjoint(branch, branch.mixing, spectra, gradient, sums)
        return None, None, *sums


def _kept(branches: Sequence[Branch], wanted: int) -> Iterator[bool]:
    """Of which branches to keep directions, if a gradient is wanted of so many signals."""
    total = 0
    for branch in branches:
        if branch.mixing is None:
            yield True
            continue
        numbers = 2 * branch.rows * wanted * branch.line.length
        # where images save computing rows, there are many
        keeps = not branch.imaged and total + numbers <= KEPT
        total += keeps * numbers
        yield keeps


def _average(
    branch: Branch, joint: Sequence[Tensor], wanted: int, keeps: bool
) -> tuple[Tensor, list[Tensor]]:
    """Averages of the moduli of a branch, and directions for the gradient if they are kept."""
    found: list[Tensor] = []
    directions: list[Tensor] = []
    batches = branch.batches(len(joint[0]), wanted, joint[0].device)
    scratch = branch.scratch(joint, batches)
    for signals, n_kept in batches:

        def moduli(planes: Tensor, n_kept: int = n_kept) -> Tensor:
            if not (keeps and n_kept):
                return quick_modulus(*planes)
            found, inverse = modulus_and_inverse(*planes)
            kept = planes[:, :, :n_kept]
            # in place only if all of it is kept: a part would keep all its memory
            out = planes if n_kept == planes.shape[2] else None
            directions.append(torch.mul(kept, inverse[:, :n_kept], out=out))
            return found

        found.append(branch.read(branch.modulate(joint, signals, scratch), moduli))
    return _joined(found), directions


def _differentiable_average(branch: Branch, spectra: Sequence[Tensor]) -> Tensor:
    """Averages of the moduli of a branch in plain operations, for further derivatives."""
    return _joined(
        [
            branch.read(
                branch.modulate.differentiable([s[signals] for s in spectra]),
                lambda planes: modulus(planes.movedim(0, 1)),
            )
            for signals, _ in branch.batches(len(spectra[0]), 0, spectra[0].device)
        ]
    )


def _add_adjoint(
    branch: Branch, directions: Sequence[Tensor], gradient: Tensor, found: Sequence[Tensor]
) -> None:
    """Add the adjoint of an average, from directions that were kept."""
    start, remaining = 0, list(directions)
    while remaining:
        signals = slice(start, start + remaining[0].shape[2])
        sums = branch.average.gather_adjoint(gradient[signals].transpose(0, 1))
        if branch.mixing is None:
            planes = remaining.pop(0) * branch.average.project_adjoint(sums)
        else:  # in tiles of some rows
            shape = 2, branch.modulate.rows, *remaining[0].shape[2:]
            planes, done = remaining[0].new_zeros(shape), 0
            while done < branch.rows:
                direction = remaining.pop(0)
                rows = slice(done, done + direction.shape[1])
                moduli = branch.average.project_adjoint(sums[rows])
                branch.mixing.add_adjoint(direction * moduli, rows, planes)
                done = rows.stop
        branch.modulate.add_adjoint(planes, found, signals)
        start = signals.stop


def _add_recomputed_adjoint(
    branch: Branch,
    mixing: Mixing,
    spectra: Sequence[Tensor],
    gradient: Tensor,
    found: Sequence[Tensor],
) -> None:
    """Add the adjoint of an average of mixed rows, which are computed again."""
    average = branch.average
    largest = torch.finfo(gradient.dtype).max
    batches = branch.batches(len(gradient), 0, gradient.device)
    scratch = branch.scratch(spectra, batches)
    for signals, _ in batches:
        sums = average.gather_adjoint(gradient[signals].transpose(0, 1))
        tiles = branch.tiles(sums.shape[1], gradient.device)
        lines = lines_of(tiles, branch.modulate(spectra, signals, scratch))
        back = {line: torch.zeros_like(planes) for line, planes in lines.items()}
        for rows, line, pairs in tiles:
            mixed = mixing(lines[line], rows)
            moduli = average.project_adjoint(sums[rows], line, pairs)
            scale = moduli.mul_(inverse_modulus(*mixed))
            # finite, so that its product with a sample of modulus zero is zero, not NaN
            scale.clamp_(-largest, largest)
            mixing.add_adjoint(mixed.mul_(scale), rows, back[line])
        for line, planes in back.items():
            branch.modulate.add_adjoint(line.cut_adjoint(planes), found, signals)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]
