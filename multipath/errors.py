"""Exceptions of multipath: every message says what was expected, what came and what to do.

``MultipathError`` is the root, so that one ``except`` clause catches them all. The two families
below also inherit from the built-in exception that fits, so code that knows nothing of multipath
handles them as usual.
"""


class MultipathError(Exception):
    """Root of every exception that multipath raises on purpose.

    Example:
        >>> from multipath import PathTable
        >>> try:
        ...     PathTable(0)
        ... except MultipathError as error:
        ...     print(error)
        a loss needs at least one path, got 0
    """


class ConfigurationError(MultipathError, ValueError):
    """An object was asked for with settings that cannot work (raised at construction)."""


class InputError(MultipathError, ValueError):
    """Data that came in at run time (a tensor, a file) is not what the object expects."""


class DrawError(MultipathError, RuntimeError):
    """A path-wise optimizer was stepped without a draw, or with a draw already used."""
