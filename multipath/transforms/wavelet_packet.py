"""Wavelet packets."""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

import pywt

from multipath._internal.settings import MOST, affordable, choice, positive
from multipath.paths import Path

from ._dwt.extension import Mode
from ._dwt.subbands import Node, Subbands, check_tree, octave

# PyWavelets' letter for the halves of one level, indexed by the halves read as a binary number.
LETTERS = {1: ("a", "d"), 2: ("a", "v", "h", "d")}


class WaveletPacket(Subbands):
    r"""Wavelet packets of signals or images: bands of equal width, one path each.

    Where :class:`WaveletTransform` splits the lower half alone, packets split both halves at every
    level, into :math:`2^L` bands of 1/(2 * 2^L) cycles/sample each (:math:`4^L` for images). A
    band's *natural* name tells the way to it: ``"ad"`` is low, then high. Keeping every second
    sample of an upper half reverses the order of its frequencies, so that the *frequency* order
    differs from the natural one.

    Values and shapes are those of ``pywt.WaveletPacket`` and ``pywt.WaveletPacket2D``. Coefficients
    are signed and linear in the signal. A path is a leaf of the tree; the branches that paths have
    in common are computed once.

    Args:
        wavelet: Name of a discrete wavelet of PyWavelets, or a ``pywt.Wavelet``.
        level: Depth L of the tree.
        mode: As in :class:`WaveletTransform`.
        signal_ndim: 1 for signals (..., T), 2 for images (..., H, W).
        order: Order of the paths: ``"frequency"``, from low to high (for images along the height,
            then along the width), or ``"natural"``, by name as PyWavelets sorts them.
        sample_rate: Sample rate in Hz, only used in the path table. Default 1.0 (cycles/sample or
            pixel).

    Attributes:
        paths: Columns ``level``, ``band`` (position from low to high), ``low`` and ``high`` (Hz);
            for images ``row_band``, ``row_low``, ``row_high`` (frequency along the height),
            ``column_band``, ``column_low``, ``column_high`` (along the width) and ``orientation``
            of the structures that a band responds to. Keys are natural names. All paths cost the
            same.

    Raises:
        ConfigurationError: If the wavelet is unknown, or a setting out of range.

    Example:
        >>> transform = WaveletPacket("haar", level=2, sample_rate=8000.0)
        >>> print(transform.paths)
        index  key  level  band   low  high  cost
            0  aa       2     0     0  1000     1
            1  ad       2     1  1000  2000     1
            2  dd       2     2  2000  3000     1
            3  da       2     3  3000  4000     1
        >>> import torch
        >>> [round(c.item(), 3) for c in transform(torch.tensor([1.0, 1.0, 3.0, 3.0]))]
        [4.0, -2.0, 0.0, 0.0]

    Source: Coifman and Wickerhauser, Entropy-based algorithms for best basis selection, IEEE
    Transactions on Information Theory 38(2), 1992.
    """

    def __init__(
        self,
        wavelet: str | pywt.Wavelet = "db4",
        level: int = 4,
        mode: Mode = "periodization",
        signal_ndim: int = 1,
        order: Literal["frequency", "natural"] = "frequency",
        sample_rate: float = 1.0,
    ) -> None:
        level, signal_ndim = check_tree(level, mode, signal_ndim)
        affordable("paths", 2 ** (level * signal_ndim), MOST)
        sample_rate = positive("sample_rate", sample_rate, "Hz")
        order = choice("order", order, "frequency", "natural")
        leaves = list(product((0, 1), repeat=signal_ndim * level))
        if order == "natural":
            leaves.sort(
                key=lambda leaf: ["ahvd".index(letter) for letter in _name(leaf, signal_ndim)]
            )
        else:
            leaves.sort(key=lambda leaf: _bands(leaf, signal_ndim))
        paths = (
            Path(index, _name(leaf, signal_ndim), _describe(leaf, signal_ndim, sample_rate))
            for index, leaf in enumerate(leaves)
        )
        super().__init__(paths, leaves, wavelet, mode, signal_ndim)
        self.order = order

    def extra_repr(self) -> str:
        """Settings that ``print`` shows."""
        return f"{super().extra_repr()}, order={self.order!r}"


def _name(leaf: Node, signal_ndim: int) -> str:
    """The natural name, one letter per level."""
    steps = (leaf[start : start + signal_ndim] for start in range(0, len(leaf), signal_ndim))
    return "".join(LETTERS[signal_ndim][int("".join(map(str, step)), 2)] for step in steps)


def _bands(leaf: Node, signal_ndim: int) -> tuple[int, ...]:
    """Position from low to high frequencies along each axis."""
    return tuple(_position(leaf[axis::signal_ndim]) for axis in range(signal_ndim))


def _position(halves: Node) -> int:
    """Position of a band among those of its depth: halves are its digits in a Gray code."""
    position = turned = 0
    for half in halves:
        turned ^= half  # in a band of reversed frequencies, the lower half holds the higher ones
        position = 2 * position + turned
    return position


def _describe(leaf: Node, signal_ndim: int, sample_rate: float) -> dict[str, Any]:
    """Metadata of a band."""
    level = len(leaf) // signal_ndim
    bands = _bands(leaf, signal_ndim)
    metadata: dict[str, Any] = {"level": level}
    for axis, band in zip(("",) if signal_ndim == 1 else ("row_", "column_"), bands, strict=True):
        low, high = octave(band, level, sample_rate)
        metadata |= {f"{axis}band": band, f"{axis}low": low, f"{axis}high": high}
    if signal_ndim == 2 and any(bands):
        row, column = bands
        metadata["orientation"] = (
            "diagonal" if row == column else "horizontal" if row > column else "vertical"
        )
    return metadata
