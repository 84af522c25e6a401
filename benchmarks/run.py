"""Measure the losses side by side with their peers; write results as they come.

python -m benchmarks.run --quick
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from .cases import Case
from .environment import OUR_PACKAGES, PEER_PACKAGES, describe_machine
from .groups import GROUPS, select
from .measure import Record, measure
from .peers import PeersUnavailableError, add_options, find_python
from .plan import FULL, QUICK, Plan
from .process import NotMeasuredError, Workers
from .report import RESULTS, write_report
from .store import ResultsError, Store, reusable_peer
from .tables import milliseconds, skipped, table
from .targets import apply_to, target_rows

FULL_CASE = "full/jtfs"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="Time multipath and its peers side by side.",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, about two minutes")
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, metavar="GROUP", help="measure these groups anew"
    )
    parser.add_argument("--list", action="store_true", help="show groups and cases, run nothing")
    parser.add_argument("--resume", action="store_true", help="keep what the file holds already")
    parser.add_argument("--out", type=Path, help="results file (.json); .md and .png beside it")
    parser.add_argument("--threads", type=int, default=2, help="of torch, OpenMP and MKL")
    parser.add_argument("--batch", type=int, default=4)
    add_options(parser)
    parser.add_argument(
        "--reuse", type=Path, help="take kymatio's minutes-long full JTFS from this results file"
    )
    return parser.parse_args(arguments)


def find_peers(options: argparse.Namespace, console: Console) -> Path | str:
    """The peers' interpreter, or the reason why there is none, which is also said."""
    try:
        return find_python(options, console.print)
    except PeersUnavailableError as error:
        reason = f"the peers are not available ({error})"
        console.print(f"[yellow]{reason}: measuring multipath alone[/]", highlight=False)
        return reason


def describe(workers: Workers) -> dict[str, Any]:
    """The environment of a run."""
    found: dict[str, Any] = {"machine": describe_machine()}
    for side, packages in (("ours", OUR_PACKAGES), ("peers", PEER_PACKAGES)):
        try:
            found[side] = workers.ask(side, {"do": "describe", "packages": packages})
        except NotMeasuredError:
            found[side] = {}
    workers.rest()
    return found


def run(cases: Sequence[Case], store: Store, workers: Workers, console: Console) -> int:
    """Measure all cases that the store lacks; returns how many of ours failed."""
    failures = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(case.seconds for case in cases))
        group = ""
        for number, case in enumerate(cases, start=1):
            if case.name in store:
                progress.advance(task, case.seconds)
                continue
            if case.group != group:
                workers.rest()  # every group starts with fresh processes
            group = case.group
            label = f"[{number}/{len(cases)}] {case.name}"
            show = _announcer(progress, task, label)
            record = measure(case, workers, show)
            store.add(case.name, record)
            write_report(store.data, store.path, with_plot=last_of_group(cases, case))
            progress.advance(task, case.seconds)
            progress.console.print(
                f"{label}: {outcome(record)}", highlight=False, markup=False, soft_wrap=True
            )
            failures += sum(
                contender.side == "ours" and record["contenders"][contender.name].get("failed", 0)
                for contender in case.contenders
            )
    return failures


def _announcer(progress: Progress, task: Any, label: str) -> Any:
    return lambda name: progress.update(task, description=f"{label}, {name}".replace("[", r"\["))


def last_of_group(cases: Sequence[Case], case: Case) -> bool:
    """Plots take a second: once a group is enough."""
    return [other for other in cases if other.group == case.group][-1] is case


def outcome(record: Record) -> str:
    """One line for a terminal."""
    parts = []
    for name, found in record["contenders"].items():
        if found.get("seconds"):
            parts.append(f"{name} {milliseconds(found['seconds'])} ms")
        elif "stages" in found:
            last = found["stages"][-1]
            peak = max(stage["peak_bytes"] for stage in last.values())
            built = last["construct"]["seconds"]
            parts.append(f"{name} constructed in {built:.2f} s, process of {peak / 1e6:.0f} MB")
        elif "skipped" in found:
            parts.append(f"{name} skipped: {found['skipped']}")
        elif "rates" in found:
            parts.append(f"copy {found['rates']['copy: bytes'] / 1e9:.1f} GB/s")
    return "; ".join(parts)


def without_full_peer(cases: Sequence[Case]) -> list[Case]:
    """The cases without kymatio's full JTFS, which comes from an earlier run."""
    return [
        replace(case, contenders=tuple(c for c in case.contenders if not c.fresh))
        if case.name == FULL_CASE
        else case
        for case in cases
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, and print how the targets fare."""
    options = parse(arguments)
    plan: Plan = replace(QUICK if options.quick else FULL, batch=options.batch)
    cases = select(plan, options.only)
    if options.list:
        for case in cases:
            names = ", ".join(contender.name for contender in case.contenders)
            print(f"{case.name:32} about {case.seconds:4.0f} s: {names}")
        return 0
    console = Console(stderr=True)
    path = options.out or RESULTS / ("quick.json" if options.quick else "full.json")
    conditions = {
        "setting": plan.setting,
        "settings": plan.settings,
        "batch": plan.batch,
        "threads": options.threads,
    }
    try:
        store = Store(path, conditions, keep=options.resume or bool(options.only))
        reused = reusable_peer(options.reuse, FULL_CASE) if options.reuse else None
    except ResultsError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return 2
    if not options.resume:
        store.drop({case.group for case in cases})
    if reused:
        cases = without_full_peer(cases)
    failures = 0
    try:
        with Workers(find_peers(options, console), options.threads) as workers:
            store.begin(describe(workers))
            failures = run(cases, store, workers, console)
    except KeyboardInterrupt:
        done = sum(case.name in store for case in cases)
        console.print(f"interrupted: {done} of {len(cases)} cases are in {path}; go on: --resume")
        return 130
    finish(store, reused)
    console.print(f"written: {path}, with .md and .png beside it", highlight=False)
    if failures:
        console.print(f"[red]{failures} measurements of multipath failed[/]: see the report's end")
    return 1 if failures else 0


def finish(store: Store, reused: dict[str, Any] | None) -> None:
    """Complete the files and print the targets."""
    results = store.data
    if reused and FULL_CASE in store:
        results["cases"][FULL_CASE]["contenders"]["kymatio"] = reused
        store.write()
    write_report(results, store.path)
    if apply_to(results):
        print(table(["target", "at least", "aim", "measured", "met"], target_rows(results)))
    for line in skipped(results):
        print(f"not measured {line}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
