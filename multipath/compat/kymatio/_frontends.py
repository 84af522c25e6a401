"""How a scattering takes signals in and gives coefficients out: as tensors or as arrays."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._attributes import Setting
from ._errors import FrontendError, KindError, ShapeError

BACKENDS = {"torch": ("torch", "torch_skcuda"), "numpy": ("numpy",)}


class Backend(NamedTuple):
    """What stands for a backend of kymatio, of which only the name matters here."""

    name: str


def checked_backend(backend: Any, frontend: str) -> Any:
    """A backend, as it is or made from its name.

    Raises:
        FrontendError: If it is not one of the frontend's.
    """
    if backend is None:
        return Backend(frontend)
    if not isinstance(backend, str):
        if not str(getattr(backend, "name", "")).startswith(frontend):
            raise FrontendError(
                f"The backend {backend!r} is not supported by the frontend {frontend}."
            )
        return backend
    if not backend.startswith(frontend):
        raise FrontendError(
            f"The backend {backend} can not be called from the frontend {frontend}."
        )
    if backend not in BACKENDS[frontend]:
        raise FrontendError(f"Backend {backend} not found!")
    return Backend(backend)


def mapped(function: Callable[[Any], Any], output: Any) -> Any:
    """An output of any ``out_type`` with a function applied to its tensors."""
    if isinstance(output, dict):
        return {key: function(value) for key, value in output.items()}
    if isinstance(output, list):
        return [{**path, "coef": function(path["coef"])} for path in output]
    return function(output)


class Scatterer(ABC):
    """What a frontend and a scattering know of each other."""

    frontend_name: str
    _what: str
    backend = Setting()

    @abstractmethod
    def _check_ndim(self, ndim: int) -> None:
        """Refuse an input without enough dimensions."""

    @abstractmethod
    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse an input of another size."""

    @abstractmethod
    def _scatter(self, x: Tensor) -> Any:
        """The output, whatever its type, of an input that was checked."""

    @abstractmethod
    def _filter(self, spectrum: NDArray[np.float64]) -> Any:
        """A filter as the frontend shows it."""


class TorchFrontend(nn.Module, Scatterer):
    """Tensors in, tensors out."""

    frontend_name = "torch"
    _what = "Tensor"

    def forward(self, x: Tensor) -> Any:
        """The scattering transform, as :meth:`scattering`."""
        return self.scattering(x)

    def scattering(self, x: Tensor) -> Any:
        """The scattering transform.

        Args:
            x: Signals or images, any batch shape, contiguous.

        Returns:
            What ``out_type`` says: one tensor, a dictionary of tensors, or a list of dictionaries.

        Raises:
            KindError: If x is no tensor (also a ``TypeError``).
            ShapeError: If its shape does not fit, or it is not contiguous (also a
                ``RuntimeError``).
        """
        if not isinstance(x, Tensor):
            raise KindError(f"The input should be a PyTorch Tensor, got {type(x).__name__}.")
        self._check_ndim(x.ndim)
        if not x.is_contiguous():
            raise ShapeError("Tensor must be contiguous: call .contiguous() on it.")
        self._check_shape(tuple(x.shape))
        return self._scatter(x)

    def _filter(self, spectrum: NDArray[np.float64]) -> Any:
        """A filter as kymatio shows it: real numbers in a last dimension of their own."""
        return torch.from_numpy(spectrum).float()[..., None]

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        # kymatio saves its filters with a model; here they are made from the settings
        for key in [k for k in state_dict if re.fullmatch(re.escape(prefix) + r"tensor\d+", k)]:
            del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class NumPyFrontend(Scatterer):
    """Arrays in, arrays out; computed in double precision, as kymatio's filters are."""

    frontend_name = "numpy"
    _what = "NumPy array"

    def __call__(self, x: NDArray[Any]) -> Any:
        """The scattering transform, as :meth:`scattering`."""
        return self.scattering(x)

    def scattering(self, x: NDArray[Any]) -> Any:
        """The scattering transform.

        Args:
            x: Signals or images, float32 or float64, any batch shape.

        Returns:
            What ``out_type`` says: one array, a dictionary of arrays, or a list of dictionaries.

        Raises:
            KindError: If x is no array of real numbers (also a ``TypeError``).
            ShapeError: If its shape does not fit (also a ``RuntimeError``).
        """
        given: Any = x
        if isinstance(given, Tensor):
            x = given.detach().cpu().numpy()
        elif not isinstance(given, np.ndarray):
            raise KindError(f"The input should be a NumPy array, got {type(given).__name__}.")
        self._check_ndim(x.ndim)
        self._check_shape(x.shape)
        if x.dtype not in (np.float32, np.float64):
            raise KindError(f"The input should be real, float32 or float64, got {x.dtype}.")
        with torch.no_grad():
            found = self._scatter(torch.from_numpy(x.astype(np.float64)))
        return mapped(Tensor.numpy, found)

    def _filter(self, spectrum: NDArray[np.float64]) -> Any:
        """A filter as kymatio shows it."""
        return spectrum
