"""Scattering of images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from multipath._internal.settings import MOST, affordable, choice, is_scalar, several, whole
from multipath.errors import ConfigurationError, InputError
from multipath.paths import check_indices, priced_paths

from ._numerics.analytic import peak_scale
from ._numerics.filters import FilterBuffers, vanishing_tails
from ._numerics.rows import take
from ._numerics.settings import highest_order, octaves
from ._scattering2d.fold import Filter, boxes, fold
from ._scattering2d.morlet import Wavelet, angle, averaging, frequency, morlet
from .base import Transform, check_signal, full_precision, working_dtype


class Scattering2D(Transform):
    r"""Scattering transform of images, orders 0, 1 and 2.

    .. math::
        \phi_{()}(x) = x * \varphi_J, \qquad
        \phi_{(n_1)}(x) = |x * \psi_{n_1}| * \varphi_J, \qquad
        \phi_{(n_1, n_2)}(x) = \big| |x * \psi_{n_1}| * \psi_{n_2} \big| * \varphi_J

    with Morlet wavelets of scale :math:`2^j` pixels and L angles, :math:`n = L j + \theta`, for all
    pairs with :math:`j_1 < j_2`. The first order tells how much there is of a *frequency* and
    direction, as in a histogram of gradients; the second order how that varies over the image, at
    another scale and angle, which is what makes a texture. Images are mirrored at their borders,
    or go on as ``border`` says; a path has one coefficient in :math:`2^J \times 2^J` pixels, shape
    (..., H / 2^J, W / 2^J) rounded down. Coefficients change little if the image is shifted or bent
    by less than :math:`2^J` pixels. Conventions are those of kymatio's ``Scattering2D``.

    Args:
        shape: (H, W), height and width of the images in pixels, both at least 2^J.
        J: Octaves of the filter bank; averages are over 2^J pixels.
        L: Angles, equally spaced over half a turn.
        max_order: The highest order, 1 or 2.
        border: How images go on beyond their borders: ``"reflect"`` mirrors them, ``"periodic"``
            repeats them, ``"zero"`` is black. Periodic images whose height and width are multiples
            of 2^J are not padded at all, which saves the work for the padding.

    Attributes:
        paths: Columns ``order``, ``j1``, ``theta1``, ``frequency1``, ``angle1`` and, of order 2,
            ``j2``, ``theta2``, ``frequency2``, ``angle2``: the scale 2^j in pixels, the number of
            the angle, the frequency in cycles/pixel, 3/8 * 2^-j, and the direction of the wave in
            degrees, 0 along the height and 90 along the width. Sorted by order, then n1, then n2.
            Keys ``()``, ``(n1,)``, ``(n1, n2)``. A path's cost is that of evaluating it alone.

    Raises:
        ConfigurationError: If a setting is out of range, or the images are too small for J.

    Example:
        >>> transform = Scattering2D((32, 32), J=3, L=4)
        >>> len(transform.paths), tuple(transform(torch.zeros(5, 32, 32))[0].shape)
        (61, (5, 4, 4))
        >>> print(transform.paths.filter(order=1, theta1=(0, 1), j1=(None, 1)))
        index  key   order  j1  theta1  frequency1  angle1    cost
            1  (0,)      1   0       0       0.375      45  0.8497
            2  (1,)      1   0       1       0.375       0  0.8497
            5  (4,)      1   1       0      0.1875      45  0.5311
            6  (5,)      1   1       1      0.1875       0  0.5311

    Source: Bruna and Mallat, Invariant scattering convolution networks, IEEE Transactions on
    Pattern Analysis and Machine Intelligence 35(8), 2013.
    """

    signal_ndim = 2
    compilable = False

    @vanishing_tails
    def __init__(
        self,
        shape: Sequence[int],
        J: int,
        L: int = 8,
        max_order: int = 2,
        border: Literal["reflect", "periodic", "zero"] = "reflect",
    ) -> None:
        J, L, max_order = octaves("J", J), whole("L", L), highest_order(max_order)
        self.shape = _check_settings(shape, J, L)
        self.J, self.L, self.max_order = J, L, max_order
        self.border = choice("border", border, "reflect", "periodic", "zero")
        whole_torus = border == "periodic" and not any(n % 2**J for n in self.shape)
        height, width = (n if whole_torus else ((n + 2**J) // 2**J + 1) * 2**J for n in self.shape)
        self._padded = height, width
        # the outermost averages are of padding
        kept = slice(None) if whole_torus else slice(1, -1)
        super().__init__(priced_paths(_rows(J, L, max_order, height * width)))
        self.filters = FilterBuffers()
        for number in range(J * L):
            wavelet = Wavelet(*divmod(number, L))
            self.filters.register_filter(f"psi_{number}", morlet(self._padded, wavelet, L))
        for axis, length in enumerate(self._padded):
            for level in range(J):
                matrix = averaging(length, level, J)[kept]
                self.filters.register_filter(f"average_{axis}_{level}", matrix)

    @full_precision
    def coefficients(self, x: Tensor, indices: Sequence[int] | Tensor) -> list[Tensor]:
        """Coefficients of the chosen paths; a first layer that paths share is computed once.

        Args:
            x: Images, shape (..., H, W), float32 or float64 (half precision is computed in
                float32).
            indices: Which paths.

        Raises:
            InputError: If x is no batch of images of this size, or an index is out of range.
        """
        check_signal(x)
        if x.shape[-2:] != self.shape:
            raise InputError(
                f"expected images of shape (..., {self.shape[0]}, {self.shape[1]}), got "
                f"{tuple(x.shape)}; cut them or pad them, or make a transform for that size"
            )
        chosen = check_indices(indices, len(self.paths))
        images = x.reshape(-1, *self.shape).to(working_dtype(x))
        scale = peak_scale(images.flatten(1))[:, None, None]
        keys = {self.paths[index].key: index for index in chosen}
        found = dict(self._scatter(self._continued(images / scale), list(keys)))
        values = [found[self.paths[index].key] * scale for index in chosen]
        return [v.reshape(*x.shape[:-2], *v.shape[1:]) for v in values]

    def _scatter(self, x: Tensor, keys: Sequence[Any]) -> Iterator[tuple[Any, Tensor]]:
        """Keys and coefficients of paths, from padded images (batch, rows, columns)."""
        if () in keys:
            yield (), self._average(x, 0)
        partners: dict[int, dict[int, list[int]]] = {}
        for n1, *others in filter(None, keys):
            by_scale = partners.setdefault(n1, {})
            for n2 in others:
                by_scale.setdefault(n2 // self.L, []).append(n2)
        if not partners:
            return
        spectrum = torch.fft.fft2(x)
        for j1 in range(self.J):
            rows = [n1 for n1 in partners if n1 // self.L == j1]
            if not rows:
                continue
            first = self._moduli(spectrum, rows, 0, j1)
            wanted = [row for row, n1 in enumerate(rows) if (n1,) in keys]
            if wanted:
                averages = self._average(take(first, wanted, dim=1), j1)
                yield from (
                    ((rows[w],), a) for w, a in zip(wanted, averages.unbind(1), strict=True)
                )
            for n1, modulus in zip(rows, first.unbind(1), strict=True):
                if not partners[n1]:
                    continue
                below = torch.fft.fft2(modulus)
                for j2, n2s in partners[n1].items():
                    averages = self._average(self._moduli(below, n2s, j1, j2), j2)
                    yield from (
                        ((n1, n2), a) for n2, a in zip(n2s, averages.unbind(1), strict=True)
                    )

    def _moduli(self, spectrum: Tensor, numbers: Sequence[int], level: int, j: int) -> Tensor:
        """Moduli (batch, wavelets, ...) at every 2^j-th pixel, from spectra of every 2^level-th."""
        like = spectrum.real
        filters = [
            self.filters.derived((number, level), like, partial(self._boxes, number, level, j))
            for number in numbers
        ]
        # torch's modulus of complex numbers has a slope of zero at zero, which is what is wanted
        filtered: Tensor = torch.fft.ifft2(fold(spectrum, filters, 2 ** (j - level)))
        return filtered.abs()

    def _boxes(self, number: int, level: int, j: int, like: Tensor) -> Filter:
        """A wavelet for images that hold every 2^level-th pixel, reduced to its lowest bins."""
        psi = self.filters.design(f"psi_{number}", torch.float64)
        for axis, length in enumerate(self._padded):
            half = length >> level + 1
            psi = torch.cat(
                [psi.narrow(axis, 0, half), psi.narrow(axis, length - half, half)], axis
            )
        # bins this small are lost in the rounding of the sum over all bins
        tolerance = torch.finfo(like.dtype).eps / 8
        return [
            box._replace(response=box.response.to(like))
            for box in boxes(psi, 2 ** (j - level), tolerance)
        ]

    def _average(self, x: Tensor, level: int) -> Tensor:
        """Averages at every 2^J-th pixel, from padded images that hold every 2^level-th."""
        rows, columns = (
            self.filters.derived(
                ("average", axis, level),
                x,
                partial(self.filters.filter, f"average_{axis}_{level}"),
            )
            for axis in (0, 1)
        )
        return rows @ (x @ columns.mT)

    def _continued(self, x: Tensor) -> Tensor:
        """Images continued beyond their borders, up to the padded size."""
        if self._padded == self.shape:
            return x
        totals = [padded - n for n, padded in zip(self.shape, self._padded, strict=True)]
        margins = [(total // 2, total - total // 2) for total in totals]
        if self.border == "zero":
            return pad(x, (*margins[1], *margins[0]))
        mode: Literal["reflect", "wrap"] = "reflect" if self.border == "reflect" else "wrap"
        for axis, (length, margin) in enumerate(zip(self.shape, margins, strict=True)):
            sources = self.filters.derived(
                ("sources", axis), x, partial(_sources, length, margin, mode)
            )
            x = x.index_select(1 + axis, sources)
        return x

    def extra_repr(self) -> str:
        """Settings that ``print`` shows."""
        settings = f"shape={self.shape}, J={self.J}, L={self.L}, max_order={self.max_order}"
        settings += f", border={self.border!r}"
        return f"{settings}, P={len(self.paths)}"


def _sources(
    length: int, margins: tuple[int, int], mode: Literal["reflect", "wrap"], like: Tensor
) -> Tensor:
    """Which pixel is at each position of a padded axis."""
    return torch.from_numpy(np.pad(np.arange(length), margins, mode=mode)).to(like.device)


def _check_settings(shape: Any, J: int, L: int) -> tuple[int, int]:
    given = [] if is_scalar(shape) else several("shape", shape)
    if len(given) != 2:
        raise ConfigurationError(f"shape must be (height, width) of the images, got {shape!r}")
    sizes = whole("height", given[0]), whole("width", given[1])
    if J < 1 or L < 1:
        raise ConfigurationError(f"J and L must be at least 1, got J={J}, L={L}")
    if min(sizes) < 2**J:
        raise ConfigurationError(
            f"images must have at least 2^J = {2**J} pixels along both axes, got {sizes}; use a "
            "smaller J or larger images"
        )
    affordable("paths", 1 + J * L + (J * L) ** 2 // 2, MOST)
    affordable("numbers in filters", J * L * (sizes[0] + 2 ** (J + 1)) * (sizes[1] + 2 ** (J + 1)))
    return sizes


def _rows(
    J: int, L: int, max_order: int, n_pixels: int
) -> Iterator[tuple[tuple[int, ...], dict[str, Any], float]]:
    """Key, metadata and cost of every path; the cost counts pixels through Fourier transforms."""
    yield (), {"order": 0}, n_pixels / 3  # two matrix products, as measured

    def describe(number: int, position: int) -> dict[str, Any]:
        j, theta = divmod(number, L)
        return {
            f"j{position}": j,
            f"theta{position}": theta,
            f"frequency{position}": frequency(j),
            f"angle{position}": math.degrees(angle(theta, L)),
        }

    wavelets = range(J * L)
    for n1 in wavelets:
        area = n_pixels / 4 ** (n1 // L)
        yield (n1,), {"order": 1, **describe(n1, 1)}, n_pixels + area
    for n1 in wavelets if max_order == 2 else ():
        area = n_pixels / 4 ** (n1 // L)
        for n2 in wavelets[L * (n1 // L + 1) :]:
            metadata = {"order": 2, **describe(n1, 1), **describe(n2, 2)}
            yield (n1, n2), metadata, n_pixels + 2 * area + n_pixels / 4 ** (n2 // L)
