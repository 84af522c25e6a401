"""Scattering of images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Set
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
from ._scattering2d.fold import Filter, boxes
from ._scattering2d.moduli import Average, Bank, moduli
from ._scattering2d.morlet import Wavelet, angle, averaging, frequency, means, morlet
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

    With ``T="global"`` a path is the mean of its modulus (order 0: of the image) over the image,
    shape (..., 1, 1).

    Args:
        shape: (H, W), height and width of the images in pixels, both at least 2^J.
        J: Octaves of the filter bank; averages are over 2^J pixels.
        L: Angles, equally spaced over half a turn.
        max_order: The highest order, 1 or 2.
        border: How images go on beyond their borders: ``"reflect"`` mirrors them, ``"periodic"``
            repeats them, ``"zero"`` is black. Periodic images whose height and width are multiples
            of 2^J are not padded at all, which saves the work for the padding.
        T: ``"global"`` for means over the image. Default: averages over 2^J pixels.

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
        T: Literal["global"] | None = None,
    ) -> None:
        J, L, max_order = octaves("J", J), whole("L", L), highest_order(max_order)
        self.shape = _check_settings(shape, J, L)
        self.J, self.L, self.max_order = J, L, max_order
        self.border = choice("border", border, "reflect", "periodic", "zero")
        self.T = choice("T", T, "global", None)
        whole_torus = border == "periodic" and not any(n % 2**J for n in self.shape)
        height, width = (n if whole_torus else ((n + 2**J) // 2**J + 1) * 2**J for n in self.shape)
        self._padded = height, width
        super().__init__(priced_paths(_rows(J, L, max_order, height * width)))
        self.filters = FilterBuffers()
        for number in range(J * L):
            wavelet = Wavelet(*divmod(number, L))
            self.filters.register_filter(f"psi_{number}", morlet(self._padded, wavelet, L))
        for axis, (n, padded) in enumerate(zip(self.shape, self._padded, strict=True)):
            for level in range(J):
                if T == "global":
                    matrix = means(padded, level, range((padded - n) // 2, (padded + n) // 2))
                else:  # the outermost averages are of padding
                    matrix = averaging(padded, level, J)[
                        slice(None) if whole_torus else slice(1, -1)
                    ]
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
        keys: list[Any] = [self.paths[index].key for index in chosen]
        found: dict[Any, Tensor] = {}
        for names, joint in self._scatter(self._continued(images / scale), set(keys)):
            values = (joint * scale[:, None]).reshape(*x.shape[:-2], *joint.shape[1:])
            found.update(zip(names, values.unbind(-3), strict=True))
        return [found[key] for key in keys]

    def _scatter(self, x: Tensor, keys: Set[Any]) -> Iterator[tuple[list[Any], Tensor]]:
        """Keys and coefficients (batch, keys, ...), from padded images (batch, rows, columns)."""
        if () in keys:
            yield [()], self._averages(0, x)(x[:, None])
        partners: dict[int, set[int]] = {}
        for n1, *others in filter(None, keys):
            partners.setdefault(n1, set()).update(others)
        if not partners:
            return
        by_scale = self._by_scale(partners)
        banks = [self._bank(rows, 0, j1, x) for j1, rows in by_scale.items()]
        for (j1, rows), first in zip(by_scale.items(), moduli(x, banks), strict=True):
            wanted = [row for row, n1 in enumerate(rows) if (n1,) in keys]
            if wanted:
                averages = self._averages(j1, x)(take(first, wanted, dim=1))
                yield [(rows[row],) for row in wanted], averages
            # those with the same partners go on as one batch
            alike: dict[tuple[int, ...], list[int]] = {}
            for row, n1 in enumerate(rows):
                if partners[n1]:
                    alike.setdefault(tuple(sorted(partners[n1])), []).append(row)
            for numbers, members in alike.items():
                images = take(first, members, dim=1)
                banks = [
                    self._bank(n2s, j1, j2, x)._replace(average=self._averages(j2, x))
                    for j2, n2s in self._by_scale(numbers).items()
                ]
                averages = torch.cat([*moduli(images.flatten(0, 1), banks)], dim=1)
                averages = averages.unflatten(0, images.shape[:2]).flatten(1, 2)
                yield [(rows[m], n2) for m in members for n2 in numbers], averages

    def _by_scale(self, numbers: Iterable[int]) -> dict[int, list[int]]:
        """Numbers of wavelets in order, by their scale."""
        found: dict[int, list[int]] = {}
        for number in sorted(numbers):
            found.setdefault(number // self.L, []).append(number)
        return found

    def _bank(self, numbers: Sequence[int], level: int, j: int, like: Tensor) -> Bank:
        """Wavelets of scale 2^j for images that hold every 2^level-th pixel."""
        filters = [
            self.filters.derived((number, level), like, partial(self._boxes, number, level, j))
            for number in numbers
        ]
        return Bank(filters, 2 ** (j - level))

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

    def _averages(self, level: int, like: Tensor) -> Average:
        """What averages padded images that hold every 2^level-th pixel."""
        rows, columns = (
            self.filters.derived(
                ("average", axis, level),
                like,
                partial(self.filters.filter, f"average_{axis}_{level}"),
            )
            for axis in (0, 1)
        )
        return Average(rows, columns)

    def _continued(self, x: Tensor) -> Tensor:
        """Images continued beyond their borders, up to the padded size."""
        if self._padded == self.shape:
            return x.contiguous()
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
        settings += f", border={self.border!r}, T={self.T!r}"
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
