"""The sum tree against sums over all leaves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath.samplers._tree import FAN, SumTree, mass

SIZES = st.sampled_from([1, 2, FAN - 1, FAN, FAN + 1, FAN**2, FAN**2 + 1, 5000])


def random_leaves(rng, channels, size):
    leaves = rng.exponential(size=(channels, size)) ** 3
    leaves[:, rng.random(size) < 0.3] = 0.0
    leaves[:, rng.integers(size)] = 1.0
    return leaves


@settings(max_examples=40)
@given(size=SIZES, seed=st.integers(0, 2**32 - 1))
def test_finds_what_the_cumulative_sum_of_all_leaves_finds(size, seed):
    rng = np.random.default_rng(seed)
    leaves, mix = random_leaves(rng, 3, size), rng.random(3)
    tree, points = SumTree(leaves), rng.random(50)
    found = tree.find(points, mix)
    masses = mass(leaves, mix)
    ends = np.cumsum(masses)
    assert (masses[found] > 0).all()
    positions = points * ends[-1]  # up to rounding at the border of a leaf
    assert (ends[found] - masses[found] <= positions + 1e-9 * ends[-1]).all()
    assert (positions <= ends[found] + 1e-9 * ends[-1]).all()
    np.testing.assert_allclose(tree.total, leaves.sum(axis=1), rtol=1e-12)
    for threshold in (ends[-1] / 7, ends[-1] / 40, 2 * ends[-1]):
        expected = np.flatnonzero(masses > threshold)
        np.testing.assert_array_equal(tree.heavier(threshold, mix), expected)


@settings(max_examples=40)
@given(size=SIZES, seed=st.integers(0, 2**32 - 1))
def test_updates_leave_the_tree_as_if_built_anew_to_the_last_bit(size, seed):
    rng = np.random.default_rng(seed)
    leaves = random_leaves(rng, 2, size)
    tree = SumTree(leaves)
    for _ in range(5):
        indices = rng.choice(size, size=min(size, int(rng.integers(0, 9))), replace=False)
        values = rng.exponential(size=(2, len(indices))) * 10.0 ** rng.integers(-9, 9)
        leaves[:, indices] = values
        tree.update(indices, values)
    fresh = SumTree(leaves)
    np.testing.assert_array_equal(tree.total, fresh.total)
    for updated, built in zip(tree._levels, fresh._levels, strict=True):
        np.testing.assert_array_equal(updated, built)


@pytest.mark.parametrize("points", [[0.0], [np.nextafter(1.0, 0.0)], []])
def test_points_at_the_ends_hit_leaves_with_mass(points):
    leaves = np.zeros((1, 300))
    leaves[0, [70, 200]] = 1e-300, 0.3
    found = SumTree(leaves).find(np.array(points), np.ones(1))
    assert found.tolist() == [70 if point == 0 else 200 for point in points]


def test_a_draw_and_an_update_touch_few_nodes():
    """Of a million leaves, in four levels, at most FAN numbers a level and point are read."""
    tree = SumTree(np.ones((1, 10**6)))
    assert [level.shape[1] for level in tree._levels] == [15625, 245, 4, 1]
    before = [level.copy() for level in tree._levels]
    tree.update(np.array([123_456]), np.array([[2.0]]))
    changed = [int((old != new).sum()) for old, new in zip(before, tree._levels, strict=True)]
    assert changed == [1, 1, 1, 1]
