"""The commands ``multipath list`` and ``multipath paths``: what there is to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from cyclopts import Parameter

from multipath.applications.matching.objectives import LOSSES, loss_names, scattering_loss
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks.find import find_task, task_names

from .plugins import show_plugins


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
