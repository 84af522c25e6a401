"""Measure the losses side by side with their peers; write results as they come.

python -m benchmarks.run --quick
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from .cases import Case
from .environment import OUR_PACKAGES, PEER_PACKAGES, describe_checkout, describe_machine
from .groups import GROUPS, select
from .measure import Record, measure
from .peers import add_options, find_python
from .plan import FULL, QUICK
from .process import NotMeasuredError, Workers
from .report import RESULTS, write_report
from .stages import construction, process_peak
from .store import ResultsError, Store, reusable_peer
from .tables import milliseconds, skipped
from .targets import apply_to, target_table

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
    parser.add_argument(
        "--older", type=Path, help="a checkout of an older state of this project, to compare with"
    )
    add_options(parser)
    parser.add_argument(
        "--reuse", type=Path, help="take kymatio's minutes-long full JTFS from this results file"
    )
    return parser.parse_args(arguments)


def describe(workers: Workers) -> dict[str, Any]:
    """The environment of a run."""
    found: dict[str, Any] = {"machine": describe_machine()}
    for side, packages in (("ours", OUR_PACKAGES), ("peers", PEER_PACKAGES)):
        try:
            found[side] = workers.ask(side, "environment:describe_interpreter", packages=packages)
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
        numbered = enumerate(cases, start=1)
        for _, members in groupby(numbered, key=lambda pair: pair[1].group):
            workers.rest()  # every group starts with fresh processes
            for number, case in members:
                if case.name not in store:
                    label = f"[{number}/{len(cases)}] {case.name}"

                    def announce(name: str, label: str = label) -> None:
                        progress.update(task, description=escape(f"{label}, {name}"))

                    record = measure(case, workers, announce)
                    store.add(case.name, record)
                    write_report(store.data, store.path, with_plot=False)
                    progress.console.print(
                        f"{label}: {outcome(record)}", highlight=False, markup=False, soft_wrap=True
                    )
                    failures += sum(
                        "failed" in record["contenders"][contender.name]
                        for contender in case.contenders
                        if contender.side == "ours"
                    )
                progress.advance(task, case.seconds)
            write_report(store.data, store.path)  # with the plot, which takes a second
    return failures


def outcome(record: Record) -> str:
    """One line for a terminal."""
    parts = []
    for name, found in record["contenders"].items():
        if found.get("seconds"):
            parts.append(f"{name} {milliseconds(found['seconds'])} ms")
        elif "stages" in found:
            last = found["stages"][-1]
            took, peak = construction(last), process_peak(last) / 1e6
            parts.append(f"{name} constructed in {took:.2f} s, process of {peak:.0f} MB")
        elif "skipped" in found:
            parts.append(f"{name} skipped: {found['skipped']}")
        elif "rates" in found:
            parts.append(f"copy {found['rates']['copy: bytes'] / 1e9:.1f} GB/s")
    return "; ".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, and print how the targets fare."""
    options = parse(arguments)
    older: Path | None = options.older.resolve() if options.older else None
    plan = replace(QUICK if options.quick else FULL, batch=options.batch, older=older is not None)
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
        if older is not None:
            conditions["older"] = describe_checkout(older)
            if not any(c.side == "older" for case in cases for c in case.contenders):
                raise ValueError(f"no older state takes part in {', '.join(options.only)}")
        store = Store(path, conditions, keep=options.resume or bool(options.only))
        reused = reusable_peer(options.reuse, FULL_CASE) if options.reuse else None
    except (ResultsError, ValueError) as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return 2
    if not options.resume:
        store.drop({case.group for case in cases})
    if reused:
        cases = [
            replace(case, contenders=tuple(c for c in case.contenders if not c.needs_bytes))
            for case in cases
        ]
    say = partial(console.print, markup=False, highlight=False)
    try:
        with Workers(find_python(options, say), options.threads, older) as workers:
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
        print(target_table(results))
    for line in skipped(results):
        print(f"not measured {line}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
