"""Runs the generators in turn, each for its share of the time, and counts."""

from __future__ import annotations

import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from multipath.errors import MultipathError

from .commands import command_line
from .folders import tampered_folder
from .kills import killed_run
from .objects import forward
from .states import tampered_state

Generator = Callable[[Random, Path], str]

GENERATORS: dict[str, tuple[Generator, float]] = {  # with the share of the time
    "constructors and forwards": (forward, 0.3),
    "tampered states": (tampered_state, 0.1),
    "command lines": (command_line, 0.2),
    "tampered folders": (tampered_folder, 0.2),
    "kills": (killed_run, 0.2),
}

PATIENCE = 120
"""Seconds after which a case hangs."""


@dataclass
class Figures:
    """How the cases of each generator ended, and what was found."""

    ended: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = [f"{'':28}{'tried':>8}{'right':>8}{'refused':>9}{'wrong':>7}"]
        for name, ended in self.ended.items():
            wrong = ended.total() - ended["right"] - ended["refused"]
            rows.append(
                f"{name:28}{ended.total():8}{ended['right']:8}{ended['refused']:9}{wrong:7}"
            )
        return "\n".join(rows + self.findings)


def cases(seconds: float, seed: int) -> Iterator[tuple[str, int]]:
    """Which generator is next, with the number of its case, until the time is over."""
    spent, numbers = dict.fromkeys(GENERATORS, 0.0), Counter[str]()
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        name = min(GENERATORS, key=lambda name: spent[name] / GENERATORS[name][1])
        before = time.monotonic()
        yield name, numbers[name]
        spent[name] += time.monotonic() - before
        numbers[name] += 1


def try_case(name: str, seed: int, number: int) -> tuple[str, str]:
    """How a case ended, and the finding if there is one. Equal arguments give equal cases."""
    with TemporaryDirectory(prefix="fuzz-") as folder:
        signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(PATIENCE)
        try:
            return GENERATORS[name][0](Random(f"{seed} {name} {number}"), Path(folder)), ""
        except MultipathError as error:
            if "\n" not in str(error) and str(error):
                return "refused", ""
            return "wrong", f"a message of several lines, or of none: {error!r}"
        except Exception:
            return "wrong", traceback.format_exc()
        finally:
            signal.alarm(0)


def _give_up(*_: object) -> None:
    raise TimeoutError(f"no end after {PATIENCE} seconds")


def fuzz(seconds: float, seed: int, report: Callable[[Figures], None] = lambda _: None) -> Figures:
    """Try cases for a while.

    Args:
        seconds: For how long.
        seed: Of all cases.
        report: Called after each case.
    """
    figures = Figures({name: Counter() for name in GENERATORS})
    for name, number in cases(seconds, seed):
        ended, finding = try_case(name, seed, number)
        figures.ended[name][ended] += 1
        if finding:
            again = f"python -m tests.fuzz --seed {seed} --only {name!r} --case {number}"
            figures.findings.append(f"\n{name}, case {number}: {again}\n{finding}")
        report(figures)
    return figures
