"""The path table: listing, filtering, grouping, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multipath import Path, PathTable
from multipath.errors import ConfigurationError, InputError
from multipath.paths import check_indices, complete_table


@pytest.fixture
def table():
    return PathTable(
        Path(i, key=(i // 3, i % 3), metadata={"rate": 2.0**-i, "spin": i % 3 - 1}, cost=1.0 + i)
        for i in range(6)
    )


def test_a_number_makes_anonymous_paths_of_equal_cost():
    table = PathTable(3)
    assert table.indices == table.keys == [0, 1, 2]
    assert table.costs.tolist() == [1.0, 1.0, 1.0]
    assert table.columns == []


@pytest.mark.parametrize("n_paths", [1, 2, 7])
def test_anonymous_paths_are_like_paths_that_were_listed(n_paths):
    anonymous, listed = PathTable(n_paths), PathTable([Path(i) for i in range(n_paths)])
    assert anonymous.anonymous
    assert not listed.anonymous
    assert anonymous == listed
    assert listed == anonymous
    assert anonymous == PathTable(n_paths) != PathTable(n_paths + 1)
    assert hash(anonymous) == hash(listed)
    assert list(anonymous) == list(listed)
    assert anonymous[-1] == listed[-1]
    assert anonymous[:2] == listed[:2]
    for name in ("indices", "keys", "columns"):
        assert getattr(anonymous, name) == getattr(listed, name)
    assert torch.equal(anonymous.costs, listed.costs)
    assert str(anonymous) == str(listed)
    assert repr(anonymous) == repr(listed)
    assert anonymous.index_of(n_paths - 1) == n_paths - 1
    for key in (n_paths, -1, "a", None, 0.5):
        with pytest.raises(InputError, match="no path has the key"):
            anonymous.index_of(key)
    with pytest.raises(IndexError):
        anonymous[n_paths]
    assert anonymous.group([[i] for i in range(n_paths)]) == {i: [i] for i in range(n_paths)}


def test_a_million_anonymous_paths_are_not_made_before_they_are_asked_for(monkeypatch):
    made = []
    monkeypatch.setattr(Path, "__post_init__", lambda path: made.append(path.index))
    table = complete_table(10**6)
    assert (len(table), table.costs.sum(), table.columns) == (10**6, 10**6, [])
    assert table == PathTable(10**6)
    assert made == []
    assert table[5].index == 5
    assert made == [5]


def test_columns_and_lookup(table):
    assert table.column("spin") == [-1, 0, 1, -1, 0, 1]
    assert table.column("key")[4] == (1, 1)
    assert table.index_of((1, 2)) == 5
    assert table[-1].cost == 6.0
    assert table[1:3].indices == [1, 2]


def test_filter_keeps_indices_of_the_whole_loss(table):
    assert table.filter(spin=1).indices == [2, 5]
    assert table.filter(rate=(0.1, 0.6)).indices == [1, 2, 3]
    assert table.filter(rate=(None, 0.1)).indices == [4, 5]
    assert table.filter(lambda path: path.cost > 3, spin=-1).indices == [3]
    assert table.filter(spin=1).index_of((1, 2)) == 5


def test_printing_shows_every_path_and_column(table):
    lines = str(table).splitlines()
    assert lines[0].split() == ["index", "key", "rate", "spin", "cost"]
    assert len(lines) == 7
    assert lines[3].split() == ["2", "(0,", "2)", "0.25", "1", "3"]
    assert "6 paths" in repr(table)


def test_grouping_by_column_function_and_list(table):
    assert table.group("spin") == {-1: [0, 3], 0: [1, 4], 1: [2, 5]}
    assert table.group(lambda path: path.key[0]) == {0: [0, 1, 2], 1: [3, 4, 5]}
    assert table.group([[(0, 0), (1, 2)], [1, 2, 3, 4]]) == {0: [0, 5], 1: [1, 2, 3, 4]}
    assert table.group(torch.arange(6).reshape(2, 3)) == {0: [0, 1, 2], 1: [3, 4, 5]}


@pytest.mark.parametrize("labels", [["ab", "cd"], [0, 1], [0.5, None], (True, False)])
def test_one_label_for_each_path(table, labels):
    a, b = labels
    assert table.group([a, b, a, a, b, b]) == {a: [0, 2, 3], b: [1, 4, 5]}
    named = PathTable([Path(0, "a"), Path(1, "b")])
    assert named.group(["ab", "ab"]) == {"ab": [0, 1]}  # and not the keys in it


def test_labels_may_be_a_tensor(table):
    labels = torch.tensor([3, 3, 1, 1, 3, 1])
    for by in (labels, list(labels), labels.numpy()):
        assert table.group(by) == {3: [0, 1, 4], 1: [2, 3, 5]}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[0, 1], [2, 3]], "2 of 6 paths are missing"),
        ([[0, 1, 2], [2, 3, 4, 5]], "1 appear again"),
        ([[0, 1, 2, 3, 4, 5], []], "none may be empty"),
        ([[0, 17]], "no path has the key or index 17"),
        (3, r"a list of lists of keys, got \[3\] for 6 paths"),
        (["a", "b"], r"one label for each path or .*, got \['a', 'b'\] for 6 paths"),
        ([[0], 1, 2, 3, 4, 5], "one label for each path or a list of lists"),
    ],
)
def test_groups_must_be_a_partition(table, groups, message):
    with pytest.raises(InputError, match=message):
        table.group(groups)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (0, "at least one path, got 0"),
        (-2, "at least one path, got -2"),
        (1.5, "a number of paths or the paths themselves, got 1.5"),
        ([], "at least one path, got 0"),
        ("ab", "or Path objects, got 'a'"),
        ([Path(0, "a"), Path(1, "a")], "unique, got 'a' more than once"),
    ],
)
def test_refused_tables(paths, message):
    with pytest.raises(ConfigurationError, match=message):
        PathTable(paths)


@pytest.mark.parametrize("cost", [0.0, -1.0, float("nan"), float("inf")])
def test_refused_costs(cost):
    with pytest.raises(ConfigurationError, match="must be positive and finite"):
        Path(0, cost=cost)


def test_unknown_columns_keys_and_empty_filters(table):
    with pytest.raises(InputError, match="no column 'scale'; choose among index, key, cost, rate"):
        table.column("scale")
    with pytest.raises(InputError, match=r"no path has the key \(9, 9\)"):
        table.index_of((9, 9))
    with pytest.raises(InputError, match="no path satisfies"):
        table.filter(spin=7)


@given(st.lists(st.integers(0, 4), min_size=1))
def test_indices_of_every_kind_mean_the_same(values):
    assert check_indices(values, 5) == values
    assert check_indices(tuple(values), 5) == values
    assert check_indices(torch.tensor(values), 5) == values
    assert check_indices(torch.tensor(values, dtype=torch.int32), 5) == values


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([], "empty"),
        ([5], "index 5 is out of range: the loss has 5 paths, 0 to 4"),
        ([-1], "index -1 is out of range"),
        ([0.5], "must be a sequence or 1-D tensor of integers"),
        (torch.tensor([True, False]), r"mask; pass mask.nonzero\(\)"),
        (torch.tensor(3), "must be a sequence or 1-D tensor of integers"),
        (torch.zeros(2, 2, dtype=torch.int64), "must be a sequence or 1-D tensor of integers"),
    ],
)
def test_refused_indices(indices, message):
    with pytest.raises(InputError, match=message):
        check_indices(indices, 5)
