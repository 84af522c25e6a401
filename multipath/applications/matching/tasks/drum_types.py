"""What a recording is of, and splits in which every type of drum has its share."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from multipath.errors import InputError

from .data import SPLITS

UNKNOWN = "unknown"


def read_labels(path: Path) -> dict[str, str]:
    """What a file with the columns ``file`` and ``drum`` says each recording is.

    Args:
        path: A CSV file; nothing is said where there is none.

    Raises:
        InputError: If it cannot be read, a field is missing, or a file is labelled in two ways.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(f"{path}: this is not a readable CSV file ({error})") from error
    labels: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        name, drum = (row.get("file") or "").strip(), (row.get("drum") or "").strip()
        if not name or not drum:
            raise InputError(
                f"{path}, line {number}: expected columns file and drum, both filled in, got {row}"
            )
        if labels.setdefault(name, drum) != drum:
            raise InputError(
                f"{path}, line {number}: {name} is both {labels[name]} and {drum}; keep one"
            )
    return labels


def guess_type(name: str) -> str:
    """Type of a drum from its path: its sub-folder, else the letters that its name begins with.

    Example:
        >>> guess_type("snares/01.wav"), guess_type("BD 808.wav"), guess_type("kick3.wav")
        ('snares', 'BD', 'kick')
        >>> guess_type("007.wav"), guess_type("recording.wav")  # a name is not a prefix
        ('unknown', 'unknown')
    """
    path = Path(name)
    if len(path.parts) > 1:
        return path.parts[0]
    prefix = re.match(r"[^\W\d_]+(?=[\W\d_])", path.stem)
    return prefix[0] if prefix else UNKNOWN


def split_by_type(types: Sequence[str], *, seed: int = 0) -> dict[str, Tensor]:
    """Split 60/20/20 at random, each type as well as it goes.

    Every type with three members or more is in each split. What does not come out even for one
    type is made up for by the next, so that the whole is split 60/20/20 too; types with fewer
    members share their places.

    Args:
        types: Type of each item.
        seed: Decides who is where.

    Returns:
        Sorted indices of the items in each of "train", "validation" and "test".

    Example:
        >>> split_by_type(["BD"] * 5 + ["SD"] * 10)["test"]
        tensor([ 1,  5, 10])
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(types):
        groups[name].append(index)
    frequent = [groups[name] for name in sorted(groups) if len(groups[name]) >= len(SPLITS)]
    rare = [i for name in sorted(groups) if len(groups[name]) < len(SPLITS) for i in groups[name]]
    generator = torch.Generator().manual_seed(seed)
    chosen: dict[str, list[int]] = {split: [] for split in SPLITS}
    owed = dict.fromkeys(SPLITS, 0.0)
    for members in [*frequent, rare]:
        for split, share in SPLITS.items():
            owed[split] += share * len(members)
        order = torch.randperm(len(members), generator=generator).tolist()
        for place, position in enumerate(order):
            if place < len(SPLITS) <= len(members):
                split = list(SPLITS)[place]
            else:
                split = max(owed, key=owed.__getitem__)
            owed[split] -= 1
            chosen[split].append(members[position])
    return {split: torch.tensor(sorted(i), dtype=torch.long) for split, i in chosen.items()}
