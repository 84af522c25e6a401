"""The commands of ``multipath``, in the order in which they are likely to be used.

Only the command that is named is imported: ``multipath --help`` needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from cyclopts import App, Parameter

from multipath import __version__


class Command(NamedTuple):
    """Where a command is, and what ``--help`` says of it: the first line of its docstring."""

    place: str
    help: str


COMMANDS = {
    "match": Command("match:match", "Train an encoder to find a synthesizer's parameters."),
    "distance": Command(
        "distance:distance",
        "Compare two recordings, and show the paths that their distance comes from.",
    ),
    "resynthesize": Command(
        "resynthesize:resynthesize",
        "Find a sound that the transform cannot tell from a recording, starting from noise.",
    ),
    "landscape": Command(
        "landscape:landscape",
        "Look at a loss over a synthesizer's parameters, before training.",
    ),
    "importance": Command(
        "importance:importance",
        "Measure which paths say most about a synthesizer's parameters (theta-importance).",
    ),
    "metric": Command(
        "metric:metric",
        "Measure how the loss sees a synthesizer's parameters, and which it cannot hear.",
    ),
    "features": Command(
        "features:features",
        "Compute features of long recordings, window by window, into a folder.",
    ),
    "report": Command(
        "report:report",
        "Compare runs on one page: curves with intervals over seeds, errors, sounds, plots.",
    ),
    "reproduce": Command(
        "reproduce:reproduce",
        "Make a table or figure of the paper again, run by run; the same command goes on.",
    ),
    "list": Command(
        "listing:list_choices",
        "List plug-ins, losses, and tasks with their presets and choices.",
    ),
    "paths": Command(
        "listing:paths",
        "Print the paths of a preset's joint time-frequency scattering transform.",
    ),
    "check": Command(
        "plugins:check",
        "Run the conformance tests of a plug-in: a loss, transform, sampler, optimizer or task.",
    ),
}
"""The commands, by name."""

OF_TASKS = {
    "match": ("task", "objective", "encoder", "training"),
    "landscape": ("task", "objective"),
    "importance": ("task",),
    "metric": ("task",),
}
"""Commands that the name of a task follows, and the groups of its settings that are options."""


def make_app(words: Sequence[str] = ()) -> App:
    """The command line for some words: the command that they name, and the names of the others.

    Raises:
        ConfigurationError: If they name a task that is not there.
    """
    app = App(
        name="multipath",
        help="Train with a loss that is a mean over many paths for the price of a few of them.",
        help_format="plaintext",
        version=f"multipath {__version__}",
        default_parameter=Parameter(negative_bool=(), negative_iterable=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for place, (name, command) in enumerate(COMMANDS.items()):
        if list(words[:1]) == [name]:
            app.command(_load(name, words[1:]), name=name)
        else:
            app.command(App(name=name, help=command.help, sort_key=place))
    return app


def _load(name: str, words: Sequence[str]) -> Callable[..., Any] | App:
    """What a command does; a task is imported if the words begin with one."""
    module, _, function_name = COMMANDS[name].place.partition(":")
    function: Callable[..., Any] = getattr(import_module(f".{module}", __package__), function_name)
    if name in OF_TASKS:
        return _of_tasks(function, name, words)
    if name == "resynthesize":
        from multipath.applications.resynthesis.settings import ResynthesisSettings

        from .options import settings_command

        return settings_command(function, ResynthesisSettings, ["n_samples"])
    return function


def _of_tasks(function: Callable[..., Any], name: str, words: Sequence[str]) -> App:
    """A command that is followed by the name of a task."""
    from multipath.applications.matching.tasks.find import task_names

    from .options import task_command

    app = App(help=COMMANDS[name].help)
    if words and not words[0].startswith("-"):
        app.command(task_command(function, words[0], words[1:], OF_TASKS[name]), name=words[0])
    else:
        for task in task_names():
            app.command(App(name=task, help=f"Its options: multipath {name} {task} --help"))
    return app
