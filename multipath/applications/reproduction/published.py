"""The numbers of the paper: means over seeds, with the margin of a 95 % interval where it has one.

Source: Mitcheltree et al., "Scattering transform with random paths for machine learning", ICLR
2026, tables 1 to 5, 8 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["PUBLISHED", "published"]

Number = float | tuple[float, float]

_GRANULAR = "theta", "density", "slope", "steps", "variation"
_DISTANCES = "mss", "jtfs"
_FEATURES = "loudness", "centroid", "flatness"


def _named(names: Sequence[str], *values: Number | None) -> dict[str, Number]:
    return {n: v for n, v in zip(names, values, strict=False) if v is not None}


_TABLE_1: dict[str, dict[str, Number]] = {
    "jtfs": _named(_GRANULAR, 42.4, 65.8, 19.0, 1442, 5.66),
    "scrapl": _named(_GRANULAR, (73.8, 13), (70.4, 8.8), (77.2, 19), (7296, 683), (3.46, 0.15)),
    "scrapl-theta": _named(
        _GRANULAR, (65.7, 4.2), (72.6, 6.3), (58.7, 7.5), (6014, 642), (3.27, 0.12)
    ),
    "mss-linear": _named(_GRANULAR, (370, 0.52), (499, 0.84), (241, 0.28)),
    "mss-log": _named(_GRANULAR, (259, 1.7), (277, 3.2), (241, 0.42)),
    "mss-revisited": _named(_GRANULAR, (311, 19), (376, 40), (246, 3.0)),
    "mss-random": _named(_GRANULAR, (195, 4.2), (149, 7.8), (242, 1.0)),
    "clap": _named(_GRANULAR, (166, 8.2), (81.9, 9.0), (250, 8.2)),
    "panns": _named(_GRANULAR, (159, 4.4), (80.3, 4.2), (238, 5.5)),
    "ploss": _named(_GRANULAR, (20.5, 0.2), (24.7, 0.31), (16.3, 0.31), (672, 23), (1.83, 0.025)),
}

_CHIRPLETS = {
    "slow-slow": (((124, 10), (155, 18)), ((77.7, 6.7), (78.4, 11))),
    "slow-moderate": (((111, 20), (68.6, 11)), ((55.5, 4.1), (44.4, 2.8))),
    "fast-moderate": (((122, 22), (238, 21)), ((54.9, 3.5), (48.5, 4.7))),
    "fast-fast": (((108, 12), (95.6, 20)), ((81.5, 12), (82.1, 11))),
}
"""Errors of AM and FM with uniform draws and with those of theta-importance."""

_DRUMS: dict[str, tuple[tuple[Number, ...], ...]] = {
    "jtfs micro": (
        ((617, 46), (490, 28)),
        ((137, 10), (859, 68), (1200, 87)),
        ((315, 22), (614, 51), (527, 31)),
    ),
    "scrapl-theta micro": (
        ((857, 42), (1050, 50)),
        ((374, 39), (1000, 120), (1750, 270)),
        ((1810, 160), (1490, 120), (2540, 290)),
    ),
    "scrapl micro": (
        ((862, 36), (1140, 48)),
        ((389, 41), (1020, 100), (1800, 170)),
        ((1810, 190), (1530, 170), (2620, 310)),
    ),
    "mss-linear micro": (
        ((611, 15), (779, 31)),
        ((381, 12), (902, 27), (962, 43)),
        ((357, 12), (654, 18), (472, 17)),
    ),
    "mss-log micro": (
        ((596, 19), (1260, 58)),
        ((492, 44), (928, 65), (916, 50)),
        ((389, 42), (563, 22), (565, 29)),
    ),
    "mss-revisited micro": (
        ((637, 16), (870, 23)),
        ((330, 21), (1070, 49), (1390, 62)),
        ((279, 12), (589, 21), (552, 22)),
    ),
    "mss-random micro": (
        ((682, 25), (1410, 87)),
        ((584, 75), (1200, 100), (1690, 120)),
        ((453, 21), (660, 27), (594, 30)),
    ),
    "jtfs meso": (
        ((622, 45), (523, 17)),
        ((158, 20), (819, 96), (1090, 110)),
        ((355, 110), (617, 71), (718, 190)),
    ),
    "scrapl-theta meso": (
        ((879, 42), (1110, 52)),
        ((377, 32), (1080, 120), (1820, 220)),
        ((1740, 170), (1470, 140), (2480, 290)),
    ),
    "scrapl meso": (
        ((944, 48), (1250, 51)),
        ((460, 60), (992, 110), (1990, 180)),
        ((2210, 210), (1860, 170), (3300, 370)),
    ),
    "mss-linear meso": (
        ((724, 37), (1470, 83)),
        ((2510, 480), (2350, 310), (3620, 680)),
        ((1120, 260), (1110, 160), (1500, 350)),
    ),
    "mss-log meso": (
        ((615, 18), (1390, 49)),
        ((1080, 91), (1380, 76), (1320, 150)),
        ((466, 45), (597, 24), (644, 51)),
    ),
    "mss-revisited meso": (
        ((797, 20), (1250, 27)),
        ((808, 40), (1540, 53), (2640, 96)),
        ((494, 22), (801, 29), (846, 29)),
    ),
    "mss-random meso": (
        ((700, 26), (1500, 59)),
        ((1030, 89), (1350, 99), (1950, 140)),
        ((485, 24), (640, 35), (658, 33)),
    ),
}
"""Tables 4 (MSS and JTFS), 8 and 9 (loudness, centroid and flatness of transient and of decay)."""


PUBLISHED: Mapping[str, Mapping[str, Mapping[str, Number]]] = {
    "table1": _TABLE_1,
    "table2": {
        "scrapl-adam": _named(_GRANULAR, (99.7, 8.2), None, None, (10906, 1170), (5.3, 0.25)),
        "scrapl-padam": _named(_GRANULAR, (87.4, 15), None, None, (8006, 697), (6.98, 0.25)),
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
        row: _named(_DISTANCES, *distances)
        | _named([f"transient_{name}" for name in _FEATURES], *transient)
        | _named([f"decay_{name}" for name in _FEATURES], *decay)
        for row, (distances, transient, decay) in _DRUMS.items()
    },
    "table5": {
        "jtfs": {"time": 1730, "memory": 12967},
        "scrapl": {"time": 89.8, "memory": 2503},
        "mss-linear": {"time": 26.3, "memory": 694},
        "mss-log": {"time": 19.1, "memory": 702},
        "mss-revisited": {"time": 17.0, "memory": 663},
        "mss-random": {"time": 24.7, "memory": 706},
        "clap": {"time": 75.6, "memory": 2032},
        "panns": {"time": 29.3, "memory": 1360},
        "ploss": {"time": 0.516, "memory": 625},
    },
    "figure1": _TABLE_1,
}
"""By table, row and column. Tables 1 to 3: parameter errors in per mille (L1), steps until they
are below 100, total variation of the validation error; table 4: distances times 1000, loudness
times 100, centroids times 10; table 5: ms and MB of one forward and backward on an RTX A5000."""


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
