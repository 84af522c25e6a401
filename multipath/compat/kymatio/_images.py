"""Scattering of images with the settings and outputs of kymatio."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multipath._internal.settings import is_scalar, several, whole
from multipath.errors import ConfigurationError
from multipath.transforms import Scattering2D
from multipath.transforms._numerics.settings import highest_order
from multipath.transforms._scattering2d.morlet import averaging

from ._attributes import Computed, Setting
from ._errors import ShapeError, SizeError
from ._frontends import Scatterer, checked_backend


class Scattering2DBase(Scatterer):
    """Scattering of images, whatever the frontend."""

    J, L, shape, pre_pad, _M_padded, _N_padded = (Setting() for _ in range(6))

    def __init__(
        self,
        J: int,
        shape: tuple[int, int],
        L: int = 8,
        max_order: int = 2,
        pre_pad: bool = False,
        backend: Any = None,
        out_type: str = "array",
    ) -> None:
        super().__init__()
        self.backend = checked_backend(backend, self.frontend_name)
        self.J, self.L = whole("J", J), whole("L", L)
        self.max_order, self.out_type = highest_order(max_order), out_type
        self.pre_pad = bool(pre_pad)
        sizes = [] if is_scalar(shape) else several("shape", shape)
        if len(sizes) != 2:
            raise ConfigurationError(f"shape must be (height, width), got {shape!r}")
        self.shape = whole("height", sizes[0]), whole("width", sizes[1])
        if min(self.shape) < 2**self.J:
            raise SizeError("The smallest dimension should be larger than 2^J.")
        self._M_padded, self._N_padded = (
            ((n + 2**self.J) // 2**self.J + 1) * 2**self.J for n in self.shape
        )
        if self.pre_pad:
            # the image comes with its padding, as a torus
            size = self._M_padded, self._N_padded
            self._transform = Scattering2D(size, self.J, self.L, border="periodic")
        else:
            self._transform = Scattering2D(self.shape, self.J, self.L)
        keys: list[Any] = list(self._transform.paths.keys)
        self._keys: list[tuple[int, ...]] = keys

    @property
    def M(self) -> int:
        """Height of the images."""
        return int(self.shape[0])

    @property
    def N(self) -> int:
        """Width of the images."""
        return int(self.shape[1])

    @Computed
    def phi(self) -> dict[str, Any]:
        """The low-pass filter: ``levels``, arrays whatever the frontend, and ``j``."""
        sizes = self._M_padded, self._N_padded
        # what one average is made of, along either axis
        height, width = (np.fft.fft(averaging(size, 0, self.J)[0]).real for size in sizes)
        return {"levels": _levels(np.outer(height, width), self.J), "j": self.J}

    @Computed
    def psi(self) -> list[dict[str, Any]]:
        """The wavelets: ``levels``, arrays whatever the frontend, ``j`` and ``theta`` of each."""
        return [
            {
                "levels": _levels(
                    self._transform.filters.design(f"psi_{number}", torch.float64).numpy(),
                    min(number // self.L + 1, max(self.J - 1, 1)),
                ),
                "j": number // self.L,
                "theta": number % self.L,
            }
            for number in range(self.J * self.L)
        ]

    def _check_ndim(self, ndim: int) -> None:
        if ndim < 2:
            what = "tensor" if self.frontend_name == "torch" else "array"
            raise ShapeError(f"Input {what} must have at least two dimensions.")

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        wanted, what = self.shape, self._what
        if self.pre_pad:
            wanted = self._M_padded, self._N_padded
            what = "Padded " + self._what.lower().removeprefix("numpy ")
        if shape[-2:] != wanted:
            raise ShapeError(f"{what} must be of spatial size ({wanted[0]},{wanted[1]}).")
        if self.out_type not in ("array", "list"):
            raise SizeError("The out_type must be one of 'array' or 'list'.")

    def _scatter(self, x: Tensor) -> Any:
        order = highest_order(self.max_order)
        chosen = [index for index, key in enumerate(self._keys) if len(key) <= order]
        found = self._transform.coefficients(x, chosen)
        if self.pre_pad:
            found = [path[..., 1:-1, 1:-1] for path in found]
        if self.out_type == "array":
            return torch.stack(found, dim=-3)
        keys = [self._keys[index] for index in chosen]
        return [
            {
                "coef": path,
                "j": tuple(n // self.L for n in key),
                "n": key,
                "theta": tuple(n % self.L for n in key),
            }
            for key, path in zip(keys, found, strict=True)
        ]


def _levels(spectrum: NDArray[np.float64], n_levels: int) -> list[NDArray[np.float64]]:
    """A filter for every 2^level-th pixel, from its lowest frequencies."""
    levels = []
    for level in range(n_levels):
        low = spectrum
        for axis, length in enumerate(spectrum.shape):
            half = length >> level + 1
            kept = [*range(half), *range(length - (length >> level) + half, length)]
            low = low.take(kept, axis=axis)
        levels.append(low)
    return levels
