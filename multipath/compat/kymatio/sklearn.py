"""Scattering of arrays as a step of a scikit-learn pipeline, with kymatio's constructors."""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from multipath.errors import ConfigurationError

from . import numpy as arrays
from ._not_offered import HarmonicScattering3D

try:
    from sklearn.base import BaseEstimator, TransformerMixin
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "this needs scikit-learn, which is not installed: pip install 'multipath-loss[sklearn]'",
        name=error.name,
    ) from error

__all__ = ["HarmonicScattering3D", "Scattering1D", "Scattering2D", "TimeFrequencyScattering"]


class _Transformer(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """What makes a scattering of arrays an estimator; nothing is learned."""

    shape: Any
    scattering: Any
    out_type: Any

    def __init__(self, *settings: Any, **named: Any) -> None:
        given = inspect.signature(super().__init__).bind(*settings, **named)
        given.apply_defaults()
        super().__init__(*settings, **named)
        # as they came in, which scikit-learn copies estimators by
        self._given = given.arguments

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self.__dict__.get("_given", ()):
            self._given = {**self._given, name: value}

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings that were given, and defaults."""
        return dict(self._given)

    def set_params(self, **params: Any) -> Self:
        """Construct anew with some settings changed; nothing changes if one is refused.

        Raises:
            ConfigurationError: If there is no setting of that name, or it is out of range; also a
                ``ValueError``.
        """
        unknown = [name for name in params if name not in self._given]
        if unknown:
            raise ConfigurationError(
                f"{type(self).__name__} has no settings {unknown}; there are {list(self._given)}"
            )
        self.__dict__ = type(self)(**{**self._given, **params}).__dict__
        return self

    def fit(self, x: Any = None, y: Any = None) -> Self:
        """Nothing is to be fitted."""
        return self

    def predict(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Coefficients of flattened signals or images, (..., features).

        Args:
            x: Shape (..., samples) or (..., pixels).

        Raises:
            ConfigurationError: If coefficients do not form one array.
        """
        if self.out_type != "array" or not getattr(self, "average", True):
            raise ConfigurationError(
                "an estimator has one array of features: it needs out_type='array', and T above 0"
            )
        found: NDArray[np.float64] = self.scattering(x.reshape(-1, *self.shape))
        return found.reshape(*x.shape[:-1], -1)

    transform = predict


class Scattering1D(_Transformer, arrays.Scattering1D):
    """``kymatio.sklearn.Scattering1D``, an estimator.

    Settings and attributes are those of :class:`multipath.compat.kymatio.torch.Scattering1D`;
    ``transform`` and ``predict`` map (items, samples) to (items, features).

    Example:
        >>> import numpy as np
        >>> Scattering1D(J=4, shape=256).transform(np.random.randn(3, 256)).shape
        (3, 208)
    """


class TimeFrequencyScattering(_Transformer, arrays.TimeFrequencyScattering):
    """``kymatio.sklearn.TimeFrequencyScattering``, an estimator.

    Settings and attributes are those of
    :class:`multipath.compat.kymatio.torch.TimeFrequencyScattering`.

    Example:
        >>> import numpy as np
        >>> scattering = TimeFrequencyScattering(J=4, J_fr=2, Q=2, shape=256, T="global")
        >>> scattering.transform(np.random.randn(3, 256)).shape
        (3, 34)
    """


class Scattering2D(_Transformer, arrays.Scattering2D):
    """``kymatio.sklearn.Scattering2D``, an estimator of flattened images.

    Settings and attributes are those of :class:`multipath.compat.kymatio.torch.Scattering2D`.

    Example:
        >>> import numpy as np
        >>> Scattering2D(J=2, shape=(8, 8), L=4).transform(np.random.randn(3, 64)).shape
        (3, 100)
    """
