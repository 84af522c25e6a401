"""Losses, transforms, samplers, optimizers and tasks of any installed package.

A package announces them as entry points, in its ``pyproject.toml``::

    [project.entry-points."multipath.losses"]
    huber = "my_package:HuberLoss"

    [project.entry-points."multipath.conformance"]
    huber = "my_package.tests:HuberTests"

The groups are ``multipath.losses``, ``multipath.transforms``, ``multipath.samplers``,
``multipath.optimizers`` and ``multipath.tasks``; each entry names a class, or a function that makes
an object. An entry of the same name in ``multipath.conformance`` names a class of tests, derived
from the one for its kind, which says how to make an object to test: ``multipath check huber`` runs
it. What multipath ships is announced in the same way.

Nothing is imported before it is loaded, so that a broken package harms those alone who use it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, distributions
from typing import Any

from .errors import ConfigurationError

logger = logging.getLogger(__name__)

_TESTS = "multipath.conformance"
_TEST_CLASSES = {
    "losses": "multipath.testing:LossTests",
    "transforms": "multipath.testing:LossTests",
    "samplers": "multipath.testing:SamplerTests",
    "optimizers": "multipath.testing:OptimizerTests",
    "tasks": "multipath.applications.matching.testing:TaskTests",
}
"""What the tests of each kind inherit, imported only when tests are loaded."""
KINDS = tuple(_TEST_CLASSES)


@dataclass(frozen=True)
class Plugin:
    """One entry of an installed distribution.

    Args:
        kind: ``"losses"``, ``"transforms"``, ``"samplers"``, ``"optimizers"`` or ``"tasks"``.
        name: What it is called on the command line.
        value: Where it is, ``"module:attribute"``.
        distribution: Name of what was installed.
        version: Its version, ``"?"`` if it has none.
        tests: Where its conformance tests are, or None if it declares none.
    """

    kind: str
    name: str
    value: str
    distribution: str
    version: str
    tests: str | None = None

    def load(self) -> Any:
        """Import it.

        Raises:
            ConfigurationError: If that fails, for whatever reason, or gives nothing to call.
        """
        return self._load(self.value)

    def load_tests(self) -> type:
        """Import the class of its conformance tests.

        Raises:
            ConfigurationError: If it declares none, they cannot be imported, or they are not of
                its kind.
        """
        if self.tests is None:
            raise ConfigurationError(
                f"{self} declares no conformance tests: name a class of them in its pyproject.toml,"
                f' [project.entry-points."{_TESTS}"] {self.name} = "module:Tests"'
            )
        wanted = self._load(_TEST_CLASSES[self.kind])
        found = self._load(self.tests)
        if not (isinstance(found, type) and issubclass(found, wanted)):
            raise ConfigurationError(
                f"the conformance tests of {self} must be a subclass of {wanted.__name__}, got "
                f"{self.tests}, which is {found!r}"
            )
        return found

    def _load(self, value: str) -> Any:
        try:
            found = EntryPoint(self.name, value, f"multipath.{self.kind}").load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # importing it runs code of others: it may exit, or skip
            raise ConfigurationError(
                f"{self} cannot be loaded from {value}: {type(error).__name__}: {error}"
            ) from error
        if not callable(found):
            raise ConfigurationError(
                f"{self} must name a class or a function, got {value}, which is {found!r}"
            )
        return found

    def __str__(self) -> str:
        """Name and origin."""
        return f"{self.name} ({self.distribution} {self.version})"


def installed(kind: str | None = None, name: str | None = None) -> list[Plugin]:
    """All plug-ins, in order of kind, name and distribution; nothing is imported.

    Args:
        kind: Only plug-ins of this kind (:attr:`Plugin.kind`).
        name: Only plug-ins of this name.

    Raises:
        ConfigurationError: If there is no such kind.
    """
    if kind not in (None, *KINDS):
        raise ConfigurationError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    found = [
        plugin for plugin in _every() if kind in (None, plugin.kind) and name in (None, plugin.name)
    ]
    return sorted(found, key=lambda p: (KINDS.index(p.kind), p.name.lower(), p.distribution))


def load(kind: str, name: str) -> Any:
    """The class of this name, imported.

    Args:
        kind: As in :func:`installed`.
        name: As its distribution announces it.

    Raises:
        ConfigurationError: If there is none, several distributions announce one, or it cannot be
            imported.
    """
    found = installed(kind, name)
    if not found:
        raise unknown(name, kind)
    if len(found) > 1:
        names = ", ".join(str(plugin) for plugin in found)
        raise ConfigurationError(f"several {kind} are called {name}: {names}; uninstall one")
    return found[0].load()


def unknown(name: str, *kinds: str) -> ConfigurationError:
    """The error of a name that nothing installed has, with names that look alike."""
    known = sorted({plugin.name for plugin in installed() if plugin.kind in (kinds or KINDS)})
    lowered = {other.lower(): other for other in known}
    near = [lowered[match] for match in get_close_matches(name.lower(), lowered)]
    choices = f"did you mean {', '.join(near)}" if near else f"there are {', '.join(known)}"
    return ConfigurationError(
        f"no installed distribution announces {' or '.join(kinds) or 'anything'} called {name!r}"
        + (f"; {choices}" if known else "")
    )


def _every() -> Iterator[Plugin]:
    seen = set[str]()
    for distribution in distributions():
        owner = distribution.metadata["Name"] or "unnamed"
        key = owner.lower().replace("_", "-")
        if key in seen:  # the first on the path is the one that is imported
            continue
        seen.add(key)
        try:
            entries = list(distribution.entry_points)
        except Exception as error:  # a file that somebody wrote by hand
            logger.warning("the entry points of %s cannot be read: %s", owner, error)
            continue
        tests = {entry.name: entry.value for entry in entries if entry.group == _TESTS}
        for entry in entries:
            group, _, kind = entry.group.partition(".")
            if group == "multipath" and kind in KINDS:
                version = distribution.metadata["Version"] or "?"
                yield Plugin(kind, entry.name, entry.value, owner, version, tests.get(entry.name))
