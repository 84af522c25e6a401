"""The benchmark suite: arithmetic, files and the driver, with a stand-in for the workers."""

import json
import math
import os
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks import (
    dropins,
    gpu,
    metric,
    optimizer_step,
    peers,
    report,
    resynthesis,
    run,
    sampling,
    scattering2d,
    stages,
    store,
    subjects,
    theta_importance,
)
from benchmarks.cases import (
    AURALOSS,
    DRAWS,
    EXACT,
    IMAGES,
    KYMATIO,
    MSS,
    OLDER,
    REDUCED,
    SCATTERING,
    SCRAPL,
    STFT,
    Case,
    Contender,
)
from benchmarks.groups import GROUPS, select
from benchmarks.measure import measure
from benchmarks.plan import FULL, QUICK
from benchmarks.process import NotMeasuredError, Worker, Workers
from benchmarks.targets import TARGETS
from benchmarks.timing import step_of
from benchmarks.view import ORDER
from multipath.compat.kymatio.torch import Scattering1D
from multipath.transforms import JTFS
from tests import ROOT

RESULTS = ROOT / "benchmarks" / "results"
QUIET = Console(quiet=True)


class FakeWorkers:
    """Answers at once: 1 s a step of ours, 4 s of the peers; remembers what it was asked."""

    def __init__(self, refuse=(), interrupt_at=None):
        self.asked = []
        self.refuse = refuse
        self.interrupt_at = interrupt_at

    def rest(self):
        """Nothing runs."""

    def ask(self, side, function, fresh=False, **arguments):
        if len(self.asked) == self.interrupt_at:
            raise KeyboardInterrupt
        self.asked.append((side, arguments, fresh))
        if side in self.refuse:
            raise NotMeasuredError("no peers here")
        if function == "stages:run_stages":
            return made_up_stages(arguments["steps"])
        if function != "timing:step":
            return {"rates": {"copy: bytes": 1e10}}
        seconds = 1.0 if side == "ours" else 4.0
        new = arguments["warm_up"]
        return {"seconds": seconds, "paths": 9, "construct_seconds": 0.5 if new else None}


def made_up_stages(steps, import_mb=200, filters_mb=10, step_mb=50):
    def stage(peak, rest, seconds=1.0):
        return {"peak_bytes": peak * 1e6, "rest_bytes": rest * 1e6, "seconds": seconds}

    held = import_mb + filters_mb
    # construction needs more for a moment than it keeps
    found = {"import": stage(import_mb, import_mb), "construct": stage(held + 40, held)}
    return found | {f"step {i + 1}": stage(held + step_mb - i, held) for i in range(steps)}


def contender(name=EXACT, side="ours", **options):
    return Contender(name, side, {"subject": "jtfs", "settings": {}, "batch": 1}, **options)


def case(name="one-path/3", contenders=None, **options):
    facts = {"path": name[-1], "n2": 1, "n_fr": 2}
    return Case(name, "something", tuple(contenders or [contender()]), facts=facts, **options)


def made_up_results(seconds_of_cases):
    """Results of the granular setting; seconds by case and contender."""
    return {
        "schema": store.SCHEMA,
        "conditions": {
            "setting": "granular",
            "settings": {"n_samples": 32768, "Q": [8, 2]},
            "batch": 4,
            "threads": 2,
        },
        "runs": [
            {
                "date": "2026-01-02T03:04:05+00:00",
                "machine": {"processor": "Abacus 3", "cores": 2, "system": "Linux"},
                "ours": {"torch": "2.0"},
                "peers": {},
            }
        ],
        "cases": {
            name: {
                "run": 0, "group": name.split("/")[0], "what": name, "path": 3, "n2": 4, "n_fr": 3,
                "contenders": {who: {"seconds": seconds} for who, seconds in contenders.items()},
            }
            for name, contenders in seconds_of_cases.items()
        },
    }  # fmt: skip


