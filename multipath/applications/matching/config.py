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
from .tasks.find import find_task


@dataclass(frozen=True, kw_only=True)
class MatchConfig(Settings):
    """One sound matching run; frozen, and saved as ``config.json`` in its folder.

    Args:
        preset: The settings to start from: ``quick`` is for a CPU, ``paper`` for a GPU.
        seed: Governs everything random: data, weights, dropout, nuisance and draws.
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
        chosen, loss = self.objective, find_objective(self.objective.loss)
        if chosen.probabilities is not None and not loss.takes_probabilities:
            raise ConfigurationError(
                f"the loss {chosen.loss!r} does not draw from probabilities of a file; use one of "
                "the scrapl losses, or leave out --probabilities"
            )
        if chosen.reweight and chosen.probabilities is None:
            raise ConfigurationError(
                "reweight changes nothing without probabilities; name a file with --probabilities"
            )
        if loss.supervised and not self.task.knows_theta:
            raise ConfigurationError(
                f"the loss {chosen.loss!r} compares parameters, but the true parameters of the "
                f"targets of {self.task.name} are unknown; choose a loss that compares sounds"
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
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Settings):
                own = changes.keys() & {each.name for each in fields(value)}
                values[field.name] = replace(value, **{name: changes.pop(name) for name in own})
            else:
                values[field.name] = changes.pop(field.name, value)
        if changes:
            raise ConfigurationError(
                f"{self.task.name} has no settings named {', '.join(sorted(changes))}"
            )
        return MatchConfig(**values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MatchConfig:
        """Restore a configuration saved as JSON, the inverse of ``to_dict``.

        Raises:
            InputError: If it is not of a sound matching run, or a setting is missing or unknown.
            ConfigurationError: If its task is not installed.
        """
        task = values.get("task") if isinstance(values, Mapping) else None
        if not isinstance(task, Mapping) or not isinstance(task.get("name"), str):
            raise InputError(
                "this is not the configuration of a sound matching run: it names no task"
            )
        settings = {name: value for name, value in task.items() if name != "name"}
        restored = find_task(task["name"]).from_dict(settings)
        return super().from_dict({**values, "task": restored})
