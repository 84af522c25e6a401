"""The second layer of a scattering transform: from spectra of moduli to averaged coefficients.

As in the first layer, forward and adjoint are written by hand, tile by tile; here nothing is kept
for the gradient, which computes each tile once more. Derivatives of the gradient go through the
same steps in differentiable form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._analytic import divide_by_modulus_, modulus, quick_modulus
from ._average import StridedAverage
from ._tiles import tile_numbers


@dataclass(frozen=True)
class Branch:
    """What becomes of the first layer under one second-order wavelet.

    Attributes:
        modulate: Band-passes moduli with that wavelet: from their spectra to real and imaginary
            plane, shape (batch, 2, rows, samples), differentiable twice.
        average: What follows the modulus.
        mixing: A complex filter bank along the rows, shape (2, 2 * rows, rows out): what real and
            imaginary rows, one after the other, give to real and to imaginary rows out. None
            leaves the rows as they are.
    """

    modulate: Callable[[Sequence[Tensor]], Tensor]
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

    def tiles(self, modulated: Tensor) -> Iterator[tuple[tuple[Any, ...], tuple[slice, slice]]]:
        """What to treat at once: many signals, or one and some of its frames.

        Yields:
            Where it lies in what is modulated, and where in (signals, frames).
        """
        average = self.average
        rows = modulated.shape[2] if self.mixing is None else self.mixing.shape[2]
        most = tile_numbers(modulated.device) // (2 * rows)
        signals = max(1, most // (average.n_frames * average.stride))
        frames = min(average.n_frames, max(1, most // average.stride))
        for first in range(0, len(modulated), signals):
            for start in range(0, average.n_frames, frames):
                stop = min(start + frames, average.n_frames)
                samples = slice(start * average.stride, stop * average.stride)
                some = slice(first, first + signals)
                yield (some, ..., samples), (some, slice(start, stop))


def averaged_moduli(
    branch: Branch, spectra: Sequence[Tensor], joint: Sequence[Tensor] | None = None
) -> Tensor:
    """Average over time of the moduli at the end of a branch.

    Args:
        branch: The second-order wavelet and what follows it.
        spectra: From the first layer, each (batch, rows, bins), with gradient.
        joint: The same followed by those of signals of which no gradient is wanted.

    Returns:
        Shape (batch, frames kept, rows out), of the joint batch if there is one.
    """
    joint = [s.detach() for s in spectra] if joint is None else joint
    result: Tensor = _AveragedModuli.apply(branch, joint, *spectra)  # type: ignore[no-untyped-call]
    return result


class _AveragedModuli(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, branch: Branch, joint: Sequence[Tensor], *spectra: Tensor) -> Tensor:
        ctx.branch = branch
        ctx.save_for_backward(*spectra)
        average = branch.average
        modulated = branch.modulate(joint)
        products = []
        for place, _ in branch.tiles(modulated):
            moduli = quick_modulus(*branch.mix(modulated[place]))
            products.append(average.project(moduli, branch.rows_first))
        return average.gather(_joined(products, average.n_frames))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        branch, average = ctx.branch, ctx.branch.average
        saved = ctx.saved_tensors
        gradient = gradient[: len(saved[0])]
        if torch.is_grad_enabled():
            real, imaginary = branch.mix(branch.modulate(saved))
            moduli = modulus(torch.stack([real, imaginary], dim=1))
            averaged = average(moduli, branch.rows_first)
            return None, None, *torch.autograd.grad(averaged, saved, gradient, create_graph=True)
        with torch.enable_grad():
            spectra = [spectrum.detach().requires_grad_() for spectrum in saved]
            modulated = branch.modulate(spectra)
        back = torch.empty_like(modulated)
        products = average.gather_adjoint(gradient)
        largest = torch.finfo(gradient.dtype).max
        for place, frames in branch.tiles(modulated):
            real, imaginary = branch.mix(modulated.detach()[place])
            moduli = average.project_adjoint(products[frames], branch.rows_first)
            scale = divide_by_modulus_(moduli, quick_modulus(real, imaginary))
            scale.clamp_(-largest, largest)  # zero times this where the modulus is zero
            back[place] = branch.mix_adjoint(real * scale, imaginary * scale)
        return None, None, *torch.autograd.grad(modulated, spectra, back)


def _joined(products: Sequence[Tensor], n_frames: int) -> Tensor:
    """Tiles of (signals, frames, ...) put together."""
    if products[0].shape[1] == n_frames:
        return torch.cat(list(products)) if len(products) > 1 else products[0]
    per_signal = -(-n_frames // products[0].shape[1])
    rows = [
        torch.cat(list(products[i : i + per_signal]), dim=1)
        for i in range(0, len(products), per_signal)
    ]
    return torch.cat(rows)