def one_path_results():
    """JTFS is 10, 4 and 6 times faster than scrapl-loss, and takes 2, 1 and 0.5 of auraloss."""
    return made_up_results(
        {
            "one-path/3": {EXACT: [0.25, 0.5, 0.75], SCRAPL: [2.5, 5.0, 10.0], AURALOSS: [0.25]},
            "one-path/9": {EXACT: [0.25], SCRAPL: [1.0], AURALOSS: [0.25]},
            "one-path/12": {EXACT: [0.25], SCRAPL: [1.5], AURALOSS: [0.5]},
        }
    )


def new_store(path, **options):
    """A store that has begun a run."""
    made_up = one_path_results()
    made = store.Store(path, made_up["conditions"], **options)
    made.begin(made_up["runs"][0])
    return made


# Numbers


@pytest.mark.skipif(not stages.CLEAR_REFERENCES.exists(), reason="the peak can be reset on Linux")
def test_stages_see_what_was_needed_for_a_moment():
    told = {}
    stages._staged(told, "step 1", lambda: torch.ones(2**24).sum().item())
    stages._staged(told, "step 2", lambda: None)
    used = [stage["peak_bytes"] - stage["rest_bytes"] for stage in told.values()]
    assert used[0] > 60e6
    assert used[1] < 20e6


# Targets


def verdicts(results):
    return {target.what: target.row(results)[1:] for target in TARGETS}


def test_targets_of_made_up_results():
    results = one_path_results()
    for name in ("memory/one path", "memory/full", "set-up/jtfs"):
        told = {EXACT: {"stages": [made_up_stages(steps=2)]}}
        results["cases"][name] = {"group": name.split("/")[0], "contenders": told}
    rows = verdicts(results)
    expected = {
        "one path, exact, against scrapl-loss":
            ["5.50x faster", "8.00x faster", "6.00x faster", "yes"],
        "one path, exact, against auraloss's multi-resolution STFT loss":
            ["at most 1.00x its time", "at most 0.75x its time", "1.00x its time", "yes"],
        "all paths, exact: memory of the whole process":
            ["at most 1000 MB", "-", "260 MB", "yes"],
        "Scattering1D against kymatio": ["10.00x faster", "20.00x faster", "-", "not measured"],
        "one path, exact: memory above import and filters":
            ["at most 100 MB", "at most 60 MB", "50 MB", "aim reached"],
        "construction of JTFS": ["at most 2.00 s", "at most 0.50 s", "1.00 s", "yes"],
    }  # fmt: skip
    assert {what: rows[what] for what in expected} == expected
    assert len(rows) == len(TARGETS)


@pytest.mark.parametrize(
    ("what", "case", "ours", "other"),
    [
        ("8 energy draws, reduced, targets cached, against mss-log", "draws/energy", DRAWS, MSS),
        ("all paths, exact, against an older state", "full/jtfs", EXACT, OLDER),
        ("Scattering1D against an older state", "scattering1d/all", SCATTERING, OLDER),
        ("Scattering2D against an older state", "scattering2d/all", IMAGES, OLDER),
    ],
)
def test_directions_of_targets(what, case, ours, other):
    fast = verdicts(made_up_results({case: {ours: [1.0], other: [4.0]}}))[what]
    slow = verdicts(made_up_results({case: {ours: [4.0], other: [1.0]}}))[what]
    assert (fast[-1], slow[-1]) == ("aim reached", "no")


def test_a_missed_target_says_no():
    results = made_up_results({"one-path/3": {EXACT: [1.0], SCRAPL: [5.4], AURALOSS: [0.5]}})
    assert [row[-1] for row in verdicts(results).values()][:2] == ["no", "no"]


# Reports


def test_report_has_every_number_and_every_gap_with_its_place():
    results = one_path_results()
    for record in results["cases"].values():
        record["contenders"][REDUCED] = {"skipped": "out of order"}
    text = report.markdown(results)
    assert "| multipath exact | 250 (250–375) | 6 (5–8) | 1 (0.75–1.5) |" in text
    assert "| 3 (rate 4, scale 3) | 500 (375–625) | - | 5000 (3750–7500) | 250 |" in text
    assert "| multipath reduced | - | - | - |" in text
    assert "multipath reduced: out of order (one-path/3, one-path/9, one-path/12)" in text
    assert "(n_samples=32768, Q=(8, 2)), 2 threads" in text
    assert "Abacus 3" in text
    assert "## Targets" in text
    assert "## Growth" not in text


