"""The numbers of the paper: means over seeds, with the margin of a 95 % interval where it has one.

Source: Mitcheltree et al., "Scattering transform with random paths for machine learning", ICLR
2026, tables 1 to 5.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PUBLISHED", "published"]

Number = float | tuple[float, float]

_GRANULAR = "theta", "density", "slope", "steps", "variation"
_DRUMS = "mss", "jtfs"


def _named(names: tuple[str, ...], *values: Number | None) -> dict[str, Number]:
    return {n: v for n, v in zip(names, values, strict=False) if v is not None}


_TABLE_1: dict[str, dict[str, Number]] = {
    "jtfs": _named(_GRANULAR, 42.4, 65.8, 19.0, 1442, 5.66),
    "scrapl": _named(_GRANULAR, (73.8, 13), 70.4, 77.2, 7296, 3.46),
    "scrapl-theta": _named(_GRANULAR, (65.7, 4.2), 72.6, 58.7, 6014, 3.27),
    "mss-linear": _named(_GRANULAR, 370, 499, 241),
    "mss-log": _named(_GRANULAR, 259, 277, 241),
    "mss-revisited": _named(_GRANULAR, 311, 376, 246),
    "mss-random": _named(_GRANULAR, 195, 149, 242),
    "clap": _named(_GRANULAR, 166, 81.9, 250),
    "panns": _named(_GRANULAR, 159, 80.3, 238),
    "ploss": _named(_GRANULAR, 20.5, 24.7, 16.3, 672, 1.83),
}

_CHIRPLETS = {
    "slow-slow": ((124, 155), (77.7, 78.4)),
    "slow-moderate": ((111, 68.6), (55.5, 44.4)),
    "fast-moderate": ((122, 238), (54.9, 48.5)),
    "fast-fast": ((108, 95.6), (81.5, 82.1)),
}

PUBLISHED: Mapping[str, Mapping[str, Mapping[str, Number]]] = {
    "table1": _TABLE_1,
    "table2": {
        "scrapl-adam": _named(_GRANULAR, (99.7, 8.2), None, None, 10906, 5.30),
        "scrapl-padam": _named(_GRANULAR, (87.4, 15), None, None, 8006, 6.98),
        "scrapl": _TABLE_1["scrapl"],
        "scrapl-theta": _TABLE_1["scrapl-theta"],
        "jtfs": _TABLE_1["jtfs"],
    },
    "table3": {
        f"{method} {synth}": _named(("AM", "FM"), *pair)
        for synth, pairs in _CHIRPLETS.items()
        for method, pair in zip(("scrapl", "scrapl-theta"), pairs, strict=True)
    },
    "table4": {
        "jtfs micro": _named(_DRUMS, 617, 490),
        "jtfs meso": _named(_DRUMS, 622, 523),
        "scrapl-theta micro": _named(_DRUMS, 857, 1050),
        "scrapl-theta meso": _named(_DRUMS, 879, 1110),
        "scrapl micro": _named(_DRUMS, 862, 1140),
        "scrapl meso": _named(_DRUMS, 944, 1250),
        "mss-linear micro": _named(_DRUMS, 611, 779),
        "mss-linear meso": _named(_DRUMS, 724, 1470),
        "mss-log micro": _named(_DRUMS, 596, 1260),
        "mss-log meso": _named(_DRUMS, 615, 1390),
        "mss-revisited micro": _named(_DRUMS, 637, 870),
        "mss-revisited meso": _named(_DRUMS, 797, 1250),
        "mss-random micro": _named(_DRUMS, 682, 1410),
        "mss-random meso": _named(_DRUMS, 700, 1500),
    },
    "table5": {
        "jtfs": {"time": 1730, "memory": 12967},
        "scrapl": {"time": 89.8, "memory": 2503},
        "mss-linear": {"time": 26.3, "memory": 694},
        "mss-log": {"time": 19.1},
        "mss-revisited": {"time": 17.0},
        "mss-random": {"time": 24.7},
        "clap": {"time": 75.6},
        "panns": {"time": 29.3},
        "ploss": {"time": 0.5},
    },
    "figure1": _TABLE_1,
}
"""By table, row and column. Tables 1 to 3: parameter errors in per mille (L1), steps until they
are below 100, total variation of the validation error; table 4: distances times 1000; table 5: ms
and MB of one forward and backward on an RTX A5000."""


def published(table: str, row: str, column: str) -> tuple[float, float | None] | None:
    """A number of the paper and its margin, or None where it has none.

    Example:
        >>> published("table1", "scrapl", "theta"), published("table1", "jtfs", "theta")
        ((73.8, 13), (42.4, None))
    """
    value = PUBLISHED.get(table, {}).get(row, {}).get(column)
    if value is None or isinstance(value, tuple):
        return value
    return value, None
