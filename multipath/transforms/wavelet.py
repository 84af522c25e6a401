"""The discrete wavelet transform."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pywt

from multipath._internal.settings import positive
from multipath.paths import priced_paths

from ._dwt.extension import Mode
from ._dwt.subbands import Node, Subbands, check_tree, octave, work

ORIENTATIONS = {"h": "horizontal", "v": "vertical", "d": "diagonal"}
# The half kept along each axis (0 low, 1 high), rows' index first, in the order of PyWavelets.
DETAILS: dict[int, dict[str, Node]] = {
    1: {"d": (1,)},
    2: {"h": (1, 0), "v": (0, 1), "d": (1, 1)},
}


class WaveletTransform(Subbands):
    r"""Discrete wavelet transform of signals or images, one path per subband.

    .. math::
        a_{l}[k] = \sum_n h[n]\, a_{l-1}[2k + s - n], \qquad
        d_{l}[k] = \sum_n g[n]\, a_{l-1}[2k + s - n], \qquad a_0 = x

    with the filters h (low) and g (high) of a wavelet. The paths are the approximation
    :math:`a_L` and the details :math:`d_L, \dots, d_1`, an octave each. Coefficients are signed and
    linear in the signal, hence not invariant to shifts. With an orthogonal wavelet, periodization
    and a length divisible by 2^level, their squares sum to those of the signal. Images have three
    details per level: ``h`` (horizontal structures), ``v`` (vertical ones) and ``d`` (diagonal
    ones).

    Values and shapes are those of ``pywt.wavedec`` and ``pywt.wavedec2``.

    Args:
        wavelet: Name of a discrete wavelet of PyWavelets (``pywt.wavelist(kind="discrete")``) or a
            ``pywt.Wavelet``, which may have filters of your own.
        level: Number of octaves L to split off. It may be any for any length of signal, but beyond
            ``pywt.dwt_max_level`` the ends of the signal reach into every coefficient.
        mode: How signals continue beyond their ends, by PyWavelets' names: ``"periodization"``
            (periodically, with no more coefficients than needed), ``"periodic"``, ``"symmetric"``,
            ``"antisymmetric"``, ``"reflect"``, ``"constant"`` or ``"zero"``.
        signal_ndim: 1 for signals (..., T), 2 for images (..., H, W).
        sample_rate: Sample rate in Hz, only used in the path table. Default 1.0 (cycles/sample or
            pixel).

    Attributes:
        paths: Columns ``level``, ``low`` and ``high`` (Hz, ends of the octave); for images
            ``orientation``. Keys ``"a3"``, ``"d3"``, ``"d2"``, ``"d1"``; for images ``"a3"``,
            ``"h3"``, ``"v3"``, ``"d3"``, ``"h2"``, ...

    Raises:
        ConfigurationError: If the wavelet is unknown, or a setting out of range.

    Example:
        >>> transform = WaveletTransform("db2", level=3, sample_rate=8000.0)
        >>> print(transform.paths)
        index  key  level   low  high    cost
            0  a3       3     0   500   1.167
            1  d3       3   500  1000   1.167
            2  d2       2  1000  2000       1
            3  d1       1  2000  4000  0.6667
        >>> import torch
        >>> x = torch.arange(8.0)
        >>> [tuple(c.shape) for c in transform(x)]
        [(1,), (1,), (2,), (4,)]
        >>> torch.allclose(transform.inverse(transform(x), length=8), x, atol=1e-5)
        True

    Source: Mallat, A theory for multiresolution signal decomposition, IEEE Transactions on Pattern
    Analysis and Machine Intelligence 11(7), 1989; Lee et al., PyWavelets, JOSS 4(36), 2019.
    """

    def __init__(
        self,
        wavelet: str | pywt.Wavelet = "db4",
        level: int = 5,
        mode: Mode = "periodization",
        signal_ndim: int = 1,
        sample_rate: float = 1.0,
    ) -> None:
        level, signal_ndim = check_tree(level, mode, signal_ndim)
        sample_rate = positive("sample_rate", sample_rate, "Hz")
        rows = list(_rows(level, signal_ndim, sample_rate))
        paths = priced_paths((key, metadata, work(leaf)) for key, metadata, leaf in rows)
        super().__init__(paths, [leaf for *_, leaf in rows], wavelet, mode, signal_ndim)


def _rows(
    deepest: int, signal_ndim: int, sample_rate: float
) -> Iterator[tuple[str, dict[str, Any], Node]]:
    """Key, metadata and place in the tree of every subband."""
    low, high = octave(0, deepest, sample_rate)
    yield (
        f"a{deepest}",
        {"level": deepest, "low": low, "high": high},
        (0,) * (signal_ndim * deepest),
    )
    for level in range(deepest, 0, -1):
        low, high = octave(1, level, sample_rate)
        for letter, halves in DETAILS[signal_ndim].items():
            metadata: dict[str, Any] = {"level": level, "low": low, "high": high}
            if signal_ndim == 2:
                metadata["orientation"] = ORIENTATIONS[letter]
            yield f"{letter}{level}", metadata, (0,) * (signal_ndim * (level - 1)) + halves
