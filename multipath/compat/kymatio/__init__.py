"""kymatio's classes, computed by multipath: change the import, keep the rest.

The classes here choose a frontend by name, ``frontend="numpy"`` (the default), ``"torch"`` or
``"sklearn"``; :mod:`multipath.compat.kymatio.torch`, ``.numpy`` and ``.sklearn`` hold those of one
frontend each.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ._errors import FrontendError, SizeError
from ._not_offered import HarmonicScattering3D

__all__ = ["HarmonicScattering3D", "Scattering1D", "Scattering2D", "TimeFrequencyScattering"]

FRONTENDS = ("numpy", "torch", "sklearn")
NOT_OFFERED = ("tensorflow", "jax", "keras")


def _made(name: str, frontend: str, settings: Any, named: Any) -> Any:
    chosen = str(frontend).lower()
    if chosen in NOT_OFFERED:
        raise FrontendError(
            f"The frontend {frontend!r} of kymatio is not offered; there are {', '.join(FRONTENDS)}"
        )
    if chosen not in FRONTENDS:
        raise SizeError(
            f"The frontend {frontend!r} is not valid. Must be one of {', '.join(FRONTENDS)}."
        )
    return getattr(import_module(f"{__name__}.{chosen}"), name)(*settings, **named)


class Scattering1D:
    """The ``Scattering1D`` of a frontend, see :class:`multipath.compat.kymatio.torch.Scattering1D`.

    Args:
        settings: Those of the class.
        frontend: ``"numpy"``, ``"torch"`` or ``"sklearn"``.
        named: Settings by name.

    Raises:
        ConfigurationError: If there is no such frontend, or a setting is out of range.

    Example:
        >>> type(Scattering1D(J=4, shape=256, frontend="torch")).__module__
        'multipath.compat.kymatio.torch'
    """

    def __new__(cls, *settings: Any, frontend: str = "numpy", **named: Any) -> Any:
        """Construct the class of the frontend."""
        return _made(cls.__name__, frontend, settings, named)


class TimeFrequencyScattering:
    """The ``TimeFrequencyScattering`` of a frontend.

    See :class:`multipath.compat.kymatio.torch.TimeFrequencyScattering`.

    Args:
        settings: Those of the class.
        frontend: ``"numpy"``, ``"torch"`` or ``"sklearn"``.
        named: Settings by name.

    Raises:
        ConfigurationError: If there is no such frontend, or a setting is out of range.

    Example:
        >>> type(TimeFrequencyScattering(J=4, J_fr=2, Q=2, shape=256)).__module__
        'multipath.compat.kymatio.numpy'
    """

    def __new__(cls, *settings: Any, frontend: str = "numpy", **named: Any) -> Any:
        """Construct the class of the frontend."""
        return _made(cls.__name__, frontend, settings, named)


class Scattering2D:
    """The ``Scattering2D`` of a frontend, see :class:`multipath.compat.kymatio.torch.Scattering2D`.

    Args:
        settings: Those of the class.
        frontend: ``"numpy"``, ``"torch"`` or ``"sklearn"``.
        named: Settings by name.

    Raises:
        ConfigurationError: If there is no such frontend, or a setting is out of range.

    Example:
        >>> type(Scattering2D(J=2, shape=(8, 8), frontend="torch")).__module__
        'multipath.compat.kymatio.torch'
    """

    def __new__(cls, *settings: Any, frontend: str = "numpy", **named: Any) -> Any:
        """Construct the class of the frontend."""
        return _made(cls.__name__, frontend, settings, named)
