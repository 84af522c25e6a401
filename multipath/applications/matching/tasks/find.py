"""Tasks by name: those of multipath and of any other installed package."""

from __future__ import annotations

from multipath.errors import ConfigurationError
from multipath.plugins import installed, load

from .base import Task


def task_names() -> list[str]:
    """The names of all installed tasks; none is imported.

    Example:
        >>> task_names()[:3]
        ['amchirp', 'chirplet', 'drum']
    """
    return [plugin.name for plugin in installed("tasks")]


def find_task(name: str) -> type[Task]:
    """The class of a task, imported.

    Args:
        name: As its package announces it in the entry point group ``multipath.tasks``.

    Raises:
        ConfigurationError: If no package announces it, several do, it cannot be imported, or it is
            not a :class:`~multipath.applications.matching.tasks.base.Task` of that name.
    """
    found = load("tasks", name)
    if not (isinstance(found, type) and issubclass(found, Task) and found.name == name):
        raise ConfigurationError(
            f"the task {name} must be a subclass of multipath.applications.matching.tasks.base.Task"
            f" whose `name` is {name!r}, got {found!r}"
        )
    return found
