"""Lines that stand in for a bar where nobody sees one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from multipath._internal.progress import Lines, redirected
from multipath._internal.units import progress_bars


@pytest.mark.parametrize("total", [1, 3, 10, 60, 997])
def test_every_tenth_has_a_line_and_the_last_has_the_final_text(total, capsys):
    with Lines() as bar:
        task = bar.add_task("work", total=total)
        for done in range(1, total + 1):
            bar.update(task, completed=done, text=f"error {total - done}")
    lines = capsys.readouterr().err.splitlines()
    shares = [int(re.match(r"work: (\d+) % ", line)[1]) for line in lines]
    assert len(lines) == min(10, total)
    assert shares == sorted(shares)
    if total >= 10:
        assert all(10 * i <= share <= 10 * i + 5 for i, share in enumerate(shares, 1))
    assert lines[-1].startswith(f"work: 100 % ({total} of {total}), error 0, in 0:00:0")
    assert all(line.endswith(" left") for line in lines[:-1])


@given(st.lists(st.integers(1, 40), min_size=1), st.integers(0, 30))
def test_the_last_line_says_where_it_ended(amounts, first):
    total = first + sum(amounts) + 7
    bar, told = Lines(), []
    bar._tell = lambda task: (
        told.append(task.completed),
        setattr(task, "told", (task.completed, task.text)),
    )
    task = bar.add_task("work", total=total, completed=first)
    for amount in amounts:
        bar.advance(task, amount)
    bar.stop()
    assert told[-1] == first + sum(amounts)
    assert len(told) == len(set(told)) <= 11


def test_nothing_is_written_of_what_never_began(capsys):
    with Lines() as bar:
        bar.add_task("work", total=5)
        bar.add_task("nothing", total=0)
    assert capsys.readouterr().err == ""


def test_an_error_that_changed_in_the_end_is_written(capsys):
    with Lines() as bar:
        task = bar.add_task("work", total=4)
        bar.update(task, completed=4, text="error 2")
        bar.update(task, completed=4, text="error 1")
    assert [line.split(", ")[1] for line in capsys.readouterr().err.splitlines()] == [
        *("error 2", "error 1")
    ]


def test_terminals_and_notebooks_have_bars(capsys):
    assert isinstance(redirected(Console(stderr=True)), Lines)
    assert redirected(Console(stderr=True, force_terminal=True)) is None
    assert redirected(Console(stderr=True, force_jupyter=True)) is None
    with progress_bars(wanted=True) as bar:
        task = bar.add_task("some", total=2)
        bar.advance(task, 1)
    assert capsys.readouterr().err.startswith("some: 50 % (1 of 2), ")