def test_plot_of_partial_results():
    from benchmarks.plots import LOOKS, draw

    results = one_path_results()
    assert draw(results).startswith(b"\x89PNG")
    assert draw(results) == draw(results)
    assert len(draw(made_up_results({}))) < len(draw(results))
    assert set(LOOKS) == set(ORDER)


README = f"# Title\n\n{report.START}\nold\n{report.END}\n\nrest\n"


@pytest.fixture
def files(tmp_path):
    """A README and results."""
    readme, results = tmp_path / "README.md", tmp_path / "full.json"
    readme.write_text(README)
    results.write_text(json.dumps(one_path_results()))
    return readme, results


def test_readme_section_is_rendered_and_checked(files, capsys):
    readme, results = files
    arguments = [str(results), "--readme", str(readme)]
    assert report.main([*arguments, "--check"]) == 1
    assert readme.read_text() == README
    assert "-old" in capsys.readouterr().out
    assert report.main(arguments) == 0
    text = readme.read_text()
    assert "6x faster than scrapl-loss, 1x faster than auraloss" in text
    assert text.startswith("# Title\n")
    assert text.endswith("\n\nrest\n")
    assert report.main([*arguments, "--check"]) == 0
    results.write_text(json.dumps(made_up_results({"one-path/3": {EXACT: [0.5]}})))
    assert report.main([*arguments, "--check"]) == 1


def test_readme_without_markers_is_refused(files, capsys):
    readme, results = files
    readme.write_text(f"{report.END} {report.START}")
    assert report.main([str(results), "--readme", str(readme)]) == 2
    assert "in this order" in capsys.readouterr().err


def test_committed_results_are_what_the_readme_says():
    assert (
        report.main([str(RESULTS / "full.json"), "--readme", f"{ROOT}/README.md", "--check"]) == 0
    )


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("full", lambda results: report.markdown(results, "full.png")),
        ("optimizer_step", optimizer_step.as_markdown),
        ("metric", metric.as_markdown),
        ("theta_importance", theta_importance.as_markdown),
        ("resynthesis", resynthesis.as_markdown),
        ("sampling", sampling.as_markdown),
    ],
)
def test_committed_tables_are_those_of_the_committed_results(name, render):
    results = json.loads((RESULTS / f"{name}.json").read_text())
    assert render(results) == (RESULTS / f"{name}.md").read_text()


# Files


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file.json"
    store.write_atomically(path, "old")

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        store.write_atomically(path, "new, and longer")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_run_resumes_where_it_was_interrupted(tmp_path):
    path = tmp_path / "results.json"
    cases = [case(f"one-path/{i}", repeats=2) for i in "abc"]
    with pytest.raises(KeyboardInterrupt):
        run.run(cases, new_store(path), FakeWorkers(interrupt_at=3), QUIET)
    assert list(store.read(path)["cases"]) == ["one-path/a"]
    assert "multipath exact" in path.with_suffix(".md").read_text()

    workers = FakeWorkers()
    assert run.run(cases, new_store(path, keep=True), workers, QUIET) == 0
    assert len(workers.asked) == 4  # two cases, two repeats
    runs = {name[-1]: record["run"] for name, record in store.read(path)["cases"].items()}
    assert runs == {"a": 0, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "other conditions"), ("{}", "this version"), ("{", "cannot be read")],
)
def test_other_results_are_not_continued(tmp_path, content, message):
    path = tmp_path / "results.json"
    store.Store(path, {"threads": 1, "Q": (8, 2)}).write()
    store.Store(path, {"threads": 1, "Q": (8, 2)}, keep=True)
    if content:
        path.write_text(content)
    with pytest.raises(store.ResultsError, match=message):
        store.Store(path, {"threads": 2, "Q": (8, 2)}, keep=True)


def test_dropping_a_group_keeps_the_others():
    kept = store.Store(Path("unused"), {})
    kept.data["cases"] = {"a/1": {"group": "a"}, "b/1": {"group": "b"}}
    kept.drop({"a"})
    assert list(kept.data["cases"]) == ["b/1"]


