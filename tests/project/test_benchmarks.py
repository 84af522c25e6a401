"""The benchmark suite: arithmetic, files and the driver, with a stand-in for the workers."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks import (
    optimizer_step,
    peers,
    report,
    run,
    scattering2d,
    stages,
    store,
    subjects,
    theta_importance,
)
from benchmarks.cases import AURALOSS, EXACT, KYMATIO, REDUCED, SCRAPL, STFT, Case, Contender
from benchmarks.groups import GROUPS, select
from benchmarks.measure import measure
from benchmarks.plan import FULL, QUICK
from benchmarks.process import NotMeasuredError, Worker, Workers
from benchmarks.targets import TARGETS, target_rows
from benchmarks.timing import Stepper, chosen_paths
from multipath.transforms import JTFS
from tests import ROOT

QUIET = Console(quiet=True)


class FakeWorkers:
    """Answers at once: 1 s a step of ours, 4 s of the peers; remembers what it was asked."""

    def __init__(self, refuse=(), interrupt_at=None):
        self.asked = []
        self.refuse = refuse
        self.interrupt_at = interrupt_at

    def rest(self):
        """Nothing runs."""

    def ask(self, side, request, timeout=None, fresh=False):
        if len(self.asked) == self.interrupt_at:
            raise KeyboardInterrupt
        self.asked.append((side, request, fresh))
        if side in self.refuse:
            raise NotMeasuredError("no peers here", unavailable=True)
        if request["do"] == "stages":
            return {"stages": made_up_stages(request["steps"])}
        if request["do"] != "step":
            return {"rates": {"copy: bytes": 1e10}}
        seconds = 1.0 if side == "ours" else 4.0
        new = request["warm_up"]
        return {"seconds": seconds, "paths": 9, "construct_seconds": 0.5 if new else None}


def made_up_stages(steps, import_mb=200, filters_mb=10, step_mb=50):
    def stage(peak, rest, seconds=1.0):
        return {"peak_bytes": peak * 1e6, "rest_bytes": rest * 1e6, "seconds": seconds}

    held = import_mb + filters_mb
    # construction needs more for a moment than it keeps
    found = {"import": stage(import_mb, import_mb), "construct": stage(held + 40, held)}
    return found | {f"step {i + 1}": stage(held + step_mb - i, held) for i in range(steps)}


def contender(name=EXACT, side="ours", **options):
    spec = {"subject": "jtfs", "settings": {}, "n_samples": 8, "batch": 1}
    return Contender(name, side, spec, **options)


def case(name="one-path/3", contenders=(), **options):
    return Case(name, "something", tuple(contenders) or (contender(),), **options)


def made_up_results(**seconds_of_cases):
    """Results of the granular setting; seconds by case and contender."""
    results = {
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
        "cases": {},
    }
    for name, contenders in seconds_of_cases.items():
        group = name.split("/")[0]
        results["cases"][name] = {
            "run": 0,
            "group": group,
            "what": name,
            "path": 3,
            "n2": 4,
            "n_fr": 3,
            "k": 16,
            "contenders": {who: {"seconds": list(s)} for who, s in contenders.items()},
        }
    return results


def one_path_results():
    return made_up_results(
        **{
            "one-path/3": {EXACT: [0.25, 0.5, 0.75], SCRAPL: [2.5, 5.0, 10.0], AURALOSS: [0.25]},
            "one-path/9": {EXACT: [0.25], SCRAPL: [1.0], AURALOSS: [0.25]},
            "one-path/12": {EXACT: [0.25], SCRAPL: [1.5], AURALOSS: [0.5]},
        }
    )


# Numbers


def test_memory_above_filters_ignores_the_peak_of_construction():
    told = made_up_stages(steps=2)
    assert stages.above_filters(told) == 50e6
    assert stages.process_peak(told) == 260e6
    assert stages.above_filters(made_up_stages(steps=0)) is None


@pytest.mark.skipif(not stages.CLEAR_REFERENCES.exists(), reason="the peak can be reset on Linux")
def test_stages_see_what_was_needed_for_a_moment():
    told = {}
    stages._staged(told, "step 1", lambda: torch.ones(2**24).sum().item())
    stages._staged(told, "step 2", lambda: None)
    used = [stage["peak_bytes"] - stage["rest_bytes"] for stage in told.values()]
    assert used[0] > 60e6
    assert used[1] < 20e6


# Targets


def test_targets_of_made_up_results():
    rows = {row[0]: row for row in target_rows(one_path_results())}
    # exact is 10, 4 and 6 times faster than scrapl-loss on the three paths
    what = "one path, exact, against scrapl-loss"
    assert rows[what][1:] == ["6.0x faster", "10.0x faster", "6.0x faster", "yes"]
    # and takes 2, 1 and 0.5 of auraloss's time
    row = rows["one path, exact, against auraloss's multi-resolution STFT loss"]
    assert row[1:] == ["at most 1.50x its time", "at most 1.00x its time", "1.00x its time", row[4]]
    assert row[4] == "aim reached"
    assert rows["Scattering1D against kymatio"][3:] == ["-", "not measured"]
    assert len(rows) == len(TARGETS) == 9


def test_a_missed_target_says_no():
    results = made_up_results(**{"one-path/3": {EXACT: [1.0], SCRAPL: [5.9], AURALOSS: [0.5]}})
    verdicts = [row[-1] for row in target_rows(results)]
    assert verdicts[:2] == ["no", "no"]


def test_targets_of_memory_and_set_up():
    results = one_path_results()
    for name, steps in (("memory/one path", 2), ("set-up/jtfs", 0)):
        results["cases"][name] = {
            "run": 0,
            "group": name.split("/")[0],
            "what": name,
            "contenders": {EXACT: {"stages": [made_up_stages(steps)]}},
        }
    rows = {row[0]: row for row in target_rows(results)}
    assert rows["one path, exact: memory above import and filters"][3:] == ["50 MB", "aim reached"]
    assert rows["construction of JTFS"][3:] == ["1.00 s", "yes"]


# Reports


def test_report_has_every_number_with_its_place():
    text = report.markdown(one_path_results())
    assert "| multipath exact | 250 (250–375) | 6 (5–8) | 1 (0.75–1.5) |" in text
    assert "| 3 (rate 4, scale 3) | 500 (375–625) | 5000 (3750–7500) | 250 |" in text
    assert "Abacus 3" in text
    assert "Q=(8, 2)" in text
    assert "2 threads" in text
    assert "## Targets" in text
    assert "## Growth" not in text


def test_report_says_what_is_missing_and_why():
    results = one_path_results()
    for record in results["cases"].values():
        record["contenders"][REDUCED] = {"skipped": "not in this version", "failed": False}
    text = report.markdown(results)
    assert "| multipath reduced | - | - | - |" in text
    assert "multipath reduced: not in this version (one-path/3, one-path/9, one-path/12)" in text


def test_plot_of_partial_results():
    from benchmarks.plots import draw

    results = one_path_results()
    assert draw(results).startswith(b"\x89PNG")
    assert draw(results) == draw(results)
    assert len(draw(made_up_results())) < len(draw(results))


README = f"# Title\n\n{report.START}\nold\n{report.END}\n\nrest\n"


def test_readme_section_is_rendered_and_checked(tmp_path, capsys):
    readme, results = tmp_path / "README.md", tmp_path / "full.json"
    readme.write_text(README)
    results.write_text(json.dumps(one_path_results()))
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
    results.write_text(json.dumps(made_up_results(**{"one-path/3": {EXACT: [0.5]}})))
    assert report.main([*arguments, "--check"]) == 1


def test_readme_without_markers_is_refused(tmp_path, capsys):
    readme, results = tmp_path / "README.md", tmp_path / "full.json"
    readme.write_text(f"{report.END} {report.START}")
    results.write_text(json.dumps(one_path_results()))
    assert report.main([str(results), "--readme", str(readme)]) == 2
    assert "in this order" in capsys.readouterr().err


def test_committed_results_are_what_the_readme_says(capsys):
    results, readme = ROOT / "benchmarks/results/full.json", ROOT / "README.md"
    if not results.exists() or report.START not in readme.read_text(encoding="utf-8"):
        pytest.skip("no committed results, or no performance section")
    assert report.main([str(results), "--readme", str(readme), "--check"]) == 0


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
    cases = [case(f"one-path/{i}", repeats=2, facts={"path": i, "n2": 1, "n_fr": 2}) for i in "abc"]
    conditions = made_up_results()["conditions"]
    environment = made_up_results()["runs"][0]
    first = store.Store(path, conditions)
    first.begin(environment)
    with pytest.raises(KeyboardInterrupt):
        run.run(cases, first, FakeWorkers(interrupt_at=3), QUIET)
    assert list(store.read(path)["cases"]) == ["one-path/a"]
    assert "multipath exact" in path.with_suffix(".md").read_text()

    again = store.Store(path, conditions, keep=True)
    again.begin(environment)
    workers = FakeWorkers()
    assert run.run(cases, again, workers, QUIET) == 0
    assert len(workers.asked) == 4  # two cases, two repeats
    found = store.read(path)["cases"]
    assert {name: record["run"] for name, record in found.items()} == {
        "one-path/a": 0,
        "one-path/b": 1,
        "one-path/c": 1,
    }


def test_results_of_other_conditions_are_not_continued(tmp_path):
    path = tmp_path / "results.json"
    store.Store(path, {"threads": 1, "Q": (8, 2)}).write()
    store.Store(path, {"threads": 1, "Q": (8, 2)}, keep=True)
    with pytest.raises(store.ResultsError, match="other conditions"):
        store.Store(path, {"threads": 2, "Q": (8, 2)}, keep=True)
    path.write_text("{}")
    with pytest.raises(store.ResultsError, match="this version"):
        store.Store(path, {"threads": 1}, keep=True)
    path.write_text("{")
    with pytest.raises(store.ResultsError, match="cannot be read"):
        store.Store(path, {"threads": 1}, keep=True)


def test_dropping_a_group_keeps_the_others():
    kept = store.Store(Path("unused"), {})
    kept.data["cases"] = {"a/1": {"group": "a"}, "b/1": {"group": "b"}}
    kept.drop({"a"})
    assert "a/1" not in kept
    assert "b/1" in kept


def test_reused_measurements_are_marked(tmp_path):
    path = tmp_path / "earlier.json"
    results = made_up_results(**{"full/jtfs": {EXACT: [5.0], KYMATIO: [187.0]}})
    path.write_text(json.dumps(results))
    found = store.reusable_peer(path, "full/jtfs")
    assert found == {"seconds": [187.0], "reused": "2026-01-02T03:04:05+00:00"}
    results["cases"]["full/jtfs"]["contenders"][KYMATIO] = found
    assert "187000 [reused, 2026-01-02]" in report.markdown(results)
    with pytest.raises(store.ResultsError, match="no measurement of kymatio"):
        store.reusable_peer(path, "scattering1d/all")


# The driver


def test_contenders_take_turns():
    workers = FakeWorkers()
    members = [contender(EXACT), contender(SCRAPL, "peers"), contender(STFT)]
    turns = []
    record = measure(case(contenders=members, repeats=3), workers, turns.append)
    assert turns == [EXACT, SCRAPL, STFT, SCRAPL, STFT, EXACT, STFT, EXACT, SCRAPL]
    assert record["contenders"][SCRAPL]["seconds"] == [4.0, 4.0, 4.0]
    assert record["contenders"][EXACT]["construct_seconds"] == 0.5
    assert record["group"] == "one-path"


def test_only_new_draws_are_warmed_up():
    workers = FakeWorkers()
    draws = ({"indices": [1]}, {"indices": [2]})
    measure(case(contenders=[contender(draws=draws)], repeats=3), workers)
    requests = [request for _, request, _ in workers.asked]
    assert [r["spec"]["indices"] for r in requests] == [[1], [2], [1]]
    assert [r["warm_up"] for r in requests] == [True, True, False]


def test_a_skipped_contender_does_not_stop_the_others():
    workers = FakeWorkers(refuse={"peers"})
    members = [contender(EXACT), contender(SCRAPL, "peers")]
    record = measure(case(contenders=members, repeats=3), workers)
    assert record["contenders"][SCRAPL] == {"skipped": "no peers here", "failed": False}
    assert record["contenders"][EXACT]["seconds"] == [1.0, 1.0, 1.0]
    assert sum(side == "peers" for side, *_ in workers.asked) == 1


def test_contenders_that_do_not_fit_in_memory_are_not_started():
    workers = FakeWorkers()
    record = measure(case(contenders=[contender(needs_bytes=1e15)]), workers)
    assert "needs 1000000 GB of memory" in record["contenders"][EXACT]["skipped"]
    assert workers.asked == []


def test_slow_steps_are_measured_once():
    class Slow(FakeWorkers):
        def ask(self, *arguments, **options):
            return super().ask(*arguments, **options) | {"too_slow": True}

    workers = Slow()
    record = measure(case(contenders=[contender(limit=0.5)], repeats=3), workers)
    assert record["contenders"][EXACT]["seconds"] == [1.0]
    assert "longer than the limit" in record["contenders"][EXACT]["skipped"]
    assert len(workers.asked) == 1


def test_a_fresh_process_gives_time_and_memory_once():
    workers = FakeWorkers()
    members = [contender(EXACT), contender(KYMATIO, "peers", fresh=True, only_repeat=1)]
    record = measure(case("full/jtfs", members, repeats=3), workers)
    assert len(record["contenders"][KYMATIO]["stages"]) == 1
    assert record["contenders"][KYMATIO]["seconds"] == [1.0]
    assert [side for side, _, fresh in workers.asked if fresh] == ["peers"]


def test_failures_of_ours_are_counted(tmp_path):
    class Broken(FakeWorkers):
        def ask(self, *arguments, **options):
            raise NotMeasuredError("RuntimeError: broken")

    results = store.Store(tmp_path / "results.json", made_up_results()["conditions"])
    results.begin(made_up_results()["runs"][0])
    members = [contender(EXACT), contender(SCRAPL, "peers")]
    facts = {"path": 1, "n2": 1, "n_fr": 1}
    assert run.run([case(contenders=members, facts=facts)], results, Broken(), QUIET) == 1


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
        members = [c for c in one.contenders if c.spec["subject"] in ("jtfs", "scrapl")]
        specs = [c.draws or c.spec["indices"] for c in members]
        assert specs[0] == specs[1] == specs[2]
    # 315 paths, 15 drawn: one in each stretch of 21
    assert [index // 21 for index in FULL.spread_paths()] == list(range(15))


def test_positions_become_path_indices():
    assert chosen_paths({"at": [0.0, 0.5, 0.999]}, n_paths=28) == [0, 14, 27]
    assert chosen_paths({"indices": [3]}, n_paths=28) == [3]
    assert chosen_paths({}, n_paths=28) is None


def test_the_list_of_cases(capsys):
    assert run.main(["--quick", "--list", "--only", "mrstft"]) == 0
    assert "multipath MRSTFT, auraloss" in capsys.readouterr().out


# What is timed, and the floor


def test_spectrogram_loss_is_the_one_of_auraloss():
    loss = subjects.SUBJECTS["mrstft"].construct({})
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


def test_a_mode_that_is_missing_is_not_a_failure():
    with pytest.raises(subjects.UnavailableError, match="no such mode"):
        subjects.SUBJECTS["jtfs"].construct({"sampling": "reduced", "nonsense": 1})
    with pytest.raises(TypeError, match="nonsense"):
        subjects.SUBJECTS["jtfs"].construct({"nonsense": 1})


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
    from benchmarks.floor import implied_floor

    spec = QUICK.jtfs(settings={**QUICK.settings, "n_samples": 2048, "T": 256}, batch=1).spec
    found = implied_floor(Stepper(), spec | {"indices": [30]})
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
    spec = QUICK.stft("ours").spec | {"n_samples": 2048, "batch": 1}
    request = {"do": "step", "spec": spec, "warm_up": True, "limit": None}
    first, second = worker.ask(request, timeout=60), worker.ask(request, timeout=60)
    assert first["construct_seconds"] > 0
    assert second["construct_seconds"] is None
    assert first["seconds"] > 0
    assert first["paths"] == 3
    assert worker.ask({**request, "limit": 0.0}, timeout=60)["too_slow"] is True
    found = worker.ask({"do": "describe", "packages": ["multipath", "scipy", "no-such"]})
    assert found["threads"] == 1
    assert found["torch"] == torch.__version__
    assert found["no-such"] is None


def test_a_worker_survives_errors(worker):
    with pytest.raises(NotMeasuredError, match="ValueError: unknown request 'dance'"):
        worker.ask({"do": "dance"})
    spec = QUICK.peer_path(indices=[0]).spec
    with pytest.raises(NotMeasuredError, match=r"ModuleNotFoundError.*scrapl"):
        worker.ask({"do": "step", "spec": spec, "warm_up": True, "limit": None})
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
    one = case("mrstft/three", [QUICK.stft("peers")], repeats=2)
    with Workers(Path(sys.executable), threads=1) as workers:
        record = measure(one, workers)["contenders"][AURALOSS]
    assert len(record["seconds"]) == 2
    assert record["paths"] == 3
    assert "skipped" not in record


@pytest.mark.skipif(not stages.STATUS.exists(), reason="memory is limited on Linux")
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
    python.write_text("#!/bin/sh\nread line\necho 'a last word' >&2\nexit 3\n")
    python.chmod(0o755)
    with Workers(python, threads=1) as workers:
        for _ in range(2):  # a new one is started
            with pytest.raises(NotMeasuredError, match=r"status 3 \(a last word\)"):
                workers.ask("peers", {"do": "describe"}, timeout=20)
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    with (
        Workers(python, threads=1) as workers,
        pytest.raises(NotMeasuredError, match="stopped after 0 s"),
    ):
        workers.ask("peers", {"do": "describe"}, timeout=0.1)


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
    ask = Workers.ask

    def ask_ours_only(self, side, request, *options):
        return FakeWorkers().ask(side, request) if side == "ours" else ask(self, side, request)

    monkeypatch.setattr(Workers, "ask", ask_ours_only)
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
    with pytest.raises(peers.PeersUnavailableError, match="does not start"):
        peers.check_python(tmp_path / "python")
    with pytest.raises(peers.PeersUnavailableError, match="scrapl"):
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
    assert "multipath alone: --no-peers" in capsys.readouterr().out
    text = (tmp_path / "optimizer_step_quick.md").read_text()
    assert "| torch AdamW, foreach |" in text
    assert text.count("| PSAGA") == 3
    assert "scrapl-loss was not measured: --no-peers" in text
    seconds = json.loads((tmp_path / "optimizer_step_quick.json").read_text())["seconds"]
    assert {len(samples) for samples in seconds.values()} == {2}


def test_optimizer_steps_are_compared_within_a_turn():
    report = {
        "facts": {"weights": 9, "tensors": 1, "paths": 2, "threads": 1, "turns": 3},
        "environment": {
            "machine": {"processor": "P", "load": 0.0, "system": "S"}, "ours": {"torch": "2"}
        },
        "seconds": {
            optimizer_step.ADAMW: [1.0, 2.0, 4.0],
            "PSAGA": [2.0, 3.0, 4.0],
            optimizer_step.HOOK: [20.0, 10.0, 40.0],
        },
    }  # fmt: skip
    text = optimizer_step.as_markdown(report)
    assert "| PSAGA | 3000.00 | 2500.00-3500.00 | 1.50 | 0.10 |" in text


def test_theta_importance_is_extrapolated_from_some_paths():
    mine = {
        "clock": {"wall": 2.0, "processor": 1.0}, "residual": 0.01, "keys": [[4, 0], [4, 1]],
        "curvature": [[1.0, 2.0], [3.0, 4.0]], "settings": {"weights": 9, "products": 7},
    }  # fmt: skip
    other = {
        "clocks": [{"wall": 30.0, "processor": 20.0}],
        "keys": [[4, 1]],
        "values": [[2.0, 2.0]],
    }
    report = {
        "threads": 1, "cases": {"dense": {"ours": mine, "peer": other}},
        "environment": {
            "machine": {"processor": "P", "load": 0.0, "system": "S"}, "ours": {"torch": "2"}
        },
    }  # fmt: skip
    text = theta_importance.as_markdown(report)
    assert "| scrapl-loss, extrapolated | all 2 | 60 | 40 |" in text
    assert "| **ratio** | | **30** | **40** |" in text
    assert "median 0.750, quartiles 0.625 to 0.875, from 0.500 to 1.000" in text


def test_scattering_of_images_needs_its_peer(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "kymatio", None)
    threads = str(torch.get_num_threads())
    monkeypatch.setattr(sys, "argv", ["scattering2d", "--quick", "--threads", threads])
    with pytest.raises(SystemExit) as stop:
        scattering2d.main()
    assert stop.value.code == 2
    assert "kymatio is needed, in an interpreter given by --peers-python" in capsys.readouterr().err


def test_scattering_of_images_is_measured_in_turns(monkeypatch):
    turns = []

    def steps(case):
        return {name: lambda backward, name=name: turns.append((name, backward)) for name in "ab"}

    monkeypatch.setattr(scattering2d, "steps", steps)
    found = scattering2d.measure(scattering2d.QUICK[0], backward=True, repeats=2)
    assert turns == [("a", True), ("b", True)] * 3
    assert set(found) == {"a", "b"}
