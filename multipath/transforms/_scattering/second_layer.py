"""The second layer of a scattering transform: from spectra of moduli to averaged coefficients.

As in the first layer, forward and adjoint are written by hand, tile by tile, and the gradient needs
the direction of each complex sample. Directions are kept where rows are not mixed. Mixed rows are
many more than those of the first layer: nothing is kept of them, and the gradient computes each
tile again. Derivatives of the gradient go through the same steps in differentiable form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

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
from multipath.transforms._numerics.tiles import SignalTiles, signal_tiles, tile_size

from .modulation import Modulation
from .products import product
from .readings import Reading


@dataclass(frozen=True)
class Branch:
    """What becomes of the first layer under one second-order wavelet.

    Attributes:
        modulate: Band-passes moduli with that wavelet.
        average: The averaging over time that follows the modulus, if any.
        mixing: A complex filter bank along the rows as a real matrix of shape (2 * rows out,
            2 * rows), from real rows followed by imaginary ones to the same. None leaves the rows
            as they are.
    """

    modulate: Modulation
    average: Reading
    mixing: Tensor | None = None

    @property
    def rows(self) -> int:
        """Number of rows out."""
        return self.modulate.rows if self.mixing is None else len(self.mixing) // 2

    def mix(self, planes: Tensor) -> Tensor:
        """Filter planes (2, rows, samples) along the rows, giving (2, rows out, samples)."""
        if self.mixing is None:
            return planes
        return product(self.mixing, planes.flatten(0, 1)).view(2, -1, planes.shape[-1])

    def mix_adjoint(self, planes: Tensor) -> Tensor:
        """The adjoint of :meth:`mix`."""
        if self.mixing is None:
            return planes
        return product(self.mixing.mT, planes.flatten(0, 1)).view(2, -1, planes.shape[-1])

    def batches(self, n_signals: int, wanted: int, device: torch.device) -> SignalTiles:
        """Which signals to treat at once: as many as fit into a tile, or one."""
        rows = max(self.rows, self.modulate.rows)
        size = tile_size(2 * rows * self.average.n_frames * self.average.stride, device)
        return signal_tiles(n_signals, size, wanted)

    def tiles(self, n_samples: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
        """Which frames to treat at once, a tile of rows out, and the samples they are made of.

        The samples of several signals follow one another, so that a tile may cross from one signal
        to the next: frames hold whole strides.
        """
        stride = self.average.stride
        n_frames = n_samples // stride
        size = tile_size(2 * self.rows * stride, device)
        for start in range(0, n_frames, size):
            stop = min(start + size, n_frames)
            yield slice(start, stop), slice(start * stride, stop * stride)


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
        found = [_average(branch, joint, wanted) for branch in branches]
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
            if branch.mixing is None:
                _add_adjoint(branch, directions, gradient, sums)
            else:
                _add_mixed_adjoint(branch, spectra, gradient, sums)
        return None, None, *sums


def _average(branch: Branch, joint: Sequence[Tensor], wanted: int) -> tuple[Tensor, list[Tensor]]:
    """Averages of the moduli of a branch, and directions to keep for the gradient."""
    average = branch.average
    found: list[Tensor] = []
    directions: list[Tensor] = []
    for signals, n_kept in branch.batches(len(joint[0]), wanted, joint[0].device):
        planes = branch.modulate(joint, signals)
        if branch.mixing is not None:
            samples_of_all = planes.flatten(2)
            sums = _joined(
                [
                    average.project(quick_modulus(*branch.mix(samples_of_all[..., samples])))
                    for _, samples in branch.tiles(samples_of_all.shape[-1], planes.device)
                ],
                dim=1,
            )
        elif n_kept:
            moduli, inverse = modulus_and_inverse(*planes)
            # the planes are not needed again: their memory holds the directions
            directions.append(planes[:, :, :n_kept].mul_(inverse[:, :n_kept]))
            sums = average.project(moduli)
        else:
            sums = average.project(quick_modulus(*planes))
        sums = sums.reshape(branch.rows, planes.shape[2], average.n_frames, -1)
        found.append(average.gather(sums).transpose(0, 1))
    return _joined(found, dim=0), directions


def _differentiable_average(branch: Branch, spectra: Sequence[Tensor]) -> Tensor:
    """Averages of the moduli of a branch in plain operations, for further derivatives."""
    average = branch.average
    found = []
    for signals, _ in branch.batches(len(spectra[0]), 0, spectra[0].device):
        planes = branch.modulate.differentiable([s[signals] for s in spectra])
        shape, samples_of_all = planes.shape[2:], planes.flatten(2)
        sums = torch.cat(
            [
                average.project(modulus(branch.mix(samples_of_all[..., samples]).movedim(0, 1)))
                for _, samples in branch.tiles(samples_of_all.shape[-1], planes.device)
            ],
            dim=1,
        )
        sums = sums.reshape(branch.rows, shape[0], average.n_frames, -1)
        found.append(average.gather(sums).transpose(0, 1))
    return torch.cat(found)


def _add_adjoint(
    branch: Branch, directions: Sequence[Tensor], gradient: Tensor, found: Sequence[Tensor]
) -> None:
    """Add the adjoint of an average of unmixed rows, from directions that were kept."""
    start = 0
    for direction in directions:
        signals = slice(start, start + direction.shape[2])
        sums = branch.average.gather_adjoint(gradient[signals].transpose(0, 1))
        moduli = branch.average.project_adjoint(sums)
        branch.modulate.add_adjoint(direction * moduli, found, signals)
        start = signals.stop


def _add_mixed_adjoint(
    branch: Branch, spectra: Sequence[Tensor], gradient: Tensor, found: Sequence[Tensor]
) -> None:
    """Add the adjoint of an average of mixed rows, which are computed again."""
    average = branch.average
    largest = torch.finfo(gradient.dtype).max
    for signals, _ in branch.batches(len(gradient), 0, gradient.device):
        band_passed = branch.modulate(spectra, signals)
        planes = band_passed.flatten(2)
        sums = average.gather_adjoint(gradient[signals].transpose(0, 1)).flatten(1, 2)
        back = torch.empty_like(planes)
        for frames, samples in branch.tiles(planes.shape[-1], planes.device):
            mixed = branch.mix(planes[..., samples])
            moduli = average.project_adjoint(sums[:, frames])
            scale = moduli.mul_(inverse_modulus(*mixed))
            # finite, so that its product with a sample of modulus zero is zero, not NaN
            scale.clamp_(-largest, largest)
            back[..., samples] = branch.mix_adjoint(mixed.mul_(scale))
        branch.modulate.add_adjoint(back.view_as(band_passed), found, signals)


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    return torch.cat(list(parts), dim=dim) if len(parts) > 1 else parts[0]