def test_reused_measurements_are_marked(tmp_path):
    path = tmp_path / "earlier.json"
    results = made_up_results({"full/jtfs": {EXACT: [5.0], KYMATIO: [187.0]}})
    path.write_text(json.dumps(results))
    found = store.reusable_peer(path, "full/jtfs")
    assert found == {"seconds": [187.0], "reused": "2026-01-02T03:04:05+00:00"}
    results["cases"]["full/jtfs"]["contenders"][KYMATIO] = found
    assert "187000 [reused, 2026-01-02]" in report.markdown(results)
    with pytest.raises(store.ResultsError, match="no measurement of kymatio"):
        store.reusable_peer(path, "scattering1d/all")


# The driver


def measured(*members, workers, repeats=3):
    return measure(case(contenders=members, repeats=repeats), workers)["contenders"]


def test_contenders_take_turns():
    members = [contender(EXACT), contender(SCRAPL, "peers"), contender(STFT)]
    turns = []
    record = measure(case(contenders=members, repeats=3), FakeWorkers(), turns.append)
    assert turns == [EXACT, SCRAPL, STFT, SCRAPL, STFT, EXACT, STFT, EXACT, SCRAPL]
    assert record["contenders"][SCRAPL]["seconds"] == [4.0, 4.0, 4.0]
    assert record["contenders"][EXACT]["construct_seconds"] == 0.5
    assert record["group"] == "one-path"


def test_only_new_draws_are_warmed_up():
    workers = FakeWorkers()
    measured(contender(draws=({"indices": [1]}, {"indices": [2]})), workers=workers)
    requests = [arguments for _, arguments, _ in workers.asked]
    assert [r["spec"]["indices"] for r in requests] == [[1], [2], [1]]
    assert [r["warm_up"] for r in requests] == [True, True, False]


def test_a_skipped_contender_does_not_stop_the_others():
    workers = FakeWorkers(refuse={"peers"})
    found = measured(contender(EXACT), contender(SCRAPL, "peers"), workers=workers)
    assert found[SCRAPL]["skipped"] == "no peers here"
    assert found[EXACT]["seconds"] == [1.0, 1.0, 1.0]
    assert sum(side == "peers" for side, *_ in workers.asked) == 1


def test_contenders_that_do_not_fit_in_memory_are_not_started():
    workers = FakeWorkers()
    found = measured(contender(needs_bytes=1e15), workers=workers)
    assert "needs 1000000 GB of memory" in found[EXACT]["skipped"]
    assert workers.asked == []


def test_slow_steps_are_measured_once(monkeypatch):
    workers = FakeWorkers()
    ask = workers.ask
    monkeypatch.setattr(workers, "ask", lambda *a, **options: ask(*a, **options) | {"too_slow": 1})
    found = measured(contender(limit=0.5), workers=workers)
    assert found[EXACT]["seconds"] == [1.0]
    assert "longer than the limit" in found[EXACT]["skipped"]
    assert len(workers.asked) == 1


def test_a_fresh_process_gives_time_and_memory_once():
    workers = FakeWorkers()
    found = measured(
        contender(EXACT), contender(KYMATIO, "peers", needs_bytes=1.0), workers=workers
    )
    assert len(found[KYMATIO]["stages"]) == 1
    assert found[KYMATIO]["seconds"] == [1.0]
    assert [side for side, _, fresh in workers.asked if fresh] == ["peers"]


def test_failures_of_ours_are_counted(tmp_path):
    both = case(contenders=[contender(EXACT), contender(SCRAPL, "peers")])
    results = new_store(tmp_path / "results.json")
    assert run.run([both], results, FakeWorkers(refuse={"ours", "peers"}), QUIET) == 1


# Cases


