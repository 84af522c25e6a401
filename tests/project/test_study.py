"""The study of samplers and optimizers: its problem with a known answer, its tables, its resume."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.study import quadratic, run
from benchmarks.study.problems import PROBLEMS
from benchmarks.study.report import Row, rows, write
from benchmarks.study.schemes import SCHEMES
from benchmarks.study.train import relative_cost, train
from multipath.errors import InputError


def test_the_minimum_of_the_quadratic_problem():
    loss, target = quadratic.QuadraticPaths(3), torch.ones(1, quadratic.SIZE, dtype=torch.float64)
    minimum = loss.minimum(target).requires_grad_()
    loss(minimum, target).backward()
    assert minimum.grad.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("name", "lr"), [("energy 8, Adam", 0.03), ("energy 4, STORM", 0.03), ("uniform 1, SAGA", 0.1)]
)
def test_quadratic_schemes_approach_it(name, lr):
    found = quadratic.train(quadratic.SCHEMES[name], lr=lr, seed=0, price=300.0)
    assert found["test"][0] < 0.6 * found["curve"][0][1]


@pytest.mark.parametrize(
    "name", ["energy 8", "scrapl active", "saga", "storm 8", "per item", "mss"]
)
def test_schemes_train(name):
    problem = PROBLEMS["granular"]()
    found = train(problem, SCHEMES[name], lr=1e-3, seed=0, budget=0.2, test=False)
    assert found["steps"] >= 1
    assert found["test"] is None
    assert all(0 < error < 1000 for error in found["validation"])


def test_a_run_takes_the_steps_it_is_given_and_counts_as_its_budget():
    given = {"lr": 1e-3, "seed": 0, "budget": 8.0, "test": False, "steps": 5}
    found = train(PROBLEMS["granular"](), SCHEMES["energy 1"], **given)
    assert found["steps"] == 5
    assert found["milliseconds"] == 8000 / 5
    assert [check[1] for check in found["curve"]] == [0, 2, 3, 4, 5]


def _timed(scheme, steps, setup, problem="granular", given=None):
    where = run.Run("final", problem, scheme, 0.1, 0, 48.0, given)
    return {"run": run.asdict(where), "steps": steps, "curve": [[setup, 0, 250.0]]}


def _cost(scheme, setup, step, reference="energy 8", problem="granular"):
    where = run.Run(run.COST, problem, scheme, 0.0, 0, 0.0, None, reference)
    return {"run": run.asdict(where), "setup": setup, "step": step}


def test_steps_that_take_the_time_of_another_scheme():
    records = [
        *[_timed("energy 8", steps, 2.0) for steps in (100, 460, 900)],  # the median: 0.1 s a step
        _timed("energy 8", 1, 47.0, problem="slow-slow"),
        _timed("energy 8", 1, 47.0, given=1),
        _timed("uniform 8", 1, 47.0),
        _cost("combined 8", 4.0, 1.25, reference="uniform 8"),
        _cost("combined 8", 40.0, 1.25),
    ]
    pair = ("combined 8", "granular")
    assert run.allowance(records, pair, "energy 8", 48.0) == (480 - 40) / 1.25
    assert run.allowance(records, pair, "energy 8", 24.0) == (240 - 40) / 1.25
    with pytest.raises(InputError, match="no timed runs of 'scrapl' on granular"):
        run.allowance(records, pair, "scrapl", 48.0)
    with pytest.raises(InputError, match="4 s are not enough to set up 'combined 8'"):
        run.allowance(records, pair, "energy 8", 4.0)


def test_without_runs_to_compare_with_nothing_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "execute", lambda *_: pytest.fail("measured"))
    out = str(tmp_path / "study.jsonl")
    monkeypatch.setattr("sys.argv", ["run", "--out", out, "--as", "energy 8", "--schemes", "mss"])
    with pytest.raises(SystemExit):
        run.main()
    assert "no timed runs of 'energy 8' on fast-moderate" in capsys.readouterr().err


def test_what_a_step_costs_relative_to_another(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("benchmarks.study.train.process_time", lambda: next(clock))
    monkeypatch.setattr("benchmarks.study.train.TURNS", 1)
    same = SCHEMES["energy 1"], SCHEMES["uniform 1"]
    assert relative_cost(PROBLEMS["granular"](), *same) == {"setup": 1.0, "step": 1.0}


def test_learning_rates_come_from_tuning():
    def record(lr, error, stage="tune"):
        return {
            "run": {"stage": stage, "problem": "p", "scheme": "s", "lr": lr}, "validation": [error],
        }  # fmt: skip

    records = [record(0.1, 5.0), record(0.2, 3.0), record(0.3, 1.0, stage="final")]
    assert run.best_rate(records, "s", "p") == 0.2


@pytest.mark.parametrize("steps", [None, 700])
def test_what_is_done_is_not_done_again(tmp_path, monkeypatch, steps):
    wanted = run.Run("tune", run.QUADRATIC, "energy 8, Adam", 0.03, 1000, 8.0, steps)
    path = tmp_path / "study.jsonl"
    path.write_text(json.dumps({"run": run.asdict(wanted)}) + "\n" + '{"cut sho')
    monkeypatch.setattr(run, "ProcessPoolExecutor", lambda *_: pytest.fail("ran again"))
    run.execute([replace(wanted, steps=None)], path, workers=1)
    assert len(run.load(path)) == 1


def test_a_row_sums_its_seeds_up():
    row = Row("s", 0.1, [[10.0, 20.0], [20.0, 30.0], [30.0, 40.0]], 1.0, 1.0)
    assert row.mean == pytest.approx(25)
    assert row.of(0) == pytest.approx(20)
    assert row.half_width == pytest.approx(4.3027 * 10 / 3**0.5, rel=1e-4)


def test_rows_are_ranked_and_diverged_schemes_left_out():
    def record(scheme, error):
        where = {"stage": "final", "problem": "granular", "scheme": scheme, "lr": 0.1}
        return {
            "run": where, "test": [error, error], "steps": 3, "milliseconds": 2.0,
        }  # fmt: skip

    records = [record("b", 30.0), record("a", 20.0), record("c", float("nan"))]
    assert [row.scheme for row in rows(records, "granular")] == ["a", "b"]


def test_the_report_says_which_schemes_were_given_their_steps(tmp_path):
    def record(scheme, steps):
        where = run.Run("final", "granular", scheme, 0.1, 0, 48.0, steps)
        return {"run": run.asdict(where), "test": [20.0, 30.0], "steps": 9, "milliseconds": 2.0}

    timed, given = record("energy 8", None), record("combined 8", 9)
    for records, said in (([timed], False), ([timed, given, _cost("combined 8", 9.0, 1.1)], True)):
        file = tmp_path / "study.jsonl"
        file.write_text("\n".join(map(json.dumps, records)))
        write(file)
        words = "Runs of `combined 8` had a number of steps instead of a time: as many as fit into "
        assert (
            f"{words}the time of the runs of `energy 8`" in file.with_suffix(".md").read_text()
        ) is said


def test_the_committed_tables_are_those_of_the_committed_runs(tmp_path):
    copy = shutil.copy(run.RESULTS, tmp_path)
    write(Path(copy))
    assert (tmp_path / "study.md").read_text() == run.RESULTS.with_suffix(".md").read_text()
