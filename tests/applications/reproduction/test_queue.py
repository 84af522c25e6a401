"""Jobs end with the process that has started them, and wait for folders that others write to."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from multipath.applications.cli.main import main
from multipath.applications.reproduction.queue import run_jobs
from multipath.applications.runs.folders import folder_lock, is_locked
from tests import ROOT

from .test_reproduction import Fake, tiny_plan

pytestmark = pytest.mark.slow  # they start processes

PATIENCE = 90.0  # seconds, on a machine with other things to do

PARENT = """
import signal, sys
if hasattr(signal, "SIGHUP"):  # ignored where the tests are run by nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
from pathlib import Path
from tests.applications.reproduction.test_reproduction import tiny_plan
from multipath.applications.reproduction.queue import LocalProcesses, run_jobs
plan = tiny_plan(Path(sys.argv[1]), "table1", 1, ("ploss",), steps=10**6)
cluster = LocalProcesses(Path(sys.argv[1], "jobs"))
run_jobs(plan.jobs, cluster, at_once=1, ended=print)
"""

CHILD = """
import os, subprocess, sys
from multipath.applications.reproduction import work
def do(values):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(process.pid, flush=True)
    process.wait()
work.do, work.read_json = do, lambda file: {}
work.main(["job.json"])
"""


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def start(code, *words, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        **options,
    )


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("by", [s for s in ("SIGKILL", "SIGHUP") if hasattr(signal, s)])
def test_a_job_ends_with_its_parent(tmp_path, by):
    run = tmp_path / "runs" / "match-granular-ploss-0"
    parent = start(PARENT, tmp_path)
    try:
        wait_for((run / "metrics.csv").exists)
        assert is_locked(run)
    finally:
        parent.send_signal(getattr(signal, by))
        parent.wait()
    wait_for(lambda: not is_locked(run))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
def test_what_a_job_has_started_ends_with_it():
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = start(CHILD, **pipe, start_new_session=True)
    grandchild = int(child.stdout.readline())
    assert alive(grandchild)
    child.stdin.close()
    assert child.wait(PATIENCE) == -signal.SIGKILL
    wait_for(lambda: not alive(grandchild))
    child.stdout.close()


def test_a_job_whose_folder_is_taken_waits_and_others_go_on(tmp_path):
    jobs = tiny_plan(tmp_path, seeds=3).jobs
    cluster, blocked = Fake(), []
    looks = iter(range(1000))
    with folder_lock(jobs[0].target):

        def look():
            if next(looks) == 8:  # the other process is done
                (jobs[0].target / ".lock").unlink()

        failures = run_jobs(
            jobs,
            cluster,
            at_once=1,
            ended=lambda *_: None,
            waiting=look,
            blocked=blocked.append,
            pause=0.0,
        )
    assert (failures, blocked) == ({}, [jobs[0]])
    assert cluster.log == [job.name for job in (*jobs[1:], jobs[0])]
    assert cluster.most == 1


def test_a_second_command_in_a_folder_waits_for_the_first(tmp_path, capsys, monkeypatch):
    cluster = Fake()
    queue = "multipath.applications.reproduction.queue.LocalProcesses"
    monkeypatch.setattr(queue, lambda *_: cluster)
    code, said = [], []

    def reproduce():
        with pytest.raises(SystemExit) as ended:
            main(
                ["reproduce", "table2", "--only", "scrapl", "--seeds", "1", "--out", str(tmp_path)]
            )
        code.append(ended.value.code)

    monkeypatch.setattr(signal, "signal", lambda *_: None)  # for it is not the main thread
    with folder_lock(tmp_path):
        second = threading.Thread(target=reproduce)
        second.start()
        wait_for(lambda: said.append(capsys.readouterr().err) or "waiting for" in said[-1])
        time.sleep(0.5)
        assert cluster.log == []
    second.join(PATIENCE)
    assert code == [0]
    assert cluster.log == ["match-granular-scrapl-0"]
    assert "waiting" not in capsys.readouterr().err


def test_waiting_can_be_interrupted(tmp_path, capsys, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("multipath.applications.runs.folders.time.sleep", interrupt)
    with folder_lock(tmp_path), pytest.raises(SystemExit) as ended:
        main(["reproduce", "table2", "--out", str(tmp_path)])
    assert ended.value.code == 130
    waiting, interrupted = capsys.readouterr().err.strip().splitlines()
    assert waiting.endswith(f"another `multipath reproduce` in {tmp_path} to end")
    assert interrupted == "multipath: interrupted; the same command goes on"
    assert not list(tmp_path.glob("runs/*"))
