"""Sums over many leaves that change a few at a time: draws and updates in O(log P)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FAN = 64
"""Children a node: a million leaves lie four levels deep, each one vectorised operation away."""


class SumTree:
    r"""A tree of sums with several channels.

    Each leaf holds one non-negative number a channel, each inner node the sums of its children.
    The *mass* of a leaf is a mixture of its channels, :math:`\sum_c \text{mix}_c x_{c}`, chosen at
    each query: a law that changes for all leaves at once through its mixture costs nothing.

    A sum is always recomputed from the children, in their order, and never corrected by a
    difference: nothing drifts, and a tree updated a thousand times equals one built anew from its
    leaves to the last bit.

    Args:
        leaves: Shape (channels, P).
    """

    def __init__(self, leaves: Floats) -> None:
        self._levels: list[Floats] = []  # from the leaves up, each (channels, nodes, FAN)
        sums = leaves
        while not self._levels or sums.shape[1] > 1:
            channels, count = sums.shape
            level = np.zeros((channels, -(-count // FAN) * FAN))
            level[:, :count] = sums
            self._levels.append(level.reshape(channels, -1, FAN))
            sums = _sum(self._levels[-1])
        self.total: Floats = sums[:, 0]

    def leaves(self, indices: Any) -> Floats:
        """The channels of some leaves, shape (channels, len(indices))."""
        values: Floats = _flat(self._levels[0])[:, indices]
        return values

    def update(self, indices: Integers, values: Floats) -> None:
        """Set the channels of distinct leaves: values of shape (channels, len(indices))."""
        _flat(self._levels[0])[:, indices] = values
        nodes = indices
        for children, parents in zip(self._levels, self._levels[1:], strict=False):
            nodes = np.unique(nodes // FAN)
            _flat(parents)[:, nodes] = _sum(children[:, nodes])
        self.total = _sum(self._levels[-1])[:, 0]

    def find(self, points: Floats, mix: Floats) -> Integers:
        """The leaf at each point of the cumulative mass, points in [0, 1) of the total.

        A leaf of mass zero is never found.
        """
        nodes = np.zeros(len(points), dtype=np.int64)
        rows = np.arange(len(points))
        for level in reversed(self._levels):
            cumulative = np.cumsum(mass(level[:, nodes], mix), axis=1)
            total = cumulative[:, -1]
            # rounding must not push a point beyond the last child that has mass
            position = np.minimum(points * total, np.nextafter(total, 0.0))
            child = (cumulative <= position[:, None]).sum(axis=1)
            before = np.where(child > 0, cumulative[rows, child - 1], 0.0)
            points = (position - before) / (cumulative[rows, child] - before)
            nodes = nodes * FAN + child
        return nodes

    def heavier(self, threshold: float, mix: Floats) -> Integers:
        """Leaves whose mass exceeds a threshold: O(log P) for each that there can be."""
        nodes = np.zeros(1, dtype=np.int64)
        for depth, level in enumerate(reversed(self._levels), start=1):
            is_leaf = depth == len(self._levels)
            bound = threshold if is_leaf else threshold * (1 - 1e-9)  # sums are rounded
            row, child = np.nonzero(mass(level[:, nodes], mix) > bound)
            nodes = nodes[row] * FAN + child
        return nodes


def _flat(level: Floats) -> Floats:
    """A view with one axis over all nodes of a level."""
    return level.reshape(len(level), -1)


def _sum(children: Floats) -> Floats:
    """Sums over the last axis, strictly in order: the same however many nodes are asked for."""
    sums: Floats = np.cumsum(children, axis=-1)[..., -1]
    return sums


def mass(channels: Floats, mix: Floats) -> Floats:
    """The mixture of channels along the first axis."""
    total: Floats = channels[0] * mix[0]
    for channel, factor in zip(channels[1:], mix[1:], strict=True):
        total = total + channel * factor
    return total
