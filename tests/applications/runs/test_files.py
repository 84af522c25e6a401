"""Files of a run: tables, JSON and drafts are whole or not there."""

import time

import pytest
import torch
from matplotlib.figure import Figure

from multipath import Path, PathTable
from multipath.applications.runs.files import (
    drawn,
    read_csv,
    read_draws,
    read_json,
    replacing,
    write_csv,
)
from multipath.draws import DrawCounts
from multipath.errors import InputError

TABLE = PathTable([Path(0, (1, 0), {"rate": 2.0}), Path(1, (1, 1), {"rate": 4.0, "spin": -1})])


def test_table_of_draws(tmp_path):
    counts = DrawCounts(TABLE)
    counts.load_state_dict({"counts": torch.tensor([5, 7])})
    write_csv(tmp_path / "draws.csv", counts.rows())
    assert read_draws(tmp_path / "draws.csv") == [
        {"index": 0, "key": "(1, 0)", "rate": 2.0, "spin": None, "count": 5},
        {"index": 1, "key": "(1, 1)", "rate": 4.0, "spin": -1.0, "count": 7},
    ]


@pytest.mark.parametrize("text", ["index,key\n0,a\n", "index,key,count\n0,a,many\n"])
def test_other_tables_are_refused(tmp_path, text):
    (tmp_path / "draws.csv").write_text(text)
    with pytest.raises(InputError, match="expected a table with the columns index, key and count"):
        read_draws(tmp_path / "draws.csv")


@pytest.mark.parametrize(("read", "content"), [(read_json, b"[1]"), (read_csv, b"step\n\xff\n")])
def test_damaged_files_are_named(tmp_path, read, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match="a is damaged"):
        read(tmp_path / "a")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_no_draft(tmp_path, error):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fail():
        with replacing(file) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "old"}
    if isinstance(error, OSError):
        assert raised.value.filename == str(file)


def test_names_as_long_as_the_system_takes(tmp_path):
    file = tmp_path / ("x" * 251 + ".txt")
    with replacing(file) as draft:
        draft.write_text("whole")
    assert file.read_text() == "whole"


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_row_that_was_cut_off_is_left_out(tmp_path, cut):
    file = tmp_path / "a.csv"
    file.write_text("step,loss\n1,0.5\n2,0.25\n"[:-cut])
    assert read_csv(file) == ([{"step": "1", "loss": "0.5"}] if cut < 8 else [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_equal_plots_are_equal_files(kind):
    def plot():
        figure = Figure()
        figure.subplots().plot([1, 2], label="a")
        return drawn(figure, kind, 50)

    first = plot()
    time.sleep(1.1)  # dates have whole seconds
    assert plot() == first
