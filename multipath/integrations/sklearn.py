"""Scattering, or any other transform, as a step of a scikit-learn pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from multipath._internal.bookkeeping import has_float64
from multipath._internal.settings import count
from multipath.errors import ConfigurationError, InputError
from multipath.losses.transform import Rho, resolve_rho
from multipath.paths import Path, check_indices
from multipath.transforms import Transform

try:
    from sklearn.base import BaseEstimator, TransformerMixin
except ModuleNotFoundError:  # features need no scikit-learn, only pipelines do

    class BaseEstimator:  # type: ignore[no-redef]
        """Stands for scikit-learn's class where that is not installed."""

    class TransformerMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's class where that is not installed."""

        def fit_transform(self, X: Any, y: Any = None) -> Any:
            """Fit, then transform."""
            features: Any = self
            return features.fit(X, y).transform(X)


__all__ = ["ScatteringFeatures"]

Pooling = Literal["mean", "time"] | None | Callable[[Tensor], Tensor]


class ScatteringFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    r"""Features :math:`\operatorname{pool}(\rho(\phi_p(x)))` of signals, for pipelines.

    Nothing is learned: ``fit`` checks the settings and names the features.

    Args:
        scattering: Any :class:`~multipath.transforms.Transform`. Features are computed on its
            device: move it to a GPU to use that.
        pooling: How the coefficients of a path are pooled. ``"mean"`` averages all of them to one
            feature per path, in which position in time, and pitch for ``JTFS``, play no part;
            ``"time"`` averages over the last dimension; None keeps all coefficients; a function
            maps (signals, ...) to (signals, ...).
        rho: Nonlinearity before pooling, as in :class:`~multipath.TransformLoss`: ``"log1p"`` (the
            default, which suits linear classifiers), None, or a function.
        eps: The :math:`\varepsilon` of ``rho="log1p"``.
        paths: Which paths, as indices (``transform.paths.filter(order=2).indices``). Default: all.
        batch_size: How many signals are transformed at once; bounds the memory.

    Raises:
        ConfigurationError: From ``fit`` and ``transform``, if a setting is unknown or of the wrong
            type.
        InputError: If the signals are not finite numbers, or do not suit the transform.

    Example:
        >>> from multipath.transforms import Scattering1D
        >>> scattering = Scattering1D(512, J=5, Q=(1, 1), T=128)
        >>> features = ScatteringFeatures(scattering, paths=[0, 1, 2])
        >>> tones = np.sin(np.outer([0.1, 0.4], np.arange(512)))
        >>> features.fit_transform(tones).shape
        (2, 3)
        >>> features.get_feature_names_out().tolist()
        ['path ()', 'path (0,)', 'path (1,)']
    """

    def __init__(
        self,
        scattering: Transform,
        pooling: Pooling = "mean",
        rho: Literal["identity", "log1p"] | Rho | None = "log1p",
        eps: float = 1e-3,
        paths: Sequence[int] | Tensor | None = None,
        batch_size: int = 32,
    ) -> None:
        self.scattering = scattering
        self.pooling = pooling
        self.rho = rho
        self.eps = eps
        self.paths = paths
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None) -> ScatteringFeatures:
        """Check the settings, and name the features.

        Args:
            X: Signals, shape (signals, samples), or (signals, height, width) for images.
            y: Ignored.
        """
        signals = self._signals(X)
        indices = self._indices()
        self.n_features_in_ = signals.shape[-1]
        self._feature_names = [
            name
            for index, values in zip(indices, self._features(signals[:1], indices), strict=True)
            for name in _names(self.scattering.paths[index], values)
        ]
        return self

    def transform(self, X: Any) -> np.ndarray[Any, Any]:
        """Features of signals.

        Args:
            X: As in :meth:`fit`.

        Returns:
            Shape (signals, features), float32, or float64 if X is and the device of the transform
            has float64.
        """
        signals, indices = self._signals(X), self._indices()
        rows = [
            torch.cat([f.reshape(len(part), -1) for f in self._features(part, indices)], dim=1)
            for part in signals.split(int(self.batch_size))
        ]
        return torch.cat([row.cpu() for row in rows]).numpy()

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray[Any, Any]:
        """Name of each feature: the key of its path, with its position if the path has several.

        Args:
            input_features: Ignored: samples have no names.

        Raises:
            ConfigurationError: Before ``fit``.
        """
        if not self.__sklearn_is_fitted__():
            raise ConfigurationError("the features have no names yet; call fit(X) first")
        return np.asarray(self._feature_names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether ``fit`` has named the features; there is nothing else to fit."""
        return hasattr(self, "_feature_names")

    @torch.no_grad()
    def _features(self, signals: Tensor, indices: list[int]) -> list[Tensor]:
        """Pooled coefficients of each path, shape (signals, ...)."""
        rho = resolve_rho(self.rho, self.eps)
        buffer = next(self.scattering.buffers(), None)
        if buffer is not None:
            wide = has_float64(buffer)
            signals = (signals if wide else signals.float()).to(buffer.device)
        coefficients = self.scattering.coefficients(signals, indices)
        return [self._pool(c if rho is None else rho(c)) for c in coefficients]

    def _pool(self, coefficients: Tensor) -> Tensor:
        if callable(self.pooling):
            return self.pooling(coefficients)
        match self.pooling:
            case "mean":
                return coefficients.flatten(1).mean(dim=1, keepdim=True)
            case "time":
                return coefficients.mean(dim=-1)
            case None:
                return coefficients
        raise ConfigurationError(
            f'pooling must be "mean", "time", None or a function, got {self.pooling!r}'
        )

    def _indices(self) -> list[int]:
        n_paths = len(self.scattering.paths)
        return check_indices(range(n_paths) if self.paths is None else self.paths, n_paths)

    def _signals(self, X: Any) -> Tensor:
        """Check the settings, then return X as finite floating-point signals."""
        if not isinstance(self.scattering, Transform):
            raise ConfigurationError(
                "scattering must be a multipath.transforms.Transform, got "
                f"{type(self.scattering).__name__}"
            )
        count("batch_size", self.batch_size)  # here, not at construction, as scikit-learn has it
        try:
            values = np.asarray(X)
            if np.iscomplexobj(values):
                raise TypeError("they are complex")
            values = values if values.dtype == np.float64 else values.astype(np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"expected signals of numbers, all of one length, got {type(X).__name__}: {error}"
            ) from error
        if values.ndim != 1 + self.scattering.signal_ndim or not values.size:
            raise InputError(
                f"expected an array of signals with {1 + self.scattering.signal_ndim} dimensions, "
                f"none empty, got shape {values.shape}"
            )
        broken = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if broken.any():
            raise InputError(
                f"signal {int(broken.argmax())} holds NaN or infinite values "
                f"({int(broken.sum())} of {len(values)} signals do); remove or repair them"
            )
        return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def _names(path: Path, values: Tensor) -> list[str]:
    if values[0].numel() == 1:
        return [f"path {path.key}"]
    places = np.ndindex(*values.shape[1:])
    return [f"path {path.key}[{', '.join(map(str, place))}]" for place in places]
