"""The second layer of a scattering transform: from spectra of moduli to averaged coefficients.

As in the first layer, forward and adjoint are written by hand, tile by tile; here nothing is kept
for the gradient, which computes each tile once more. Derivatives of the gradient go through the
same steps in differentiable form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._analytic import divide_by_modulus_, modulus, quick_modulus
from ._average import StridedAverage
from ._modulation import Modulation
from ._tiles import tile_size


@dataclass(frozen=True)
class Branch:
    """What becomes of the first layer under one second-order wavelet.

    Attributes:
        modulate: Band-passes moduli with that wavelet.
        average: What follows the modulus.
        mixing: A complex filter bank along the rows, shape (2, 2 * rows, rows out): what real and
            imaginary rows, one after the other, give to real and to imaginary rows out. None
            leaves the rows as they are.
    """

    modulate: Modulation
    average: StridedAverage
    mixing: Tensor | None = None

    @property
    def rows_first(self) -> bool:
        """Layout of what :meth:`mix` returns: rows before samples, unless they are mixed.

        Products that come out tall, samples first, run two to three times as fast as flat ones.
        """
        return self.mixing is None

    def mix(self, modulated: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary plane, (batch, rows, samples) or (batch, samples, rows out)."""
        if self.mixing is None:
            return modulated[:, 0], modulated[:, 1]
        rows = modulated.flatten(1, 2).mT
        return rows @ self.mixing[0], rows @ self.mixing[1]

    def mix_adjoint(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """The adjoint of :meth:`mix`."""
        if self.mixing is None:
            return torch.stack([real, imaginary], dim=1)
        rows = real @ self.mixing[0].T
        rows += imaginary @ self.mixing[1].T
        pairs: Tensor = rows.mT.unflatten(1, (2, -1))
        return pairs

    def batches(self, n_signals: int, device: torch.device) -> Iterator[slice]:
        """Signals to treat at once: as many as fit into a tile, or one."""
        rows = max(self.modulate.rows, 0 if self.mixing is None else self.mixing.shape[2])
        size = tile_size(2 * rows * self.average.n_frames * self.average.stride, device)
        for first in range(0, n_signals, size):
            yield slice(first, min(first + size, n_signals))

    def tiles(self, modulated: Tensor) -> Iterator[tuple[slice, slice]]:
        """Frames to treat at once, a tile of rows out, and the samples that they are made of."""
        rows = self.modulate.rows if self.mixing is None else self.mixing.shape[2]
        stride, n_frames = self.average.stride, self.average.n_frames
        size = tile_size(2 * rows * stride * len(modulated), modulated.device)
        for start in range(0, n_frames, size):
            stop = min(start + size, n_frames)
            yield slice(start, stop), slice(start * stride, stop * stride)


def averaged_moduli(
    branches: Sequence[Branch], spectra: Sequence[Tensor], joint: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Averages over time of the moduli at the ends of branches.

    All branches together are one step of the gradient, so that what they give to the same spectra
    is added up in place.

    Args:
        branches: Second-order wavelets and what follows them.
        spectra: From the first layer, each (batch, rows, bins), with gradient.
        joint: The same followed by those of signals of which no gradient is wanted.

    Returns:
        For each branch, shape (batch, frames kept, rows out), of the joint batch if there is one.
    """
    joint = [s.detach() for s in spectra] if joint is None else joint
    result: Iterable[Tensor] = _AveragedModuli.apply(branches, joint, *spectra)  # type: ignore[no-untyped-call]
    return list(result)


class _AveragedModuli(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, branches: Sequence[Branch], joint: Sequence[Tensor], *spectra: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.branches = branches
        ctx.save_for_backward(*spectra)
        ctx.set_materialize_grads(False)
        return tuple(_average(branch, joint) for branch in branches)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        wanted = [
            (branch, gradient[: len(saved[0])])
            for branch, gradient in zip(ctx.branches, gradients, strict=True)
            if gradient is not None
        ]
        if torch.is_grad_enabled():
            averages = [_differentiable_average(branch, saved) for branch, _ in wanted]
            found = torch.autograd.grad(
                averages, saved, [g for _, g in wanted], create_graph=True, allow_unused=True
            )
            return None, None, *found
        found = [torch.zeros_like(s, memory_format=torch.contiguous_format) for s in saved]
        for branch, gradient in wanted:
            for batch in branch.batches(len(gradient), gradient.device):
                _add_adjoint(branch, saved, gradient[batch], found, batch)
        return None, None, *found


def _average(branch: Branch, joint: Sequence[Tensor]) -> Tensor:
    average = branch.average
    found = []
    for batch in branch.batches(len(joint[0]), joint[0].device):
        modulated = branch.modulate(joint, batch)
        products = [
            average.project(quick_modulus(*branch.mix(modulated[..., samples])), branch.rows_first)
            for _, samples in branch.tiles(modulated)
        ]
        found.append(average.gather(_joined(products, dim=1)))
    return _joined(found, dim=0)


def _differentiable_average(branch: Branch, spectra: Sequence[Tensor]) -> Tensor:
    """The same, in steps that can be differentiated twice."""
    real, imaginary = branch.mix(branch.modulate.differentiable(spectra))
    return branch.average(modulus(torch.stack([real, imaginary], dim=1)), branch.rows_first)


def _add_adjoint(
    branch: Branch,
    spectra: Sequence[Tensor],
    gradient: Tensor,
    found: Sequence[Tensor],
    signals: slice,
) -> None:
    """Add to gradients with respect to the spectra, from that of the averages of some signals."""
    average = branch.average
    modulated = branch.modulate(spectra, signals)
    back = torch.empty_like(modulated)
    products = average.gather_adjoint(gradient)
    largest = torch.finfo(gradient.dtype).max
    for frames, samples in branch.tiles(modulated):
        real, imaginary = branch.mix(modulated[..., samples])
        moduli = average.project_adjoint(products[:, frames], branch.rows_first)
        scale = divide_by_modulus_(moduli, quick_modulus(real, imaginary))
        scale.clamp_(-largest, largest)  # zero times this where the modulus is zero
        back[..., samples] = branch.mix_adjoint(real * scale, imaginary * scale)
    branch.modulate.add_adjoint(back, found, signals)


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    return torch.cat(list(parts), dim=dim) if len(parts) > 1 else parts[0]
