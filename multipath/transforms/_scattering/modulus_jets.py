r"""The moduli of scattering, with their derivatives in a few parameters.

Everything between two moduli is linear and treats the components of a jet alike; they meet in

.. math:: \partial_u |z| = \mathrm{Re}(\bar d\, \partial_u z), \qquad
    \partial_u \partial_v |z| = \mathrm{Re}(\bar d\, \partial_u \partial_v z)
    + \mathrm{Im}(\bar d\, \partial_u z)\, \mathrm{Im}(\bar d\, \partial_v z) / |z|

with the direction d = z / \|z\|, which is zero where z is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from multipath.jets import JetOrder
from multipath.transforms._numerics.analytic import modulus_and_inverse
from multipath.transforms._numerics.tiles import tile_size

from .first_layer import Plan, as_sources
from .second_layer import Branch


def modulus_jets(planes: Tensor, order: JetOrder) -> Tensor:
    """Moduli and their derivatives.

    Args:
        planes: Real and imaginary parts, shape (2, components, ...).
        order: Which derivatives there are.
    """
    real, imaginary = planes.unbind()
    modulus, inverse = modulus_and_inverse(real[0], imaginary[0])
    cosine, sine = real[0] * inverse, imaginary[0] * inverse
    found = (real * cosine).addcmul_(imaginary, sine)
    found[0] = modulus
    if order.order == 2:
        n = order.n_parameters
        turns = (imaginary[1 : 1 + n] * cosine).addcmul_(real[1 : 1 + n], sine, value=-1)
        shares = turns * inverse
        for component, (u, v) in zip(found[1 + n :], order.pairs, strict=True):
            component.addcmul_(turns[u], shares[v])
    return found


def read_modulus_jets(plan: Plan, spectra: Sequence[Tensor], order: JetOrder) -> list[Tensor]:
    """The jets of :func:`~.first_layer.read_moduli`.

    Args:
        plan: What to compute.
        spectra: For each section, spectra of the components of signals, jet after jet.
        order: Which derivatives there are.
    """
    found: list[Tensor] = []
    for section, spectrum in zip(plan, spectra, strict=True):
        sources = as_sources(spectrum)
        for group, readings in section.groups:
            # a tile holds whole jets, since their components meet in the modulus
            size = len(order) * tile_size(len(order) * group.numbers, spectrum.device)
            scratch = group.scratch(min(size, len(sources)), sources)
            read = [reading.empty(len(sources), len(group), spectrum) for reading in readings]
            for start in range(0, len(sources), size):
                part = sources[start : start + size]
                n_blocks = len(part) * group.blocks.n_blocks
                # (jets, components, blocks, 2, ...)
                planes = group.analyse(part, scratch[:n_blocks]).unflatten(0, (-1, len(order)))
                moduli = modulus_jets(planes.movedim((3, 1), (0, 1)), order)
                moduli = group.blocks.line(moduli.transpose(0, 1).flatten(0, 1))
                for reading, into in zip(readings, read, strict=True):
                    reading.read(moduli, into[start : start + size])
            found += [r.gather(projected) for r, projected in zip(readings, read, strict=True)]
    return found


def averaged_modulus_jets(branch: Branch, spectra: Sequence[Tensor], order: JetOrder) -> Tensor:
    """The jets of :func:`~.second_layer.averaged_moduli` for one branch.

    Args:
        branch: A second-order wavelet and what follows it.
        spectra: Spectra of the first layer, each (batch * components, rows, bins).
        order: Which derivatives there are.

    Returns:
        Shape (batch * components, rows out, frames kept).
    """

    def moduli(planes: Tensor) -> Tensor:
        return modulus_jets(planes.transpose(1, 2), order).transpose(0, 1)

    # jet by jet, since its components meet in the modulus
    jets = [slice(start, start + len(order)) for start in range(0, len(spectra[0]), len(order))]
    scratch = branch.modulate.scratch(spectra, len(order)) if len(jets) > 1 else None
    return torch.cat([branch.read(branch.modulate(spectra, jet, scratch), moduli) for jet in jets])
