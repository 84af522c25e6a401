"""Scattering over time with the settings and outputs of kymatio."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from operator import itemgetter
from typing import Any, Literal
from warnings import warn

import numpy as np
import torch
from torch import Tensor

from multipath._internal.settings import choice, is_scalar, real, whole
from multipath.errors import ConfigurationError, InputError
from multipath.transforms import Scattering1D
from multipath.transforms._numerics.settings import highest_order
from multipath.transforms._scattering.time import TimeScattering
from multipath.transforms._scattering.wavelets import Wavelet

from ._attributes import Computed, Setting
from ._errors import NotOffered, ShapeError
from ._frontends import Scatterer, checked_backend

OUTPUTS = ("array", "dict", "list")
Average = Literal["local", "global", False]
Record = dict[str, Any]


def parsed_window(name: str, value: Any, octaves: int, longest: int) -> tuple[int, Average]:
    """The window and the kind of averaging that T or F stand for.

    Raises:
        ConfigurationError: If it is none, or longer than what it is to average.
    """
    if value is None:
        return 2**octaves, "local"
    if isinstance(value, str):
        choice(name, value, "global", other="a number")
        return 2**octaves, "global"
    number = real(value)
    number = whole(name, int(number) if number.is_integer() else value)
    if number > longest:
        raise ConfigurationError(
            f"The support {name} of the low-pass filter cannot exceed input length (got {number} > "
            f"{longest}). For large averaging size, consider passing {name}='global'."
        )
    if number < 0:
        raise ConfigurationError(f"{name} must be ==0 or >=1 (got {number})")
    return (number, "local") if number else (2**octaves, False)


def integer(name: str, value: Any) -> int:
    """A whole number, refused in kymatio's words.

    Raises:
        ConfigurationError: If it is none.
    """
    try:
        return whole(name, value)
    except ConfigurationError:
        raise ConfigurationError(f"{name} must be integer, got {value!r}") from None


def parsed_stride(name: str, stride: Any, of: str, window: Any, average: Average) -> int | None:
    """A stride that the native transforms take.

    Raises:
        ConfigurationError: If it is no power of two, or there is no window to go with it.
    """
    if stride is None:
        return None
    number = integer(name, stride)
    if number < 1 or number & (number - 1):
        raise ConfigurationError(f"{name} must be a power of two, got {number}")
    if average != "local":
        raise ConfigurationError(f"{name}={number} is incompatible with {of}={window}")
    return number


def wavelets_per_octave(name: str, value: Any, most: int) -> tuple[int, ...]:
    """Wavelets per octave of one filter bank, or of up to ``most`` of them.

    Raises:
        ConfigurationError: If it is neither a number nor a tuple of numbers, all at least 1.
    """
    values = (value,) if is_scalar(value) else value
    if not isinstance(values, tuple):
        raise ConfigurationError(f"{name} must be an integer or a tuple, got {value!r}")
    if not all(real(q) >= 1 for q in values):
        raise ConfigurationError(f"{name} must always be >= 1, got {value!r}")
    if not 1 <= len(values) <= most:
        raise NotOffered(
            f"{name} must be an integer or a tuple of at most {most}. Scattering transforms beyond "
            f"order 2 are not implemented, got {value!r}"
        )
    return tuple(whole(name, q) for q in values)


class TimeBase(Scatterer):
    """Settings, filters and paths that Scattering1D and TimeFrequencyScattering share."""

    J, Q, T, log2_T, shape, average = (Setting() for _ in range(6))
    sigma0, alpha, r_psi = Setting(0.1), Setting(5.0), Setting(math.sqrt(0.5))
    version = Setting("0.4")

    def _set_time(
        self, J: Any, shape: Any, Q: Any, T: Any, stride: Any, out_type: Any, backend: Any
    ) -> None:
        """Check and keep the settings over time."""
        self.backend = checked_backend(backend, self.frontend_name)
        self.shape = _length(shape)
        first, *second = wavelets_per_octave("Q", Q, most=2)
        self.J, self.Q = whole("J", J), (first, second[0] if second else 1)
        self.out_type = out_type
        self.T, self.average = parsed_window("T", T, self.J, self.shape[0])
        self.log2_T = self.T.bit_length() - 1
        self._stride = parsed_stride("stride", stride, "T", T, self.average)

    @property
    def _native_T(self) -> Any:
        return {"local": self.T, "global": "global", False: "none"}[self.average]

    @property
    def _unpad(self) -> bool:
        return bool(self.average != "global")

    def _count(self, level: int) -> int:
        """What makes a sum over the padded signal, at one sample in 2^level, of its mean."""
        return self._time.padded >> level if self.average == "global" else 1

    @property
    @abstractmethod
    def _time(self) -> TimeScattering:
        """The filter banks over time."""

    @property
    def stride(self) -> int:
        """Samples between coefficients where they are averages over a window."""
        return 1 << self.log2_stride

    @property
    def log2_stride(self) -> int:
        """The logarithm of the stride."""
        return self.log2_T if self._stride is None else self._stride.bit_length() - 1

    @property
    def pad_left(self) -> int:
        """Samples that mirror the start of the signal."""
        return self._time.pad_left

    @property
    def pad_right(self) -> int:
        """Samples that mirror its end."""
        return self._time.pad_right

    @property
    def _N_padded(self) -> int:
        return self._time.padded

    @property
    def ind_start(self) -> dict[int, int]:
        """Where the signal starts in its padded version, by the logarithm of the rate."""
        return self._border(self.pad_left)

    @property
    def ind_end(self) -> dict[int, int]:
        """Where it ends."""
        return self._border(self.pad_left + self.shape[0])

    def _border(self, sample: int) -> dict[int, int]:
        return {level: -(-sample >> level) for level in range(max(self.log2_T, self.J) + 1)}

    @Computed
    def phi_f(self) -> Record:
        """The low-pass filter: ``xi``, ``sigma``, ``j``, ``N`` and ``levels``."""
        deepest = max(self._deepest(2), 1 + self.log2_T)
        record = self._record(Wavelet(0.0, self.sigma0 / self.T), self._N_padded, deepest)
        return {**record, "xi": 0, "j": self.log2_T, "N": self._N_padded}

    @Computed
    def psi1_f(self) -> list[Record]:
        """The wavelets of the first order: ``xi``, ``sigma``, ``j`` and ``levels`` of each."""
        return [self._record(wavelet, self._N_padded) for wavelet in self._time.psi1]

    @Computed
    def psi2_f(self) -> list[Record]:
        """The wavelets of the second order."""
        deepest = min(self._deepest(1), 1 + self.log2_T)
        return [self._record(w, self._N_padded, min(w.j, deepest)) for w in self._time.psi2]

    def _deepest(self, order: int) -> int:
        """The coarsest rate up to an order."""
        banks = [self._time.psi1, self._time.psi2][:order]
        return max(0, *(wavelet.j for bank in banks for wavelet in bank))

    def _record(self, wavelet: Wavelet, length: int, n_levels: int = 1) -> Record:
        spectrum = wavelet.spectrum(length)
        fold = np.mean if self.version == "0.3" else np.sum
        levels = [
            spectrum if level == 0 else fold(spectrum.reshape(2**level, -1), axis=0)
            for level in range(max(1, n_levels))
        ]
        return {
            "levels": [self._filter(level) for level in levels],
            "xi": wavelet.xi,
            "sigma": wavelet.sigma,
            "j": wavelet.j,
        }

    def _check_outputs(self) -> None:
        if self.out_type not in OUTPUTS:
            raise ConfigurationError(
                f"out_type must be one of 'array', 'dict', or 'list', got {self.out_type!r}"
            )
        if not self.average and self.out_type == "array":
            raise ConfigurationError(
                "Cannot convert to out_type='array' with T=0. Please set out_type to 'dict' or "
                "'list'."
            )

    def _check_ndim(self, ndim: int) -> None:
        if ndim < 1:
            raise InputError(f"Input tensor x should have at least one axis, got {ndim}")

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if shape[-1] != self.shape[0]:
            raise ShapeError(f"The input should have {self.shape[0]} samples, got {shape[-1]}.")


class Scattering1DBase(TimeBase):
    """Scattering over time, whatever the frontend."""

    version, oversampling = Setting(), Setting()

    def __init__(
        self,
        J: int,
        shape: int | tuple[int],
        Q: int | tuple[int, ...] = 1,
        T: int | str | None = None,
        stride: int | None = None,
        max_order: int = 2,
        oversampling: int = 0,
        out_type: str = "array",
        backend: Any = None,
        *,
        version: str = "0.4",
        average: bool | None = None,
    ) -> None:
        super().__init__()
        averaged = choice("average", average, True, False, None)
        if averaged is not None and version != "0.3":
            raise ConfigurationError('average is for version="0.3"; use T=0 for no averaging')
        T = 0 if averaged is False and T is None else T
        self._set_time(J, shape, Q, T, stride, out_type, backend)
        if averaged is not None and averaged != (self.average == "local"):
            raise ConfigurationError(f"average={average} is incompatible with T={T!r}")
        self.max_order = highest_order(max_order)
        self.version = choice("version", version, "0.4", "0.3")
        self.oversampling = self._oversampled(oversampling, T)
        if self.version == "0.3" and self._stride is not None:
            raise NotOffered(
                'version="0.3" is offered without oversampling and stride: kymatio 0.3 then '
                "sampled each wavelet at another rate"
            )
        self._transform = Scattering1D(
            self.shape[0],
            self.J,
            self.Q,
            T=self._native_T,
            unpad=self._unpad,
            stride=self._stride,
        )
        keys: list[Any] = list(self._transform.paths.keys)
        self._keys: list[tuple[int, ...]] = keys

    def _oversampled(self, oversampling: Any, T: Any) -> int:
        """Turn an oversampling into a stride."""
        number = integer("oversampling", 0 if oversampling is None else oversampling)
        if number < 0:
            raise ConfigurationError(f"oversampling must be nonnegative, got {number}")
        if number:
            warn(
                "oversampling is deprecated: pass stride = 2**(log2(T) - oversampling)",
                DeprecationWarning,
                stacklevel=3,
            )
            stride = 2 ** max(0, self.log2_T - number)
            if self._stride not in (None, stride):
                raise ConfigurationError(
                    f"oversampling={number} and stride={self._stride} are incompatible"
                )
            self._stride = parsed_stride("stride", stride, "T", T, self.average)
        return number

    @property
    def _time(self) -> TimeScattering:
        return self._transform.time

    def _chosen(self) -> list[int]:
        """The paths up to the order wanted."""
        order = highest_order(self.max_order)
        return [index for index, key in enumerate(self._keys) if len(key) <= order]

    def _scales(self, key: tuple[int, ...]) -> tuple[int, ...]:
        banks = self._time.psi1, self._time.psi2
        return tuple(bank[n].j for bank, n in zip(banks, key, strict=False))

    def _gain(self, key: tuple[int, ...]) -> float:
        """What kymatio 0.3 multiplies a path with: it folds its filters by means, not sums."""
        if self.version == "0.4":
            return 1.0
        coarsest = self.log2_T if self.average == "local" else math.inf
        levels = [min(j, coarsest) for j in self._scales(key)]
        # the filter behind each layer is folded as often as that layer was halved
        return float(2.0 ** -sum(levels if self.average == "local" else levels[:-1]))

    def _scatter(self, x: Tensor) -> Any:
        self._check_outputs()
        chosen = self._chosen()
        found = self._transform.coefficients(x, chosen)
        keys = [self._keys[index] for index in chosen]
        factors = [self._count((0, *self._scales(key))[-1]) * self._gain(key) for key in keys]
        if set(factors) != {1}:
            found = [path * factor for path, factor in zip(found, factors, strict=True)]
        if self.out_type == "array":
            return torch.stack(found, dim=-2)
        if self.out_type == "dict":
            items = list(zip(keys, found, strict=True))
            return dict(items if self.version == "0.3" else sorted(items, key=itemgetter(0)))
        return [
            {"coef": path, "j": self._scales(key), "n": key, "order": len(key)}
            for key, path in zip(keys, found, strict=True)
        ]

    def meta(self) -> dict[str, Any]:
        """What each coefficient is: arrays ``order``, ``n``, ``xi``, ``sigma``, ``j``; ``key``.

        All but ``order`` have one column for each order, filled up with NaN; ``key`` is a list.
        """
        keys = [self._keys[index] for index in self._chosen()]
        meta: dict[str, Any] = {"order": np.array([len(key) for key in keys]), "key": keys}
        meta["n"] = np.full((len(keys), self.max_order), np.nan)
        for row, key in zip(meta["n"], keys, strict=True):
            row[: len(key)] = key
        for field in ("xi", "sigma", "j"):
            meta[field] = np.full_like(meta["n"], np.nan)
            for row, key in zip(meta[field], keys, strict=True):
                banks = self._time.psi1, self._time.psi2
                row[: len(key)] = [
                    getattr(bank[n], field) for bank, n in zip(banks, key, strict=False)
                ]
        return meta

    def output_size(self, detail: bool = False) -> int | tuple[int, ...]:
        """The number of coefficients, or with ``detail`` that of each order."""
        orders = [len(self._keys[index]) for index in self._chosen()]
        return tuple(Counter(orders).values()) if detail else len(orders)


def _length(shape: Any) -> tuple[int]:
    if is_scalar(shape) and real(shape).is_integer():
        return (whole("shape", shape),)
    if not isinstance(shape, tuple):
        raise ConfigurationError(f"shape must be an integer or a 1-tuple, got {shape!r}")
    if len(shape) != 1:
        raise ConfigurationError(
            f"If shape is specified as a tuple, it must have exactly one element, got {shape}"
        )
    return (whole("shape", shape[0]),)
