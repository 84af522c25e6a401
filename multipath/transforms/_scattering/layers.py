"""What is asked of the first layer of a scattering transform, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from multipath.jets import JetOrder


@dataclass(frozen=True)
class Request:
    """What is wanted of the first layer.

    Attributes:
        rates: For each second-order wavelet n2 to be applied, the n1 that it is applied to.
        averaged: The n1 whose moduli will be averaged over the window.
        read: The n1 whose moduli are wanted themselves, or their means over the signal.
    """

    rates: Mapping[int, Sequence[int]]
    averaged: Sequence[int] = ()
    read: Sequence[int] = ()


@dataclass(frozen=True)
class Layout:
    """What is computed of some first-order moduli that are kept at one sampling rate.

    Attributes:
        level: One sample in 2^level is kept.
        rows: Indices n1 of the wavelets.
        n_bins: How many bins of their spectra, from bin 0 on.
        below: How many negative bins.
        read: The n1 that are read themselves.
    """

    level: int
    rows: tuple[int, ...]
    n_bins: int
    below: int
    read: tuple[int, ...]


@dataclass(frozen=True)
class SpectrumLayer:
    """Low bins of the spectra of first-order moduli that are kept at one sampling rate.

    Attributes:
        level: One sample in 2^level is kept.
        rows: Indices n1 of the wavelets.
        below: Number of negative bins, which come first.
        spectra: Shape (batch, len(rows), bins), with gradient.
        joint: The spectra, without gradient, followed by those of signals that want none.
        order: Which derivatives there are, if the batch consists of components of jets.
    """

    level: int
    rows: tuple[int, ...]
    below: int
    spectra: Tensor
    joint: Tensor
    order: JetOrder | None = None


@dataclass(frozen=True)
class ReadRows:
    """First-order moduli at their own rate, or their means over the signal.

    Attributes:
        rows: Indices n1 of the wavelets.
        values: Shape (batch, len(rows), samples), with gradient.
        joint: The values, without gradient, followed by those of signals that want none.
    """

    rows: tuple[int, ...]
    values: Tensor
    joint: Tensor


@dataclass(frozen=True)
class FirstLayer:
    """All that was computed of first-order moduli.

    Attributes:
        layers: Low bins of spectra.
        read: The moduli that are wanted themselves.
    """

    layers: list[SpectrumLayer]
    read: list[ReadRows]

    @property
    def joint(self) -> list[Tensor]:
        """All tensors, without gradient."""
        return [*(layer.joint for layer in self.layers), *(rows.joint for rows in self.read)]
