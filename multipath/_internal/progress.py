"""How far long work has come, where no terminal could show a bar: a line for every tenth."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Console

PARTS = 10


@dataclass
class _Task:
    description: str
    total: float
    completed: float
    text: str
    first: float
    begun: float
    told: tuple[float, str]

    @property
    def part(self) -> int:
        return int(PARTS * self.completed / self.total) if self.total > 0 else 0


class Lines:
    """Stands in for the ``Progress`` of rich: writes lines to standard error.

    Each has the share that is done, what came with it (the latest error, say), and how long the
    rest will take. The last line says where the work ended.
    """

    def __init__(self) -> None:
        self.tasks: list[_Task] = []

    def add_task(
        self, description: str, *, total: float, completed: float = 0, text: str = ""
    ) -> int:
        """Begin something; returns its number."""
        told = completed, text
        task = _Task(description, total, completed, text, completed, monotonic(), told)
        self.tasks.append(task)
        return len(self.tasks) - 1

    def update(self, number: int, **changes: Any) -> None:
        """Change what is known of a task, and write a line if it has reached the next tenth."""
        task = self.tasks[number]
        before = task.part
        for name, value in changes.items():
            setattr(task, name, value)
        if task.part > before:
            self._tell(task)

    def advance(self, number: int, amount: float = 1) -> None:
        """Add to what is done."""
        self.update(number, completed=self.tasks[number].completed + amount)

    def start(self) -> None:
        """There is nothing to show as yet."""

    def stop(self) -> None:
        """Write down how far all has come, unless the last line says so."""
        for task in self.tasks:
            if (task.completed, task.text) != task.told:
                self._tell(task)

    def __enter__(self) -> Self:
        """As a bar of rich."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _tell(self, task: _Task) -> None:
        task.told = task.completed, task.text
        taken, done = monotonic() - task.begun, task.completed - task.first
        left = task.total - task.completed
        words = [
            f"{task.description}: {100 * task.completed / task.total:.0f} % "
            f"({task.completed:g} of {task.total:g})"
        ]
        words += [task.text] * bool(task.text)
        if left > 0:
            words += [f"{_time(taken * left / done)} left"] * (done > 0)
        else:
            words.append(f"in {_time(taken)}")
        sys.stderr.write(", ".join(words) + "\n")
        sys.stderr.flush()


def redirected(console: Console) -> Lines | None:
    """Lines, where neither a terminal nor a notebook could show a bar that moves."""
    return None if console.is_terminal or console.is_jupyter else Lines()


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
