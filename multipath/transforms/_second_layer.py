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
        modulate: Band-passes moduli with that wavelet: from their spectra to planes (batch, 2,
            rows, samples), differentiable twice.
        mixing: Real matrix (2 * rows out, 2 * rows) on real and imaginary rows: a complex filter
            bank along the rows. None leaves them as they are.
        average: What follows the modulus.
    """

    modulate: Callable[[Sequence[Tensor]], Tensor]
    mixing: Tensor | None
    average: StridedAverage

    def rows_out(self, modulated: Tensor) -> int:
        """How many rows come out of the mixing."""
        return modulated.shape[2] if self.mixing is None else len(self.mixing) // 2

    def mix(self, modulated: Tensor) -> Tensor:
        """Planes (batch, 2, rows out, samples)."""
        if self.mixing is None:
            return modulated
        mixed: Tensor = (self.mixing @ modulated.flatten(1, 2)).unflatten(1, (2, -1))
        return mixed

    def mix_adjoint(self, gradient: Tensor) -> Tensor:
        """The adjoint of :meth:`mix`."""
        if self.mixing is None:
            return gradient
        mixed: Tensor = (self.mixing.T @ gradient.flatten(1, 2)).unflatten(1, (2, -1))
        return mixed

    def tiles(self, modulated: Tensor) -> Iterator[tuple[slice, slice, slice]]:
        """Signals, samples and frames to treat at once: many signals, or one and a part of it."""
        n_signals, n_samples = len(modulated), modulated.shape[-1]
        rows, stride = self.rows_out(modulated), self.average.stride
        most = tile_numbers(modulated.device)
        signals = max(1, most // (2 * rows * n_samples))
        frames = min(n_samples // stride, max(1, most // (2 * rows * stride)))
        for first in range(0, n_signals, signals):
            for start in range(0, n_samples // stride, frames):
                stop = min(start + frames, n_samples // stride)
                yield (
                    slice(first, first + signals),
                    slice(start * stride, stop * stride),
                    slice(start, stop),
                )


def averaged_moduli(branch: Branch, spectra: Sequence[Tensor], n_kept: int) -> Tensor:
    """Average over time of the moduli at the end of a branch.

    Args:
        branch: The second-order wavelet and what follows it.
        spectra: From the first layer, each (batch, rows, bins).
        n_kept: Gradients are wanted of so many signals, the first ones in the batch.

    Returns:
        Shape (batch, rows out, frames kept).
    """
    result: Tensor = _AveragedModuli.apply(branch, n_kept, *spectra)  # type: ignore[no-untyped-call]
    return result


class _AveragedModuli(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, branch: Branch, n_kept: int, *spectra: Tensor) -> Tensor:
        ctx.branch, ctx.n_kept = branch, n_kept
        ctx.save_for_backward(*spectra)
        average = branch.average
        modulated = branch.modulate(spectra)
        products = modulated.new_empty(
            len(modulated), branch.rows_out(modulated), average.n_frames, average.n_delays
        )
        for signals, samples, frames in branch.tiles(modulated):
            moduli = quick_modulus(branch.mix(modulated[signals, ..., samples]))
            products[signals, :, frames] = average.project(moduli)
        return average.gather(products)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        branch, average = ctx.branch, ctx.branch.average
        all_spectra = ctx.saved_tensors
        gradient = gradient[: ctx.n_kept]
        twice = torch.is_grad_enabled()
        with torch.enable_grad():
            spectra = [spectrum[: ctx.n_kept] for spectrum in all_spectra]
            if not twice:
                spectra = [spectrum.detach().requires_grad_() for spectrum in spectra]
            modulated = branch.modulate(spectra)
            if twice:
                outputs = average(modulus(branch.mix(modulated)))
                found = torch.autograd.grad(outputs, all_spectra, gradient, create_graph=True)
                return None, None, *found
        largest = torch.finfo(gradient.dtype).max
        back = torch.empty_like(modulated)
        products = average.gather_adjoint(gradient)
        with torch.no_grad():
            for signals, samples, frames in branch.tiles(modulated):
                planes = branch.mix(modulated[signals, ..., samples])
                moduli = average.project_adjoint(products[signals, :, frames])
                scale = divide_by_modulus_(moduli, quick_modulus(planes))
                scale.clamp_(-largest, largest)  # where the modulus is zero, zero times this
                back[signals, ..., samples] = branch.mix_adjoint(planes * scale[:, None])
        found = torch.autograd.grad(modulated, spectra, back)
        return None, None, *(_pad_batch(g, len(s)) for g, s in zip(found, all_spectra, strict=True))


def _pad_batch(gradient: Tensor, n_signals: int) -> Tensor:
    if len(gradient) == n_signals:
        return gradient
    padded = gradient.new_zeros(n_signals, *gradient.shape[1:])
    padded[: len(gradient)] = gradient
    return padded
