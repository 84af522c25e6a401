"""Scattering of arrays with kymatio's constructors and outputs."""

from __future__ import annotations

from ._frontends import NumPyFrontend
from ._images import Scattering2DBase
from ._not_offered import HarmonicScattering3D
from ._time import Scattering1DBase
from ._time_frequency import TimeFrequencyBase

__all__ = ["HarmonicScattering3D", "Scattering1D", "Scattering2D", "TimeFrequencyScattering"]


class Scattering1D(Scattering1DBase, NumPyFrontend):
    """``kymatio.numpy.Scattering1D``, for arrays.

    Settings, attributes and errors are those of
    :class:`multipath.compat.kymatio.torch.Scattering1D`. Arrays of either precision are computed in
    float64, as kymatio does.

    Example:
        >>> import numpy as np
        >>> Scattering1D(J=6, shape=1024, Q=8)(np.random.randn(2, 1024)).shape
        (2, 126, 16)
    """


class TimeFrequencyScattering(TimeFrequencyBase, NumPyFrontend):
    """``kymatio.numpy.TimeFrequencyScattering``, for arrays.

    Settings, attributes and errors are those of
    :class:`multipath.compat.kymatio.torch.TimeFrequencyScattering`.

    Example:
        >>> import numpy as np
        >>> scattering = TimeFrequencyScattering(J=6, J_fr=2, Q=4, shape=1024, format="joint")
        >>> scattering(np.random.randn(2, 1024)).shape
        (2, 32, 15, 16)
    """


class Scattering2D(Scattering2DBase, NumPyFrontend):
    """``kymatio.numpy.Scattering2D``, for arrays.

    Settings, attributes and errors are those of
    :class:`multipath.compat.kymatio.torch.Scattering2D`.

    Example:
        >>> import numpy as np
        >>> Scattering2D(J=2, shape=(32, 32))(np.random.randn(5, 32, 32)).shape
        (5, 81, 8, 8)
    """
