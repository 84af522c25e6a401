"""Counting draws, and files that are damaged."""

import pytest
import torch

from multipath import Path, PathTable, StochasticLoss
from multipath.applications.matching.train import run
from multipath.applications.runs.files import (
    read_csv,
    read_draws,
    read_json,
    write_csv,
)
from multipath.draws import DrawCounts
from multipath.errors import InputError
from multipath.testing import QuadraticLoss
from tests.applications.tiny import TINY

TABLE = PathTable([Path(0, (1, 0), {"rate": 2.0}), Path(1, (1, 1), {"rate": 4.0, "spin": -1})])


def test_a_draw_counts_once_however_many_forwards_share_it():
    criterion = StochasticLoss(QuadraticLoss(4), n_draws=3, generator=0)
    counts = DrawCounts(criterion.loss.paths)
    draw, other = criterion.make_draw([1, 1, 3]), criterion.make_draw([0, 3, 3])
    for each in (None, draw, draw, other):
        counts.add(each)
    assert counts.counts.tolist() == [1, 2, 0, 3]


def test_table_of_draws(tmp_path):
    counts = DrawCounts(TABLE)
    counts.load_state_dict({"counts": torch.tensor([5, 7])})
    write_csv(tmp_path / "draws.csv", counts.rows())
    assert read_draws(tmp_path / "draws.csv") == [
        {"index": 0, "key": "(1, 0)", "rate": 2.0, "spin": None, "count": 5},
        {"index": 1, "key": "(1, 1)", "rate": 4.0, "spin": -1.0, "count": 7},
    ]


def test_counts_of_another_loss_are_refused():
    with pytest.raises(InputError, match=r"expected counts of 2 paths, got \(3,\)"):
        DrawCounts(TABLE).load_state_dict({"counts": torch.zeros(3)})


@pytest.mark.parametrize("text", ["index,key\n0,a\n", "index,key,count\n0,a,many\n"])
def test_other_tables_are_refused(tmp_path, text):
    (tmp_path / "draws.csv").write_text(text)
    with pytest.raises(InputError, match="expected a table with the columns index, key and count"):
        read_draws(tmp_path / "draws.csv")


def total(file):
    return sum(row["count"] for row in read_draws(file))


@pytest.mark.slow
def test_callback_counts_the_draws_of_training_steps_only(tmp_path):
    run(TINY.changed(loss="kpaths"), tmp_path)  # 10 steps of 4 draws, validated after 4 and 8
    assert total(tmp_path / "draws.csv") == 40
    assert "rate" in read_draws(tmp_path / "draws.csv")[0]


@pytest.mark.slow
def test_callback_counts_nothing_where_nothing_is_drawn(tmp_path):
    run(TINY.changed(steps=4), tmp_path)
    assert not (tmp_path / "draws.csv").exists()


@pytest.mark.parametrize(("read", "content"), [(read_json, b"[1]"), (read_csv, b"step\n\xff\n")])
def test_damaged_files_are_named(tmp_path, read, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match="a is damaged"):
        read(tmp_path / "a")