@pytest.mark.parametrize("plan", [FULL, QUICK], ids=lambda plan: plan.setting)
def test_paths_are_numbered_as_in_the_transform(plan):
    paths = JTFS(**plan.settings).paths
    assert len(paths) == plan.n_paths
    for one in GROUPS["one-path"](plan):
        assert paths[one.facts["path"]].key == (one.facts["n2"], one.facts["n_fr"])
    for rate in GROUPS["per-rate"](plan):
        (indices,) = {tuple(c.spec["indices"]) for c in rate.contenders}
        assert {paths[i].metadata["n2"] for i in indices} == {rate.facts["n2"]}
        assert len(indices) == plan.n_scales


@pytest.mark.parametrize("plan", [FULL, QUICK], ids=lambda plan: plan.setting)
def test_cases_are_named_once_and_drawn_alike(plan):
    names = [one.name for one in select(plan)]
    assert len(set(names)) == len(names)
    assert select(plan) == select(plan)
    assert select(plan)[-1].group == "full"  # minutes: last
    assert {one.group for one in select(plan, ["mrstft", "memory"])} == {"mrstft", "memory"}


def test_everybody_gets_the_same_paths():
    for one in select(FULL, ["one-path", "growth"]):
        members = [c for c in one.contenders if c.spec["subject"] not in ("mrstft", "auraloss")]
        specs = [(c.draws, c.spec.get("indices")) for c in members]
        assert specs[0] == specs[1] == specs[2]
    # 315 paths, 15 drawn: one in each stretch of 21
    assert [index // 21 for index in FULL.spread_paths()] == list(range(15))


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({"at": [0.0, 0.5, 0.999]}, [0, 14, 27]), ({"indices": [3]}, [3]), ({}, None)],
)
def test_a_step_takes_the_paths_of_its_spec(chosen, expected):
    taken = []

    def value(x, y, indices):
        taken.append(indices)
        return (x - y).square().sum()

    spec = {"settings": {"n_samples": 8}, "batch": 2, **chosen}
    assert step_of(subjects.Loss(value, n_paths=28), spec)() > 0
    assert taken == [expected]


OLDER = {
    "__init__.py": (
        "class TransformLoss:\n"
        "    paths = ['the only one']\n"
        "    def __init__(self, transform): pass\n"
        "    def __call__(self, x, y): return (x - y).square().sum()\n"
    ),
    "transforms.py": "class JTFS:\n    def __init__(self, **settings): pass\n",
}


def test_an_older_state_is_that_of_its_checkout(tmp_path):
    (tmp_path / "multipath").mkdir()
    for name, code in OLDER.items():
        (tmp_path / "multipath" / name).write_text(code)
    spec = {"subject": "older-jtfs", "settings": {"n_samples": 8}, "batch": 1}
    with Workers("no peers", threads=1, older=tmp_path) as workers:
        told = workers.ask("older", "timing:step", spec=spec, warm_up=True, limit=None)
    assert told["paths"] == 1
    cases = select(replace(FULL, older=True), ["full", "scattering1d", "scattering2d"])
    assert all("older" in {member.side for member in case.contenders} for case in cases)


@pytest.mark.parametrize(
    ("folder", "groups", "message"),
    [
        ("nowhere", "full", "is no checkout of this project"),
        (ROOT, "mrstft", "no older state takes part in mrstft"),
    ],
)
def test_older_states_that_cannot_be_measured(folder, groups, message, tmp_path, capsys):
    out = tmp_path / "results.json"
    options = ["--quick", "--only", groups, "--older", str(folder), "--out", str(out)]
    assert run.main(options) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    with Workers("no peers", threads=1) as workers, pytest.raises(NotMeasuredError, match="older"):
        workers.ask("older", "environment:processor")


def test_a_step_of_training_and_of_a_picture():
    for case in select(QUICK, ["draws", "scattering2d"]):
        for contender in case.contenders:
            if contender.side != "ours":
                continue
            subject = subjects.SUBJECTS[contender.spec["subject"]]
            subject.load()
            step = step_of(subject.construct(**contender.spec["settings"]), contender.spec)
            assert step() > 0


def test_the_list_of_cases(capsys):
    assert run.main(["--quick", "--list", "--only", "mrstft"]) == 0
    assert "multipath MRSTFT, auraloss" in capsys.readouterr().out


