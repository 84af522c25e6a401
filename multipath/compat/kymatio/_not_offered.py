"""What kymatio has and this package lacks."""

from __future__ import annotations

from typing import Any

from ._errors import NotOffered


class HarmonicScattering3D:
    """Not offered: scattering of volumes.

    Raises:
        ConfigurationError: Always; also a ``NotImplementedError``.
    """

    def __init__(self, *settings: Any, **named: Any) -> None:
        raise NotOffered(
            "HarmonicScattering3D is not offered: multipath scatters signals and images; use "
            "kymatio itself for volumes"
        )
