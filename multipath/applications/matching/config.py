"""Everything that defines a sound matching run, in groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from multipath.applications.runs.settings import Settings, check_seed
from multipath.errors import ConfigurationError, InputError

from .objectives import find_objective
from .settings import EncoderSettings, ObjectiveSettings, TrainingSettings
from .tasks.base import Task
from .tasks.chirplet import ChirpletTask
from .tasks.granular import GranularTask
from .tasks.tr808 import TR808Task

TASK_CLASSES: dict[str, type[Task]] = {
    kind.name: kind for kind in (ChirpletTask, GranularTask, TR808Task)
}
"""What can be matched, by name."""


@dataclass(frozen=True, kw_only=True)
class MatchConfig(Settings):
    """One sound matching run; frozen, and saved as ``config.json`` in its folder.

    Args:
        preset: Name of the preset it started from.
        seed: Seed of everything random: data, weights, dropout, nuisance and draws.
        task: What is matched.
        objective: The loss.
        encoder: What estimates the parameters.
        training: How long and how fast.

    Example:
        >>> from multipath.applications.matching.presets import preset
        >>> config = preset("quick", loss="mss-log", steps=100)
        >>> config.objective.loss, config.training.steps, config.task.n_samples
        ('mss-log', 100, 4096)
        >>> MatchConfig.from_dict(config.to_dict()) == config
        True
    """

    preset: str
    seed: int
    task: Task
    objective: ObjectiveSettings
    encoder: EncoderSettings
    training: TrainingSettings

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        check_seed(self.seed)
        supervised = find_objective(self.objective.loss).supervised
        if supervised and not self.task.knows_theta:
            raise ConfigurationError(
                f"the loss {self.objective.loss!r} compares parameters, but nobody knows those of "
                f"the targets of {self.task.name}; choose a loss that compares sounds"
            )

    def changed(self, **changes: Any) -> MatchConfig:
        """The same with other settings, each named without its group: names are unique.

        Raises:
            ConfigurationError: If there is no such setting.

        Example:
            >>> from multipath.applications.matching.presets import preset
            >>> preset("quick").changed(batch_size=2, dropout=0.1).training.batch_size
            2
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for group, settings in values.items():
            own = {field.name for field in fields(settings)} if _is_group(settings) else {group}
            here = {name: changes.pop(name) for name in own & set(changes)}
            if here:
                values[group] = replace(settings, **here) if _is_group(settings) else here[group]
        if changes:
            raise ConfigurationError(
                f"{self.task.name} has no settings named {', '.join(sorted(changes))}"
            )
        return MatchConfig(**values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MatchConfig:
        """Restore a configuration saved as JSON, the inverse of ``to_dict``.

        Raises:
            InputError: If a setting is missing or unknown.
        """
        task = dict(values.get("task") or {})
        name = task.pop("name", None)
        if name not in TASK_CLASSES:
            raise InputError(
                "this is not the configuration of a sound matching run of this version: its "
                f"task is {name!r}, expected one of {', '.join(TASK_CLASSES)}"
            )
        restored = TASK_CLASSES[name].from_dict(task)
        return super().from_dict({**values, "task": restored})


def _is_group(value: Any) -> bool:
    return isinstance(value, Settings)