# What is timed, and the floor


def test_spectrogram_loss_is_the_one_of_auraloss():
    loss = subjects.SUBJECTS["mrstft"].construct()
    x, y = torch.randn(2, 2, 4096, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for fft, hop, win in zip(*subjects.RESOLUTIONS.values(), strict=True):
        a, b = (
            torch.stft(s, fft, hop, win, torch.hann_window(win), return_complex=True)
            .abs()
            .clamp_min(1e-4)
            for s in (x, y)
        )
        expected += torch.linalg.norm(a - b) / torch.linalg.norm(b)
        expected += (a.log() - b.log()).abs().mean()
    torch.testing.assert_close(loss.value(x, y, None), expected / 3, rtol=1e-4, atol=0)


def test_recorder_counts_transforms_and_products():
    from benchmarks.floor import Recorder

    x, matrix = torch.randn(3, 64), torch.randn(5, 3)
    x.requires_grad_()
    with Recorder() as recorder:
        torch.fft.irfft(torch.fft.rfft(x), n=64)
        (matrix @ x).sum().backward()
    products = {op: n for op, n in recorder.operations.items() if op[0] == "product"}
    assert products == {("product", 1, 5, 3, 64): 1, ("product", 1, 3, 5, 64): 1}
    assert recorder.operations["real", 3, 64] == 1
    assert recorder.operations["inverse real", 3, 64] == 1
    assert recorder.other_bytes > 0


def test_floor_of_a_step():
    from benchmarks.floor import count

    settings = {**QUICK.settings, "n_samples": 2048, "T": 256}
    found = count(QUICK.contender("jtfs", settings=settings, batch=1, indices=[30]).spec)
    assert found["fourier_points"] > 4 * 2048  # forward of two signals at least, padded
    assert found["product_flops"] > 0
    assert found["fourier_seconds"] > 0
    assert math.isfinite(found["product_seconds"])


# Processes


@pytest.fixture(scope="module")
def worker():
    started = Worker(sys.executable, threads=1)
    yield started
    started.close()


def test_a_worker_times_a_step(worker):
    spec = QUICK.contender("mrstft", settings={"n_samples": 2048}, batch=1).spec
    request = {"spec": spec, "warm_up": True, "timeout": 60}
    first, second = (worker.ask("timing:step", limit=None, **request) for _ in range(2))
    assert first["construct_seconds"] > 0
    assert second["construct_seconds"] is None
    assert first["seconds"] > 0
    assert first["paths"] == 3
    assert worker.ask("timing:step", limit=0.0, **request)["too_slow"] is True
    packages = ["multipath", "scipy", "no-such"]
    found = worker.ask("environment:describe_interpreter", packages=packages)
    assert found["threads"] == 1
    assert found["torch"] == torch.__version__
    assert found["no-such"] is None


def test_a_worker_survives_errors(worker):
    with pytest.raises(NotMeasuredError, match=r"AttributeError: .*dance"):
        worker.ask("timing:dance")
    spec = QUICK.contender("scrapl", indices=[0]).spec
    with pytest.raises(NotMeasuredError, match=r"ModuleNotFoundError.*scrapl"):
        worker.ask("timing:step", spec=spec, warm_up=True, limit=None)
    assert worker.alive


PEER = """
import os

print("a library speaks up")
os.system("echo so does a child")


def MultiResolutionSTFTLoss():
    return lambda x, y: (x - y).square().mean()
"""


def test_a_peer_runs_in_its_own_process_whatever_it_prints(tmp_path, monkeypatch):
    (tmp_path / "auraloss").mkdir()
    (tmp_path / "auraloss" / "__init__.py").touch()
    (tmp_path / "auraloss" / "freq.py").write_text(PEER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    one = case("mrstft/three", QUICK.stft()[1:], repeats=2)
    with Workers(Path(sys.executable), threads=1) as workers:
        record = measure(one, workers)["contenders"][AURALOSS]
    assert len(record["seconds"]) == 2
    assert record["paths"] == 3
    assert "skipped" not in record


@pytest.mark.skipif(not stages.CLEAR_REFERENCES.exists(), reason="memory is limited on Linux")
def test_what_does_not_fit_in_memory_is_refused():
    code = """if True:
        import torch
        from benchmarks.worker import explain, limit_memory
        limit_memory(10**9)
        try:
            torch.ones(2**29)
        except RuntimeError as error:
            print(explain(error))
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "does not fit in the memory of this machine\n"


def test_a_worker_that_dies_or_hangs_is_reported(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'a last word' >&2\nexit 3\n")
    python.chmod(0o755)
    with Workers(python, threads=1) as workers:
        for _ in range(2):  # a new one is started
            with pytest.raises(NotMeasuredError, match=r"status 3 \(a last word\)"):
                workers.ask("peers", "timing:step", timeout=20)
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    with (
        Workers(python, threads=1) as workers,
        pytest.raises(NotMeasuredError, match="stopped after 0 s"),
    ):
        workers.ask("peers", "timing:step", timeout=0.1)


# The peers' environment


def fake_environment(monkeypatch, script):
    """Environments whose interpreter is a shell script."""

    def make(folder):
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / "python").chmod(0o755)

    monkeypatch.setattr(peers, "make_environment", make)


def test_peers_are_installed_once(tmp_path, monkeypatch):
    fake_environment(monkeypatch, f"echo run >> {tmp_path}/calls")
    said = []
    python = peers.peers_python(tmp_path / "peers", said.append)
    assert python == tmp_path / "peers/bin/python"
    assert "scrapl-loss==0.1.0" in said[0]
    assert f"torch=={torch.__version__.split('+')[0]}" in said[0]
    assert peers.peers_python(tmp_path / "peers", said.append) == python
    assert len(said) == 1
    assert (tmp_path / "calls").read_text() == "run\n"


def test_without_network_ours_is_measured_alone(tmp_path, monkeypatch, capfd):
    words = "ERROR: No matching distribution found for scrapl-loss==0.1.0"
    fake_environment(monkeypatch, f"echo '{words}' >&2\nexit 1")
    monkeypatch.setattr(peers, "FOLDER", tmp_path / "peers")
    real, fake = Workers.ask, FakeWorkers()

    def ask(self, side, *arguments, **options):
        if side == "ours":
            return fake.ask(side, *arguments, **options)
        return real(self, side, *arguments, **options)

    monkeypatch.setattr(Workers, "ask", ask)
    out = tmp_path / "results.json"
    assert run.main(["--quick", "--only", "mrstft", "--out", str(out)]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "is there a network? pip says: No matching distribution found for scrapl-loss" in said
    assert "measuring multipath alone" in said
    assert not (tmp_path / "peers").exists()
    found = store.read(out)["cases"]["mrstft/three"]["contenders"]
    assert found[STFT]["seconds"] == [1.0] * 9
    assert "is there a network?" in found[AURALOSS]["skipped"]
    text = out.with_suffix(".md").read_text()
    assert "| multi-resolution STFT, three resolutions | 1000 (1000–1000) | - |" in text
    assert out.with_suffix(".png").exists()


def test_an_interpreter_without_the_peers_is_refused(tmp_path):
    with pytest.raises(NotMeasuredError, match="does not start"):
        peers.check_python(tmp_path / "python")
    with pytest.raises(NotMeasuredError, match="scrapl"):
        peers.check_python(Path(sys.executable))


def test_the_driver_does_not_import_torch():
    code = "import sys, benchmarks.run, benchmarks.report; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_optimizer_steps_without_peers(tmp_path, monkeypatch, capsys):
    command = ["optimizer_step", "--quick", "--turns", "2", "--no-peers", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    threads = torch.get_num_threads()
    optimizer_step.main()
    torch.set_num_threads(threads)
    assert "(--no-peers): measuring multipath alone" in capsys.readouterr().out
    text = (tmp_path / "optimizer_step_quick.md").read_text()
    assert "| torch AdamW, foreach |" in text
    assert text.count("| PSAGA") == 3
    assert "scrapl-loss was not measured: the peers are not available (--no-peers)" in text
    seconds = json.loads((tmp_path / "optimizer_step_quick.json").read_text())["seconds"]
    assert {len(samples) for samples in seconds.values()} == {2}


@pytest.mark.parametrize("script", [scattering2d, dropins])
def test_comparison_with_kymatio_needs_it(script, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "kymatio", None)
    threads = str(torch.get_num_threads())
    monkeypatch.setattr(sys, "argv", ["script", "--quick", "--threads", threads])
    with pytest.raises(SystemExit) as stop:
        script.main()
    assert stop.value.code == 2
    assert "kymatio is needed, in an interpreter given by --peers-python" in capsys.readouterr().err


def test_drop_ins_are_compared_with_what_they_replace(monkeypatch, capsys):
    theirs = types.ModuleType("kymatio.torch")
    theirs.Scattering1D = Scattering1D
    monkeypatch.setitem(sys.modules, "kymatio", types.ModuleType("kymatio"))
    monkeypatch.setitem(sys.modules, "kymatio.torch", theirs)
    sys.modules["kymatio"].torch = theirs
    threads = str(torch.get_num_threads())
    monkeypatch.setattr(sys, "argv", ["dropins", "--quick", "--threads", threads, "--repeats", "1"])
    dropins.main()
    printed = capsys.readouterr().out
    assert printed.count("| Scattering1D | J=5, shape=512, Q=2 |") == 2
    assert "with gradient" in printed


@pytest.mark.slow
def test_images_are_compared_with_another_state_of_the_project():
    case, threads = scattering2d.Case(1, 16, 2), torch.get_num_threads()
    text = scattering2d.beside_older(ROOT, [case], repeats=1, threads=threads)
    assert "| 1 of 16x16, J=2 | all paths |" in text
    assert "| 1 of 16x16, J=2 | 8 paths |" in text
    with pytest.raises(NotMeasuredError, match="there is no multipath in /nowhere"):
        scattering2d.beside_older(Path("/nowhere"), [case], repeats=1, threads=threads)


@pytest.mark.slow
def test_the_run_for_a_gpu_on_the_cpu(monkeypatch, tmp_path):
    shipped = gpu.transforms()
    monkeypatch.setattr(gpu, "transforms", lambda: {"packet": shipped["WaveletPacket"]})
    small = {"n_samples": 2400, "J": 4, "Q": (2, 1), "J_fr": 1, "Q_fr": 1, "T": 256, "F": 2}
    monkeypatch.setattr(gpu, "QUICK", gpu.QUICK._replace(jtfs=small, seconds_per_row=0.0))
    monkeypatch.setitem(sys.modules, "auraloss", None)
    monkeypatch.setattr(gpu, "granular", broken)
    out = tmp_path / "new" / "gpu.md"
    gpu.main(["--device", "cpu", "--quick", "--seconds", "600", "--out", str(out)])
    text = out.read_text()
    assert text.startswith("# One run on ")
    assert f"torch {torch.__version__}" in text
    assert "| packet | 0.0e+00 | 0.0e+00 |" in text
    assert text.count("| JTFS, 8 energy draws |") == 2
    assert text.count("| MRSTFT of auraloss | left out: ") == 2
    assert "The stage `broken` failed: RuntimeError: no memory" in text
    assert [path.name for path in out.parent.iterdir()] == ["gpu.md"]


def broken(*_):
    raise RuntimeError("no memory")


@pytest.mark.slow
def test_the_granular_run_fills_its_time(tmp_path):
    report = gpu.Report(tmp_path / "gpu.md", torch.device("cpu"))
    gpu.granular(torch.device("cpu"), gpu.QUICK, report, deadline=0.0)
    text = (tmp_path / "gpu.md").read_text()
    assert "10 of the 1800 steps of the preset fit into this run" in text
    assert text.count("\n| 10 |") == 1


def test_contenders_are_measured_in_turns():
    turns = []

    def steps(case):
        return {name: lambda backward, name=name: turns.append((name, backward)) for name in "ab"}

    found = scattering2d.in_turns(steps(None), backward=True, repeats=2)
    assert turns == [("a", True), ("b", True)] * 3
    assert set(found) == {"a", "b"}
