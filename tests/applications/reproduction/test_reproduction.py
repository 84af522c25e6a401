"""Tables of the paper made again: plans, queues, results, the command."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest
import torch
from matplotlib.image import imread

from multipath.applications.cli.reproduce import reproduce
from multipath.applications.matching.config import MatchConfig
from multipath.applications.reproduction.console import _headline
from multipath.applications.reproduction.cost import measure_cost
from multipath.applications.reproduction.figures import write_figures
from multipath.applications.reproduction.grid import TABLES
from multipath.applications.reproduction.plan import make_plan
from multipath.applications.reproduction.published import PUBLISHED, published
from multipath.applications.reproduction.queue import (
    LocalProcesses,
    Slurm,
    run_jobs,
    visible_gpus,
)
from multipath.applications.reproduction.results import collect, markdown, write_results
from multipath.applications.reproduction.work import do
from multipath.applications.runs.files import read_csv, read_json, write_csv, write_json
from multipath.errors import ConfigurationError, InputError
from tests.applications.tiny import SMALL, TINY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("without_report"),
]  # they train, search or start processes

GRANULAR = {"n_grains": 4, "grain_samples": 256, **SMALL}


def tiny_plan(folder, table="table2", seeds=2, only=("scrapl",), **changes):
    given = {**GRANULAR, **changes}
    if table == "table3":
        given = {**SMALL, "max_shift": 64, **changes}
    return make_plan(TABLES[table], "quick", folder, seeds, only=only, changes=given)


def finish(job, theta=100.0, steps=40, seconds=0.5, device="cpu"):
    """What a run would have left behind."""
    job.target.mkdir(parents=True, exist_ok=True)
    errors = {"theta": theta, "density": theta + 1, "slope": theta - 1}
    summary = {
        "errors": "theta_error",
        "headline": "theta",
        "theta_error": errors,
        "untrained_error": {"theta": 250.0},
        "steps_to_converge": steps,
        "total_variation": 2.0,
        "seconds_per_step": seconds,
        "training_seconds": 3.0,
        "environment": {"torch": "2.13", "python": "3.11", "device": device},
    }
    write_json(job.target / "config.json", dict(job.config))
    write_csv(job.target / "metrics.csv", [{"step": s, "loss": 1.0, **errors} for s in (4, 8)])
    write_json(job.summary, summary)


# The grid


@pytest.mark.parametrize("scale", ["quick", "paper"])
@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_a_configuration_and_has_a_name_of_its_own(name, scale):
    table = TABLES[name]
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)
    for row in table.rows:
        assert row.config(scale, seed=3).seed == 3
        assert row.config(scale, seed=3).preset == scale


def test_numbers_of_the_paper_belong_to_rows_and_columns():
    for name, rows in PUBLISHED.items():
        columns = {column.name for column in TABLES[name].columns}
        known = {row.name for row in TABLES[name].rows}
        if name == "table1":
            known.add("scrapl-theta")
        assert set(rows) <= known
        assert {c for row in rows.values() for c in row} <= columns | {"steps", "variation"} | (
            {"density", "slope"} if name == "figure1" else set()
        )
    assert published("table3", "scrapl-theta fast-moderate", "FM") == (48.5, 4.7)
    assert published("table4", "scrapl micro", "decay_loudness") == (1810, 190)
    assert published("table2", "kpaths", "theta") is None


def test_at_the_scale_of_the_paper_nothing_is_changed():
    for method in ("scrapl", "scrapl-adam"):
        row = next(row for row in TABLES["table2"].rows if row.method == method)
        config = row.config("paper", 0)
        assert (config.training.learning_rate, config.training.steps) == (1e-5, 19200)


def test_networks_are_left_out_without_weights(monkeypatch):
    for variable in ("MULTIPATH_CLAP", "MULTIPATH_PANNS"):
        monkeypatch.delenv(variable, raising=False)
    table = TABLES["table1"]
    assert not {"clap", "panns"} & {row.method for row in table.choose()}
    with pytest.raises(ConfigurationError, match=r"panns needs weights: .* MULTIPATH_PANNS"):
        table.choose(["panns"])
    monkeypatch.setenv("MULTIPATH_PANNS", "file.pth")
    assert "panns" in {row.method for row in table.choose()}


def test_the_command_offers_every_table():
    assert get_args(get_type_hints(reproduce)["table"]) == (*TABLES, "distances")


def test_tables_share_their_runs(tmp_path):
    targets = [
        {job.target for _, jobs in tiny_plan(tmp_path, name).rows for job in jobs}
        for name in ("table1", "table2", "figure1")
    ]
    assert targets[0] == targets[1] == targets[2]


def test_probabilities_are_found_once_for_each_synthesizer(tmp_path):
    plan = tiny_plan(tmp_path, "table3", only=("scrapl", "scrapl-theta"))
    assert len(plan.needed) == 4
    assert len({job.target for job in plan.jobs}) == 4 + 4 * 2 * 2
    for row, jobs in plan.rows:
        for job in jobs:
            if row.importance:
                needed = next(each for each in plan.needed if each.name == job.needs)
                assert row.label in needed.name
                assert job.config["objective"]["probabilities"] == str(needed.target)
            else:
                assert job.needs is job.config["objective"]["probabilities"] is None


def test_runs_that_start_from_others_need_those_of_their_seed(tmp_path):
    plan = make_plan(TABLES["pnp"], "quick", tmp_path, 2, only=["pnp-kpaths"])
    before = {job.name: job for job in plan.needed}
    assert len(before) == 2 * 3
    for row, jobs in plan.rows:
        for seed, job in enumerate(jobs):
            assert job.needs == f"match-pnp-{row.task}-pnp-{seed}"
            assert job.config["training"]["start"] == str(before[job.needs].target)
            assert before[job.needs].config["objective"]["loss"] == "pnp"
    both = make_plan(TABLES["pnp"], "quick", tmp_path, 2, only=["pnp", "pnp-kpaths"])
    assert not both.needed
    assert len(both.jobs) == len({job.name for job in both.jobs}) == 12


def test_runs_of_one_name_have_the_same_settings_in_all_tables(tmp_path):
    seen = {}
    for table in TABLES.values():
        for scale in table.scales:
            data = "recordings" if table.name == "table4" else None
            for job in make_plan(table, scale, tmp_path / scale, 1, data=data).jobs:
                assert seen.setdefault((scale, job.name), job.config) == job.config
    for name in ("batches", "pareto", "pnp"):
        with pytest.raises(ConfigurationError, match="of the scale quick alone, got paper"):
            make_plan(TABLES[name], "paper", tmp_path, 1)


def test_a_folder_with_other_settings_is_refused_and_another_way_to_a_file_is_not(tmp_path):
    finish(tiny_plan(tmp_path, only=("scrapl-theta",)).jobs[1])
    again = make_plan(
        TABLES["table2"], "quick", tmp_path / ".." / tmp_path.name, 1,
        only=["scrapl-theta"], changes=GRANULAR,
    )  # fmt: skip
    assert again.jobs[1].done
    message = r"made with other settings or recordings: training.batch_size was 4, is 2; choose"
    with pytest.raises(ConfigurationError, match=message):
        tiny_plan(tmp_path, only=("scrapl-theta",), batch_size=2)


@pytest.fixture
def drums(tmp_path):
    folder = tmp_path / "drums"
    folder.mkdir()
    for name in ("BD 1.wav", "SD 1.wav"):
        (folder / name).write_text(name)
    return folder


def drum_plan(folder, drums, method="scrapl"):
    table = TABLES["table4"]
    return make_plan(table, "quick", folder / "grid", 1, only=[method], data=drums and str(drums))


@pytest.mark.parametrize("kind", ["match", "importance"])
def test_recordings_are_known_by_what_they_are(drums, tmp_path, monkeypatch, kind):
    plan = drum_plan(tmp_path, drums, "scrapl-theta")
    job = next(job for job in plan.jobs if job.kind == kind)
    if kind == "match":
        finish(job)
        digests = MatchConfig.from_dict(job.config).task.fingerprint()
        write_json(job.target / "sources.json", digests)
    else:
        result = SimpleNamespace(save=lambda file: file.touch())
        monkeypatch.setattr(
            "multipath.applications.matching.importance.measure", lambda *_, **__: result
        )
        do(job.to_dict())
    moved = drums.rename(tmp_path / "moved")
    moved_plan = drum_plan(tmp_path, moved, "scrapl-theta")
    assert [each.name for each in moved_plan.jobs if each.done] == [job.name]
    (moved / "SD 1.wav").write_text("louder")
    (moved / "BD 1.wav").rename(moved / "BD 2.wav")
    wanted = "BD 1.wav is gone; BD 2.wav is new; SD 1.wav has changed; choose another folder"
    with pytest.raises(ConfigurationError, match=wanted):
        drum_plan(tmp_path, moved, "scrapl-theta")
    with pytest.raises(ConfigurationError, match=r"task\.data was .*drums, is None; choose"):
        drum_plan(tmp_path, None, "scrapl-theta")


def test_an_interrupted_run_goes_on_with_recordings_that_have_moved(drums, tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(
        "multipath.applications.matching.train.run",
        lambda config, out, resume: runs.append((config.task.data, resume)),
    )
    job, *_ = drum_plan(tmp_path, drums).jobs
    do(job.to_dict())
    job.target.mkdir(parents=True)
    write_json(job.settings, dict(job.config))  # and interrupted
    write_json(job.target / "sources.json", MatchConfig.from_dict(job.config).task.fingerprint())
    moved = drums.rename(tmp_path / "moved")
    job, *_ = drum_plan(tmp_path, moved).jobs
    do(job.to_dict())
    assert runs == [(str(drums), False), (str(moved), True)]


# The queue


class Fake:
    """A cluster that ends each job at the second look."""

    def __init__(self, broken=(), interrupted_at=None):
        self.broken, self.interrupted_at = broken, interrupted_at
        self.log, self.most, self.running, self.cancelled = [], 0, 0, []
        self.ended, self.early = [], []

    def start(self, job):
        self.log.append(job.name)
        self.early += [job.name] if job.needs and job.needs not in self.ended else []
        if len(self.log) == self.interrupted_at:
            raise KeyboardInterrupt
        self.running += 1
        self.most = max(self.most, self.running)
        looks = iter((False, True))

        def result():
            self.running -= 1
            if job.name in self.broken:
                raise RuntimeError("out\nof memory")
            job.target.parent.mkdir(parents=True, exist_ok=True)
            job.target.touch() if job.kind == "importance" else finish(job)
            self.ended.append(job.name)

        return SimpleNamespace(
            done=lambda: next(looks),
            result=result,
            cancel=lambda: self.cancelled.append(job.name),
        )


def go(plan, cluster, at_once=2):
    ended = []
    failures = run_jobs(
        plan.jobs, cluster, at_once=at_once, ended=lambda *end: ended.append(end), pause=0.0
    )
    return failures, {job.name: reason for job, reason in ended}


def test_what_is_needed_comes_first_and_finished_jobs_are_not_run_again(tmp_path):
    plan = tiny_plan(tmp_path, only=("scrapl", "scrapl-theta"))
    finish(plan.rows[0][1][0])
    cluster = Fake()
    failures, ended = go(plan, cluster)
    assert failures == {}
    assert cluster.most == 2
    assert cluster.log[0] == "importance-granular"
    assert sorted(cluster.log) == sorted(job.name for job in plan.jobs[:1] + plan.jobs[2:])
    assert set(ended.values()) == {""}
    assert cluster.early == []  # nothing is begun before what it needs has ended
    assert all(job.done for job in plan.jobs)
    again = Fake()
    assert go(plan, again) == ({}, {})
    assert again.log == []


def test_a_failure_is_told_and_what_needs_it_fails_too(tmp_path):
    plan = tiny_plan(tmp_path, seeds=1, only=("scrapl", "scrapl-theta"))
    failures, ended = go(plan, Fake(broken=["importance-granular"]))
    assert failures == {
        "importance-granular": "out of memory",
        "match-granular-scrapl-theta-0": "importance-granular failed",
    }
    assert ended == {**failures, "match-granular-scrapl-0": ""}
    assert go(plan, Fake())[0] == {}  # the same again tries what failed


def test_a_job_without_a_result_has_failed(tmp_path):
    plan = tiny_plan(tmp_path, seeds=1)
    lazy = SimpleNamespace(
        start=lambda job: SimpleNamespace(done=lambda: True, result=lambda: None, cancel=None)
    )
    assert set(go(plan, lazy)[0].values()) == {"it ended without a result"}


def test_an_interruption_stops_what_runs(tmp_path):
    cluster = Fake(interrupted_at=2)
    plan = tiny_plan(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        go(plan, cluster)
    assert cluster.cancelled == [plan.jobs[0].name]


def test_slurm_needs_submitit(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigurationError, match=r"needs submitit: pip install .*\[cluster\]"):
        Slurm(tmp_path)


def test_slurm_submits_plain_values(tmp_path, monkeypatch):
    made = {}

    class Executor:
        def __init__(self, folder, cluster):
            made.update(folder=folder, cluster=cluster)
            if folder.endswith("nowhere"):
                raise RuntimeError("Could not detect sbatch")

        def update_parameters(self, **parameters):
            made.update(parameters)

        def submit(self, function, values):
            assert function is do
            return json.loads(json.dumps(values))

    module = SimpleNamespace(AutoExecutor=Executor)
    monkeypatch.setitem(sys.modules, "submitit", module)
    job = tiny_plan(tmp_path).jobs[0]
    slurm = Slurm(tmp_path, {"slurm_partition": "gpu", "timeout_min": 5})
    assert slurm.start(job) == job.to_dict()
    assert (made["cluster"], made["slurm_partition"], made["timeout_min"]) == ("slurm", "gpu", 5)
    with pytest.raises(ConfigurationError, match="cannot be submitted: Could not detect sbatch"):
        Slurm(tmp_path / "nowhere")


# Work


def test_a_run_is_done_once_and_continued(tmp_path):
    job = tiny_plan(tmp_path, seeds=1).jobs[0]
    job.target.mkdir(parents=True)
    write_json(job.target / "config.json", json.loads(json.dumps(job.config)))  # just begun
    assert (job.done, job.progress, job.size) == (False, 0, 10)
    do(job.to_dict())
    assert (job.done, job.progress) == (True, 10)
    assert read_json(job.summary)["seed"] == 0
    before = job.summary.stat().st_mtime_ns
    do(job.to_dict())
    assert job.summary.stat().st_mtime_ns == before


def test_a_run_draws_from_what_theta_importance_found(tmp_path):
    from multipath.applications.runs.files import read_draws
    from multipath.importance import load_probabilities

    plan = tiny_plan(tmp_path, seeds=1, only=("scrapl-theta",), steps=4, channels=(4,))
    for job in plan.jobs:
        do(job.to_dict())
    probabilities = load_probabilities(plan.needed[0].target)
    assert probabilities.std() > 0
    run = plan.jobs[-1]
    assert load_probabilities(run.target / "probabilities.pt").equal(probabilities)
    assert sum(row["count"] for row in read_draws(run.target / "draws.csv")) == 4


def test_local_processes_do_jobs_and_say_what_went_wrong(tmp_path):
    good = tiny_plan(tmp_path, "table1", seeds=1, only=("ploss",), steps=2).jobs[0]
    bad = replace(good, name="bad", target=tmp_path / "bad", config={"task": {}})
    failures = run_jobs(
        [good, bad], LocalProcesses(tmp_path / "jobs"), at_once=2, ended=lambda *_: None, pause=0.05
    )
    assert good.done
    assert list(failures) == ["bad"]
    assert re.search(r"not the configuration of a sound matching run.*bad\.log", failures["bad"])


def test_processes_are_stopped_together(tmp_path, monkeypatch):
    """Each needs 20 s to end, by a clock that only waiting moves; none needs force."""
    clock, asked, killed = [0.0], {}, []

    class Process:
        def __init__(self, *_, **__):
            pass

        def poll(self):
            return None

        def send_signal(self, _):
            asked[self] = clock[0]

        def wait(self, timeout):
            clock[0] = max(clock[0], min(clock[0] + timeout, asked[self] + 19.0))
            if clock[0] < asked[self] + 19.0:
                raise subprocess.TimeoutExpired("work", timeout)

        def kill(self):
            killed.append(self)

    def interrupt():
        raise KeyboardInterrupt

    queue = "multipath.applications.reproduction.queue"
    monkeypatch.setattr(f"{queue}.subprocess.Popen", Process)
    monkeypatch.setattr(f"{queue}.time.monotonic", lambda: clock[0])
    jobs = tiny_plan(tmp_path, "table1", seeds=3, only=("ploss",)).jobs
    with pytest.raises(KeyboardInterrupt):
        run_jobs(
            jobs,
            LocalProcesses(tmp_path / "jobs"),
            at_once=3,
            ended=lambda *_: None,
            waiting=interrupt,
        )
    assert (len(asked), clock[0], killed) == (3, 19.0, [])


def test_probabilities_of_other_settings_are_refused(tmp_path):
    only = ("scrapl-theta",)
    (job, *_) = tiny_plan(tmp_path, only=only).jobs
    assert job.kind == "importance"
    job.target.parent.mkdir(parents=True)
    write_json(job.settings, dict(job.config))
    tiny_plan(tmp_path, only=only, steps=7)  # of the training they do not depend
    with pytest.raises(
        ConfigurationError, match=r"importance.*with other settings or recordings: .*n_grains was 4"
    ):
        tiny_plan(tmp_path, only=only, n_grains=5)


def test_gpus_are_shared_out_evenly(tmp_path, monkeypatch):
    seen, ended = [], set()

    class Process:
        def __init__(self, *_, env, **__):
            seen.append(env["CUDA_VISIBLE_DEVICES"])
            self.number = len(seen)

        def poll(self):
            return 0 if self.number in ended else None

    monkeypatch.setattr("multipath.applications.reproduction.queue.subprocess.Popen", Process)
    job = tiny_plan(tmp_path, "table1", seeds=1, only=("ploss",)).jobs[0]
    local = LocalProcesses(tmp_path / "jobs", ["3", "5"])
    for _ in range(3):
        local.start(job)
    ended.update({1, 3})  # both on the first: now the second is the busier one
    local.start(job)
    assert seen == ["3", "5", "3", "3"]


@pytest.mark.parametrize(
    ("named", "count", "gpus"), [("", 2, ["0", "1"]), ("4,7", 2, ["4", "7"]), ("", 0, [])]
)
def test_which_gpus_there_are(monkeypatch, named, count, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert visible_gpus() == gpus


def test_a_loss_costs_more_when_there_is_more_to_do():
    costs = [
        measure_cost(TINY.changed(loss=loss), seconds=0.0, least=2) for loss in ("ploss", "jtfs")
    ]
    assert 0 < costs[0]["time"] < costs[1]["time"]
    assert [cost["repeats"] for cost in costs] == [2, 2]


# Results


def test_ratios_of_costs_are_taken_seed_by_seed(tmp_path):
    plan = make_plan(TABLES["table5"], "quick", tmp_path, 2, only=("mss-log", "ploss"))
    times = {"mss-log": (1.0, 2.0), "ploss": (3.0, 6.0)}
    for row, jobs in plan.rows:
        for job, time in zip(jobs, times[row.method], strict=True):
            job.target.mkdir(parents=True)
            write_json(job.summary, {"time": time, "memory": 5.0})
            assert job.config["task"]["n_samples"] == 32768  # as published, at either scale
    lines = {line.row.method: line.values for line in collect(plan)}
    ratio = lines["ploss"]["time_ratio"]
    assert (ratio.mean, ratio.margin) == (3.0, 0.0)  # both vary, their ratio does not
    assert lines["ploss"]["time"].mean == 4500.0
    assert lines["ploss"]["memory_ratio"].mean == 1.0


def test_memory_that_the_system_does_not_tell_is_left_out(tmp_path):
    plan = make_plan(TABLES["table5"], "quick", tmp_path, 1, only=("mss-log", "ploss"))
    for (_, (job,)), memory in zip(plan.rows, (None, 5.0), strict=True):
        job.target.mkdir(parents=True)
        write_json(job.summary, {"time": 2.0, "memory": memory})
    first, second = collect(plan)
    assert "memory" not in first.values
    assert (second.values["memory"].mean, second.values["time_ratio"].mean) == (5.0, 1.0)
    assert "memory_ratio" not in second.values
    headlines = [_headline(job) for _, (job,) in plan.rows]
    assert headlines == ["2000 ms", "2000 ms, 5 MB"]


def test_a_table_of_means_intervals_and_published_numbers(tmp_path):
    plan = tiny_plan(tmp_path, seeds=3, only=("scrapl", "kpaths"))
    (_, scrapl), (_, kpaths) = plan.rows
    finish(scrapl[0], 100.0, steps=40)
    finish(scrapl[1], 104.0, steps=None)
    finish(kpaths[0], 50.0, device="H100")
    lines = collect(plan)
    assert [(line.seeds, line.planned) for line in lines] == [(2, 3), (1, 3)]
    theta = lines[0].values["theta"]
    assert (theta.mean, theta.count) == (102.0, 2)
    assert theta.margin == pytest.approx(12.706204736 * 2)  # t with one degree of freedom
    assert lines[0].values["time"].mean == 500.0
    text = markdown(plan, lines)
    assert "| scrapl | 2 of 3 | 102 ± 25.4 [73.8 ± 13] |" in text
    assert "40 (1 of 2) [7296 ± 683]" in text
    assert "| kpaths | 1 of 3 | 50 |" in text
    assert "| scrapl | 0.0003 | 10 | 4 |" in text
    assert text.count("Measured with") == 2
    assert "Measured with torch 2.13, python 3.11, device H100." in text


def test_files_of_a_table(tmp_path):
    plan = tiny_plan(tmp_path, seeds=2)
    file = write_results(plan)  # nothing is there yet
    assert "| scrapl | 0 of 2 | - [73.8 ± 13] |" in file.read_text()
    assert write_figures(plan) == []
    for job, theta in zip(plan.jobs, (90.0, 110.0), strict=True):
        finish(job, theta)
    write_results(plan)
    rows = read_csv(tmp_path / "table2.csv")
    (first,) = [row for row in rows if row["column"] == "theta"]
    assert (first["mean"], first["paper"], first["count"]) == ("100.0", "73.8", "2")
    assert read_json(tmp_path / "table2.json")["rows"][0]["mean"] == 100.0
    (plot,) = write_figures(plan)
    assert plot.name == "table2-granular.png"
    assert imread(plot).std() > 0.02


def test_figure_of_error_against_cost(tmp_path):
    plan = tiny_plan(tmp_path, "figure1", seeds=1, only=("scrapl", "kpaths"))
    assert write_figures(plan) == []
    finish(plan.jobs[0])
    (plot,) = write_figures(plan)
    assert plot.name == "figure1.png"
    assert imread(plot).std() > 0.01


# The command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table9"], 'Choose from: "table1"'),
        (["table2", "--scale", "huge"], 'Choose from: "quick", "paper"'),
        (["table2", "--seeds", "0"], "at least one seed is needed, got 0"),
        (["table2", "--only", "mss"], "no method 'mss'; choose from jtfs, scrapl-adam"),
        (["table2", "--data", "x"], "--data is for table4 alone"),
        (["table2", "--cluster", "moon"], 'Invalid value "moon" for --cluster.'),
        (["table2", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["table2", "--cluster-option", "a=1"], "--cluster-option needs --cluster slurm"),
        (["table2", "--cluster", "slurm", "--cluster-option", "a"], "NAME=VALUE, got 'a'"),
    ],
)
def test_commands_refused_in_one_line(call, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, error = call("reproduce", *arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def fake(monkeypatch):
    cluster = Fake()
    monkeypatch.setattr(
        "multipath.applications.reproduction.queue.LocalProcesses", lambda *_: cluster
    )
    return cluster


def test_the_command_writes_a_table_and_goes_on(call, tmp_path, fake):
    arguments = ["table2", "--seeds", "1", "--out", str(tmp_path), "--steps", "8", "--jobs", "1"]
    fake.broken = ["match-granular-kpaths-0"]
    code, out, error = call("reproduce", *arguments)
    assert code == 1
    assert "match-granular-kpaths-0: out of memory" in out
    assert "1 of 7 jobs failed; the same command tries them again" in error
    assert "match-granular-scrapl-0: theta 100, 3 s of training" in out
    fake.broken = []
    code, out, _ = call("reproduce", *arguments)
    assert code == 0
    assert "6 of 7 jobs are finished already" in out
    assert fake.log[7:] == ["match-granular-kpaths-0"]
    assert "| kpaths | 1 | 100 |" in out
    assert (tmp_path / "table2-granular.png").is_file()


def test_an_interruption_leaves_a_table(call, tmp_path, fake):
    fake.interrupted_at = 4
    code, _, error = call(
        "reproduce", "table2", "--seeds", "1", "--out", str(tmp_path), "--jobs", "1"
    )
    assert code == 130
    assert "interrupted; the same command goes on" in error
    assert "| scrapl-adam | 1 |" in (tmp_path / "table2.md").read_text()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "config.json",
            '{"seed": ',
            r"config\.json is damaged .*; remove its folder, and the same",
        ),
        ("summary.json", '{"errors": ', r"summary\.json is damaged .*; remove its folder"),
        ("summary.json", "{}", r"damaged or of another version \(KeyError\('errors'\)\); remove"),
    ],
)
def test_damaged_results_are_named(name, content, message, tmp_path):
    plan = tiny_plan(tmp_path)
    finish(plan.jobs[0])
    (plan.jobs[0].target / name).write_text(content)
    with pytest.raises(InputError, match=message):
        collect(tiny_plan(tmp_path))
