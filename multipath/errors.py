"""Exceptions of multipath: every message says what was expected, what came and what to do.

``MultipathError`` is the root, so that one ``except`` clause catches them all. Each exception below
also inherits from the built-in one that fits, so that code that knows nothing of multipath handles
it as usual.
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
    """Settings cannot work; raised at construction wherever they can be checked there."""


class InputError(MultipathError, ValueError):
    """Data that comes in at run time (a tensor, a file) is not what the object expects."""


class DrawError(MultipathError, RuntimeError):
    """A path-wise optimizer is stepped without a draw, or with one that is already used.

    Also: the ranks of a distributed training did not come together to compare their draws.
    """
