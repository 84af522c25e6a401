"""The commands of ``multipath``.

What is slow to import is imported by the command that needs it, so that ``--help`` is not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from multipath import __version__
from multipath._internal.names import visible
from multipath.applications.matching.objectives import LOSSES, loss_names, scattering_loss
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks.find import find_task, task_names
from multipath.applications.resynthesis.settings import ResynthesisSettings

from .distance import distance
from .importance import importance
from .match import match
from .metric import metric
from .options import settings_command, task_command
from .plugins import check, show_plugins
from .reproduce import reproduce
from .resynthesize import resynthesize


def make_app(words: Sequence[str] = ()) -> App:
    """The command line for some words; a task is imported if they name it.

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
    app.command(_of_tasks(match, words, ("task", "objective", "encoder", "training")))
    app.command(_of_tasks(importance, words, ("task",)))
    app.command(_of_tasks(metric, words, ("task",)))
    app.command(settings_command(resynthesize, ResynthesisSettings, ["n_samples"]))
    for command in (distance, report, reproduce, paths, check):
        app.command(command)
    app.command(list_choices, name="list")
    return app


def _of_tasks(function: Callable[..., Any], words: Sequence[str], groups: Collection[str]) -> App:
    """A command that is followed by the name of a task."""
    name = function.__name__
    app = App(name=name, help=(function.__doc__ or "").partition("\n")[0])
    if list(words[:1]) == [name] and words[1:] and not words[1].startswith("-"):
        app.command(task_command(function, words[1], words[2:], groups), name=words[1])
    else:
        for task in task_names():
            app.command(App(name=task, help=f"Its options: multipath {name} {task} --help"))
    return app


def paths(
    *, task: str = "chirplet", preset_name: Annotated[str | None, Parameter("--preset")] = None
) -> None:
    """Print the paths of a preset's joint time-frequency scattering transform.

    Args:
        task: Name of a task.
        preset_name: Name of one of its presets; by default the first.
    """
    chosen = preset_name or next(iter(find_task(task).presets()))
    print(scattering_loss(preset(chosen, task).task).paths)


def list_choices(*, check: bool = False) -> int:
    """List plug-ins, losses, and tasks with their presets and choices.

    Args:
        check: Run the conformance tests of every plug-in, and leave.
    """
    if check:
        return show_plugins(checked=True)
    show_plugins()
    show(
        "losses", dict(zip(loss_names(), (row.description for row in LOSSES.values()), strict=True))
    )
    show("tasks and presets", dict(_presets()))
    return 0


def _presets() -> Iterator[tuple[str, str]]:
    for task in task_names():
        try:
            presets = find_task(task).presets()
        except Exception as error:  # the code of others may raise anything
            yield task, f"broken: {' '.join(str(error).split())}"
            continue
        for name, chosen in presets.items():
            sound, training = chosen.task, chosen.training
            yield (
                f"{task} {name}",
                f"{sound.n_samples} samples at {sound.sample_rate:g} Hz, {training.steps} "
                f"steps of {training.batch_size} sounds",
            )
        for name, words in find_task(task).choices().items():
            yield f"{task} {name}", words


def show(title: str, rows: Mapping[str, str]) -> None:
    """Print names and what they mean in two columns."""
    print(title)
    width = max(map(len, rows))
    for name, words in rows.items():
        print(f"  {name:{width}}  {words}")


def report(*runs: Path, out: Path = Path("comparison.html")) -> None:
    """Compare runs on one page: curves with intervals over seeds, errors, sounds, plots.

    Args:
        runs: Folders of runs of match or resynthesize.
        out: The page.
    """
    from multipath.applications.reports.page import write_comparison

    for section in write_comparison(runs, out):
        for note in section.notes:
            print(visible(f"note: {note}"))
    print(visible(f"report: {out}"))
