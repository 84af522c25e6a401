"""Table 4 from recordings that are there already: targets, and what others made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from multipath.applications.audio.files import read_audio, resample
from multipath.applications.matching.tasks.tr808 import DrumDistances, TR808Task
from multipath.applications.reports.runs import interval
from multipath.applications.runs.files import read_csv, write_csv
from multipath.errors import InputError

from .grid import DRUM_COLUMNS
from .published import published
from .results import number, table_line

__all__ = ["Pair", "find_pairs", "measure", "summary"]

TARGETS = "targets"

_TARGET = re.compile(r"(?P<method>.+)__(?P<name>[^_]+)\.wav")
_RECONSTRUCTION = re.compile(r"(?P<method>.+)__(?P<name>[^_]+)__hat\.wav")

_NAMES = {
    r"jtfs_.*": "jtfs",
    r"scrapl_.*probs.*": "scrapl-theta",
    r"scrapl_.*": "scrapl",
    r"mss_meso_lin_.*": "mss-linear",
    r"mss_meso_log_.*": "mss-log",
    r"mss_rev_.*": "mss-revisited",
    r"rand_mss_.*": "mss-random",
}
"""Which methods the names of the authors' files stand for; the first that fits counts."""


@dataclass(frozen=True)
class Pair:
    """A recording and what a method made of it.

    Args:
        method: Whose reconstruction it is.
        name: Which target, the same for all methods.
        target: File of the target.
        reconstruction: File of the reconstruction.
    """

    method: str
    name: str
    target: Path
    reconstruction: Path


def find_pairs(folder: Path) -> list[Pair]:
    """Pair reconstructions with their targets, method by method.

    Two layouts are known: ``targets/NAME.wav`` beside ``METHOD/NAME.wav``, and, as the authors
    publish theirs, ``ANYTHING__NAME.wav`` beside ``METHOD__NAME__hat.wav`` in one folder.

    Raises:
        InputError: If there is no folder, there are no reconstructions, or one has no target.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name one with targets and reconstructions")
    if (folder / TARGETS).is_dir():
        targets = {file.stem: file for file in _sounds(folder / TARGETS)}
        made = [
            (each.name, file.stem, file)
            for each in sorted(folder.iterdir())
            if each.is_dir() and each.name != TARGETS
            for file in _sounds(each)
        ]
    else:
        files = _sounds(folder)
        found = [(match, file) for file in files if (match := _RECONSTRUCTION.fullmatch(file.name))]
        made = [(_method(match["method"]), match["name"], file) for match, file in found]
        theirs = {file for _, file in found}
        targets = {
            match["name"]: file
            for file in files
            if file not in theirs and (match := _TARGET.fullmatch(file.name))
        }
    if not made:
        raise InputError(
            f"{folder} holds no reconstructions; expected targets/NAME.wav and METHOD/NAME.wav, or "
            "ANYTHING__NAME.wav and METHOD__NAME__hat.wav"
        )
    alone = [file for _, name, file in made if name not in targets]
    if alone:
        raise InputError(f"{alone[0]} has no target; {len(alone)} of {len(made)} have none")
    seen: dict[tuple[str, str], Path] = {}
    for method, name, file in made:
        if (method, name) in seen:
            raise InputError(f"{seen[method, name]} and {file} are both {name} of {method}")
        seen[method, name] = file
    return [Pair(method, name, targets[name], file) for method, name, file in made]


def _sounds(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wav"), key=lambda file: (len(file.name), file.name))


def _method(name: str) -> str:
    return next((known for form, known in _NAMES.items() if re.fullmatch(form, name)), name)


def measure(pairs: Sequence[Pair], file: Path, task: TR808Task) -> Iterator[dict[str, Any]]:
    """Compute the distances of table 4, pair by pair; what ``file`` holds already is not repeated.

    Args:
        pairs: What to compare.
        file: CSV with a row for each pair. It is written anew after each.
        task: Length, rate, lead-in and scattering of the comparison. Sounds are resampled, and cut
            or filled with silence at their end.

    Yields:
        The rows, in the order of ``pairs``.

    Raises:
        InputError: If a recording cannot be read, or ``file`` is damaged or of other recordings.
    """
    metrics = DrumDistances(task, task.build_synth()).metrics
    done = {(row["method"], row["name"]): row for row in _measured(file)}
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        row = {key: str(value) for key, value in asdict(pair).items()}
        row["fingerprint"] = _fingerprint(pair, task)
        before = done.get((pair.method, pair.name))
        if before is None:
            found = metrics(_read(pair.reconstruction, task), _read(pair.target, task))
            rows.append(row | {name: value.item() for name, value in found.items()})
            write_csv(file, rows)
        elif before["fingerprint"] != row["fingerprint"]:
            raise InputError(
                f"{file} is of other recordings or of another scale; choose another folder with "
                "--out"
            )
        else:
            rows.append(before)
        yield rows[-1]


def _measured(file: Path) -> list[dict[str, Any]]:
    """The rows of an earlier measurement, if there was one."""
    rows: list[dict[str, Any]] = list(read_csv(file)) if file.exists() else []
    try:
        for row in rows:
            row.update({column.name: float(row[column.name]) for column in DRUM_COLUMNS})
            if not {"fingerprint", *(each.name for each in fields(Pair))} <= row.keys():
                raise KeyError("fingerprint")
    except (KeyError, ValueError) as error:
        raise InputError(f"{file} is damaged ({error!r}); delete it to measure again") from error
    return rows


def _fingerprint(pair: Pair, task: TR808Task) -> str:
    """Identifies both recordings by their content, and how they are compared."""
    found = sha256(json.dumps(task.to_dict(), sort_keys=True).encode())
    for file in (pair.target, pair.reconstruction):
        found.update(sha256(file.read_bytes()).digest())
    return found.hexdigest()[:16]


def _read(file: Path, task: TR808Task) -> Tensor:
    """One mono sound of the length and rate of the task, (1, n_samples)."""
    waveform, rate = read_audio(file, mono=True)
    waveform = resample(waveform, rate, round(task.sample_rate)).flatten()
    if len(waveform) < task.n_samples:
        waveform = pad(waveform, (0, task.n_samples - len(waveform)))
    return waveform[None, : task.n_samples]


def summary(rows: Sequence[Mapping[str, Any]], alignment: str = "") -> str:
    """Means over recordings with 95 % intervals, in the units of the paper, as Markdown.

    Args:
        rows: As :func:`measure` yields them.
        alignment: ``"micro"`` or ``"meso"``: which of the paper's numbers stand in brackets.
    """
    text = [
        "# Distances of reconstructions from their targets",
        "",
        "Means over recordings with 95 % intervals (Student's t)"
        + (f"; in brackets the numbers of the paper ({alignment})." if alignment else "."),
        "",
        table_line(["method", "recordings", *(column.title for column in DRUM_COLUMNS)]),
        table_line(["---"] * 2 + ["---:"] * len(DRUM_COLUMNS)),
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        cells = []
        for column in DRUM_COLUMNS:
            value = interval([column.factor * row[column.name] for row in own])
            paper = published("table4", f"{method} {alignment}", column.name)
            cells.append(
                number(value.mean, value.margin) + (f" [{number(*paper)}]" if paper else "")
            )
        text.append(table_line([method, str(len(own)), *cells]))
    return "\n".join(text) + "\n"
