"""The results file: written whole after every case, so that an interruption loses none."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .cases import KYMATIO

SCHEMA = 1


class ResultsError(Exception):
    """A results file that cannot be read or continued; the text says why."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """The results in a file.

    Raises:
        ResultsError: If there is none, or it is of another kind.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read as results: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ResultsError(f"{path} does not hold results of this version; start without it")
    return data


def write_report(folder: Path, name: str, report: dict[str, Any], text: str) -> None:
    """A small report as data and as Markdown, which is printed too."""
    write_atomically(folder / f"{name}.json", json.dumps(report, indent=1) + "\n")
    write_atomically(folder / f"{name}.md", text)
    print(text)


class Store:
    """Results that grow case by case.

    Args:
        path: The JSON file.
        conditions: What all results of a file have in common: setting, batch, threads.
        keep: Continue the file, if there is one, instead of starting afresh.

    Raises:
        ResultsError: If the file to continue was measured under other conditions.
    """

    def __init__(self, path: Path, conditions: dict[str, Any], keep: bool = False) -> None:
        self.path = path
        # as it will read back from the file: tuples are lists there
        wanted = json.loads(json.dumps(conditions))
        self.data: dict[str, Any] = {
            "schema": SCHEMA, "conditions": wanted, "runs": [], "cases": {},
        }  # fmt: skip
        if keep and path.exists():
            self.data = read(path)
            if self.data["conditions"] != wanted:
                raise ResultsError(
                    f"{path} was measured under other conditions: {self.data['conditions']}, not "
                    f"{wanted}; name another file with --out or start afresh without --resume"
                )

    def begin(self, environment: dict[str, Any]) -> None:
        """Note where and when the cases from now on are measured."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        self.data["runs"].append({"date": date, **environment})

    def drop(self, groups: Collection[str]) -> None:
        """Forget groups that will be measured anew."""
        kept = {n: r for n, r in self.data["cases"].items() if r["group"] not in groups}
        self.data["cases"] = kept

    def __contains__(self, name: str) -> bool:
        """Whether a case has been measured."""
        return name in self.data["cases"]

    def add(self, name: str, record: dict[str, Any]) -> None:
        """Keep a case, in the file too."""
        self.data["cases"][name] = {"run": len(self.data["runs"]) - 1, **record}
        self.write()

    def write(self) -> None:
        """Write the file."""
        write_atomically(self.path, json.dumps(self.data, indent=1) + "\n")


def reusable_peer(path: Path, case: str) -> dict[str, Any]:
    """What an earlier results file says of kymatio in a case, marked with its origin.

    Raises:
        ResultsError: If it says nothing.
    """
    data = read(path)
    record = data["cases"].get(case, {})
    found = record.get("contenders", {}).get(KYMATIO, {})
    if "seconds" not in found:
        raise ResultsError(f"{path} holds no measurement of {KYMATIO} for {case}")
    origin = found.get("reused") or data["runs"][record["run"]]["date"]
    return {**found, "reused": origin}
