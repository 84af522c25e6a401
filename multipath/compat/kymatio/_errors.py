"""Errors of the kinds that kymatio raises, which are errors of multipath as well."""

from __future__ import annotations

from multipath.errors import ConfigurationError, InputError


class SizeError(ConfigurationError, RuntimeError):
    """Settings that do not fit one another, or that are not known."""


class FrontendError(ConfigurationError, ImportError):
    """A frontend or backend that does not exist."""


class NotOffered(ConfigurationError, NotImplementedError):
    """What kymatio has and this package lacks."""


class ShapeError(InputError, RuntimeError):
    """A signal or image of the wrong shape or layout."""


class KindError(InputError, TypeError):
    """An input of the wrong type."""
