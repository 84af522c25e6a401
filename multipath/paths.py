"""Paths, the terms of a path-decomposed loss, and the table that lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Integral
from operator import index as to_int
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from ._internal.settings import affordable, is_scalar, real, whole
from ._internal.tables import aligned, ends, html_table
from ._internal.tracing import listed
from .errors import ConfigurationError, InputError

GroupBy = (
    str | Callable[["Path"], Hashable] | Sequence[Hashable] | Sequence[Sequence[Hashable]] | Tensor
)
"""A metadata column, a function from a path to its label, one label for each path, or the groups
themselves as lists of path keys or indices. A string is a label and never taken apart."""


MOST_PATHS = 2**28
"""Their weights and probabilities alone take 2 GiB each."""


@dataclass(frozen=True)
class Path:
    """One term of a path-decomposed loss.

    Args:
        index: Position of the path in its loss, from 0 to P - 1.
        key: Name of the path, unique in its loss, e.g. ``(n2, n_fr)`` for joint time-frequency
            scattering. Defaults to the index.
        metadata: Anything that describes the path: rate in Hz, scale in cycles/octave, spin, ...
        cost: Cost of one evaluation relative to the other paths (> 0).

    Example:
        >>> Path(3, key=(2, 1), metadata={"rate": 4.0}).metadata["rate"]
        4.0
    """

    index: int
    key: Hashable = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    cost: float = 1.0

    def __post_init__(self) -> None:
        """Fill in the default key, and check index and cost."""
        object.__setattr__(self, "index", whole("the index of a path", self.index))
        if self.key is None:
            object.__setattr__(self, "key", self.index)
        cost = real(self.cost)
        if not 0.0 < cost < float("inf"):
            raise ConfigurationError(
                f"the cost of path {self.key} must be positive and finite, got {self.cost}"
            )
        object.__setattr__(self, "cost", cost)


class PathTable(Sequence[Path]):
    """The paths of a loss, in order: printable, filterable, indexable.

    Args:
        paths: A number P of anonymous paths of equal cost, or the paths themselves.

    Raises:
        ConfigurationError: If there is no path or two paths share a key.

    Example:
        >>> table = PathTable([
        ...     Path(0, "slow", {"rate": 1.0}),
        ...     Path(1, "medium", {"rate": 2.0}),
        ...     Path(2, "fast", {"rate": 4.0}, cost=2.0),
        ... ])
        >>> print(table.filter(rate=(1.5, None)))
        index  key     rate  cost
            1  medium     2     1
            2  fast       4     2
        >>> table.filter(lambda path: path.cost < 2).indices
        [0, 1]
        >>> table.index_of("fast")
        2
    """

    def __init__(self, paths: int | Iterable[Path]) -> None:
        self._paths: Sequence[Path]
        self._position: dict[Hashable, int] = {}
        if is_scalar(paths) or not isinstance(paths, Iterable):
            self._paths = _AnonymousPaths(_positive_count(paths))
            return
        self._paths = tuple(paths)
        for path in self._paths:
            if not isinstance(path, Path):
                raise ConfigurationError(
                    f"paths must be a number of paths or Path objects, got {path!r}"
                )
        if not self._paths:
            raise ConfigurationError("a loss needs at least one path, got 0")
        self._position = {path.key: i for i, path in enumerate(self._paths)}
        if len(self._position) < len(self._paths):
            counts = Counter(path.key for path in self._paths)
            twice = next(key for key, count in counts.items() if count > 1)
            raise ConfigurationError(f"path keys must be unique, got {twice!r} more than once")

    def __len__(self) -> int:
        """P, the number of paths."""
        return len(self._paths)

    @overload
    def __getitem__(self, item: int) -> Path: ...
    @overload
    def __getitem__(self, item: slice) -> PathTable: ...
    def __getitem__(self, item: int | slice) -> Path | PathTable:
        """A path by position, or a table of a slice."""
        return PathTable(self._paths[item]) if isinstance(item, slice) else self._paths[item]

    def __iter__(self) -> Iterator[Path]:
        """Iterate over the paths in order."""
        return iter(self._paths)

    def __eq__(self, other: object) -> bool:
        """Tables are equal when their paths are."""
        if not isinstance(other, PathTable) or len(self) != len(other):
            return False
        if self.anonymous and other.anonymous:
            return True
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        """Hash of the keys (metadata may hold unhashable values)."""
        return hash(tuple(self.keys))

    @property
    def anonymous(self) -> bool:
        """Whether the table was made from a number; its paths are then created on access."""
        return isinstance(self._paths, _AnonymousPaths)

    @property
    def indices(self) -> list[int]:
        """Index of each path in its loss: 0 ... P - 1, or fewer after :meth:`filter`."""
        return list(range(len(self))) if self.anonymous else [p.index for p in self._paths]

    @property
    def keys(self) -> list[Hashable]:
        """Key of each path."""
        return list(range(len(self))) if self.anonymous else list(self._position)

    @property
    def costs(self) -> Tensor:
        """Relative cost of each path, float64 of shape (P,)."""
        if self.anonymous:
            return torch.ones(len(self), dtype=torch.float64, device="cpu")
        return torch.tensor([path.cost for path in self._paths], dtype=torch.float64, device="cpu")

    def column(self, name: str) -> list[Any]:
        """One metadata column (or ``"index"``, ``"key"``, ``"cost"``); ``None`` where absent.

        Raises:
            InputError: If no path has that column.
        """
        if name in ("index", "key", "cost"):
            return [getattr(path, name) for path in self._paths]
        if name not in self.columns:
            known = ", ".join(("index", "key", "cost", *self.columns))
            raise InputError(f"the paths have no column {name!r}; choose among {known}")
        return [path.metadata.get(name) for path in self._paths]

    @property
    def columns(self) -> list[str]:
        """Names of the metadata columns, in order of appearance."""
        if self.anonymous:
            return []
        return list(dict.fromkeys(name for path in self._paths for name in path.metadata))

    def index_of(self, key: Hashable) -> int:
        """Index in the loss of the path with this key.

        Raises:
            InputError: If no path has that key.
        """
        position = self._position_of_key(key)
        if position is None:
            first = ", ".join(repr(path.key) for path in self._paths[:4])
            raise InputError(f"no path has the key {key!r}; the first keys are {first}")
        return self._paths[position].index

    def filter(self, where: Callable[[Path], bool] | None = None, **columns: Any) -> PathTable:
        """The paths that satisfy every condition, with the indices they have in their loss.

        Args:
            where: A predicate on paths.
            **columns: ``name=value`` keeps equal values; ``name=(low, high)`` keeps
                low <= value <= high, where ``None`` leaves that side open.

        Raises:
            InputError: If a column does not exist or nothing is left.
        """
        kept = [path for path in self._paths if where is None or where(path)]
        for name, wanted in columns.items():
            chosen = {
                path.index
                for path, value in zip(self._paths, self.column(name), strict=True)
                if _matches(value, wanted)
            }
            kept = [path for path in kept if path.index in chosen]
        if not kept:
            raise InputError(f"no path satisfies {columns or where}")
        return PathTable(kept)

    def group(self, by: GroupBy) -> dict[Hashable, list[int]]:
        """Positions of the paths of each group, groups in order of first appearance.

        Args:
            by: A column name, a function from a path to its group, one label for each path, in
                order, or the groups themselves as lists of path keys (for anonymous paths: their
                indices). Labels are anything hashable but collections: strings, numbers.

        Raises:
            InputError: If the groups listed are not a partition of the paths, or the labels not as
                many as the paths.

        Example:
            >>> PathTable(4).group(["low", "low", "high", "low"])
            {'low': [0, 1, 3], 'high': [2]}
            >>> PathTable(4).group([[0, 1, 3], [2]])
            {0: [0, 1, 3], 1: [2]}
        """
        groups: dict[Hashable, list[int]] = {}
        if isinstance(by, str):
            entries, labelled = self.column(by), True
        elif callable(by):
            entries, labelled = [by(path) for path in self._paths], True
        else:
            entries = _as_list(by) if isinstance(by, Iterable) else [by]
            labelled = self._are_labels(entries)
        if labelled:
            for position, label in enumerate(entries):
                groups.setdefault(label, []).append(position)
            return groups
        for number, members in enumerate(map(_as_list, entries)):
            groups[number] = [self._position_of(member) for member in members]
        listed = [position for members in groups.values() for position in members]
        if sorted(listed) != list(range(len(self))) or not all(groups.values()):
            missing = len(set(range(len(self))) - set(listed))
            twice = len(listed) - len(set(listed))
            raise InputError(
                f"the groups must hold every path exactly once and none may be empty: {missing} "
                f"of {len(self)} paths are missing, {twice} appear again"
            )
        return groups

    def find(self, paths: PathTable | Callable[[Path], bool] | Iterable[Hashable]) -> list[int]:
        """Positions of some paths, however they are named.

        Args:
            paths: Keys or indices, a function that says of a path whether it is meant, or a table
                that :meth:`filter` returned.

        Raises:
            InputError: If a path does not exist or is named twice, or if there is none.

        Example:
            >>> table = PathTable([Path(0, "low"), Path(1, "middle"), Path(2, "high")])
            >>> table.find(["high", 0]), table.find(lambda path: path.index > 0)
            ([2, 0], [1, 2])
        """
        if isinstance(paths, PathTable):
            found = [self._position_of_path(path) for path in paths]
        elif callable(paths):
            found = [place for place, path in enumerate(self._paths) if paths(path)]
        elif isinstance(paths, str) or not isinstance(paths, Iterable):
            raise InputError(
                "expected a list of path keys or indices, a function or a table of paths, got "
                f"{paths!r}; a single path goes into a list"
            )
        else:
            members = _as_list(paths)
            if any(isinstance(member, bool | np.bool_) for member in members):
                raise InputError("the paths came as a mask; pass mask.nonzero().flatten()")
            found = [self._position_of(member) for member in members]
        if not found:
            raise InputError("expected at least one path, got none")
        if len(set(found)) < len(found):
            twice = next(place for place in found if found.count(place) > 1)
            raise InputError(f"path {self._paths[twice].key!r} is named more than once")
        return found

    def _position_of_key(self, key: Any) -> int | None:
        if not self.anonymous:
            return self._position.get(key)
        with suppress(TypeError):  # the keys 0, ..., P - 1 are their own positions
            position = to_int(key)
            return position if 0 <= position < len(self) else None
        return None

    def _position_of_path(self, path: Path) -> int:
        position = self._position_of_key(path.key)
        if position is None:
            raise InputError(
                f"path {path.key!r} is not among these; the table belongs to another loss"
            )
        return position

    def _are_labels(self, entries: list[Any]) -> bool:
        """Whether the entries are one label per path; otherwise they are the groups themselves."""
        single = [isinstance(entry, str) or not isinstance(entry, Iterable) for entry in entries]
        if not any(single):
            return False
        if len(entries) == len(self) and all(single):
            return True
        raise InputError(
            "paths are grouped by a column name, a function, a list of one label for each path or "
            f"a list of lists of keys, got {entries!r} for {len(self)} paths"
        )

    def _position_of(self, member: Any) -> int:
        """Position of a path named by key or, failing that, by index."""
        with suppress(TypeError):  # of a list, say, which can be no key
            position = self._position_of_key(member)
            if position is not None:
                return position
        if isinstance(member, Integral) and member in self.indices:
            return self.indices.index(int(member))
        raise InputError(f"no path has the key or index {member!r}")

    def __repr__(self) -> str:
        """One line: how many paths and which columns."""
        return f"PathTable({len(self)} paths; columns: {', '.join(self.columns) or 'none'})"

    def __str__(self) -> str:
        """The whole table as aligned text."""
        cells = self._cells(self._paths)
        return aligned(cells, left=cells[0].index("key"))

    def _repr_html_(self) -> str:
        """The first and the last paths, in notebooks."""
        shown, omitted = ends(self._paths)
        return html_table(self._cells(shown), repr(self), omitted)

    def _cells(self, paths: Iterable[Path]) -> list[list[str]]:
        names = ["index", "key", *self.columns, "cost"]
        return [names, *([_cell(path, name) for name in names] for path in paths)]


class _AnonymousPaths(Sequence[Path]):
    """``Path(0), ..., Path(P - 1)``, created on access: a million of them take no memory."""

    def __init__(self, n_paths: int) -> None:
        self._indices = range(n_paths)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, item: int) -> Path: ...
    @overload
    def __getitem__(self, item: slice) -> tuple[Path, ...]: ...
    def __getitem__(self, item: int | slice) -> Path | tuple[Path, ...]:
        chosen = self._indices[item]
        return Path(chosen) if isinstance(chosen, int) else tuple(map(Path, chosen))


class PathIndices(list[int]):
    """Indices of paths that :func:`check_indices` has checked; checking them again costs nothing.

    Losses, groups and transforms are public at every level, so each checks what it is given. What
    one of them passes on to the next is of this class, and valid for ``n_paths`` paths.
    """

    def __init__(self, indices: Iterable[int], n_paths: int) -> None:
        super().__init__(indices)
        self.n_paths = n_paths


def check_indices(indices: Sequence[int] | Tensor, n_paths: int) -> list[int]:
    """Path indices as a list of ints, whatever they came as.

    Args:
        indices: Any sequence of integers or an integer tensor of one dimension.
        n_paths: P; indices must lie in [0, P).

    Raises:
        InputError: If they are not integers, not one-dimensional, empty or out of range.

    Example:
        >>> check_indices(torch.tensor([2, 0]), n_paths=3)
        [2, 0]
    """
    if isinstance(indices, PathIndices) and indices.n_paths == n_paths:
        # a program being compiled makes tensors of plain lists only
        return list(indices) if torch.compiler.is_compiling() else indices
    if isinstance(indices, Tensor) and indices.dtype == torch.bool:
        raise InputError("path indices came as a mask; pass mask.nonzero().flatten()")
    try:
        values = listed(indices) if isinstance(indices, Tensor) else list(indices)
        result = [to_int(value) for value in values]
    except TypeError:
        raise InputError(
            f"path indices must be a sequence or 1-D tensor of integers, got {indices!r}"
        ) from None
    if not result:
        raise InputError("path indices are empty; name at least one path")
    outside = [index for index in result if not 0 <= index < n_paths]
    if outside:
        raise InputError(
            f"path index {outside[0]} is out of range: the loss has {n_paths} paths, "
            f"0 to {n_paths - 1}"
        )
    return result if torch.compiler.is_compiling() else PathIndices(result, n_paths)


def complete_table(paths: int | Iterable[Path]) -> PathTable:
    """The table of all the paths of a loss or a transform.

    Raises:
        ConfigurationError: If the index of a path is not its position, as after
            :meth:`PathTable.filter`.
    """
    table = paths if isinstance(paths, PathTable) else PathTable(paths)
    if table.anonymous:
        return table
    for position, path in enumerate(table):
        if path.index != position:
            raise ConfigurationError(
                f"path {path.key!r} has index {path.index} at position {position}; the paths of a "
                "loss are numbered from 0 without gaps (a filtered table is not)"
            )
    return table


def priced_paths(
    rows: Iterable[tuple[Hashable, Mapping[str, Any], float]],
) -> list[Path]:
    """Paths of some keys, metadata and costs; the costs are divided by their mean."""
    listed = list(rows)
    mean = sum(cost for *_, cost in listed) / len(listed)
    return [
        Path(index, key, metadata, cost / mean)
        for index, (key, metadata, cost) in enumerate(listed)
    ]


def _as_list(members: Any) -> list[Any]:
    """A list of plain values, also from a tensor or a list of scalar tensors."""
    if isinstance(members, Tensor):
        members = members.tolist()
    return [m.item() if isinstance(m, Tensor) and not m.ndim else m for m in members]


def _positive_count(count: Any) -> int:
    try:
        value = whole("paths", count)
    except ConfigurationError:
        raise ConfigurationError(
            f"paths must be a number of paths or the paths themselves, got {count!r}"
        ) from None
    if value < 1:
        raise ConfigurationError(f"a loss needs at least one path, got {value}")
    affordable("paths", value, MOST_PATHS)
    return value


def _matches(value: Any, wanted: Any) -> bool:
    if value is None:
        return wanted is None
    if isinstance(wanted, tuple) and len(wanted) == 2 and not isinstance(value, tuple):
        low, high = wanted
        return (low is None or value >= low) and (high is None or value <= high)
    return bool(value == wanted)


def _cell(path: Path, name: str) -> str:
    value = getattr(path, name) if name in ("index", "key", "cost") else path.metadata.get(name)
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
