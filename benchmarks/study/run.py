"""Run the study: tune each scheme's learning rate, then train it on five seeds in equal time.

python -m benchmarks.study.run

Every run that is done is a line of ``benchmarks/results/study.jsonl``; started again, it goes on
with what is missing. ``python -m benchmarks.study.report`` makes tables and plots of the file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from .problems import PROBLEMS

RESULTS = Path(__file__).parent.parent / "results" / "study.jsonl"
QUADRATIC = "quadratic"
ALL_PROBLEMS = (QUADRATIC, *PROBLEMS)
TUNING_SEED = 1000
OTHER_RATE = "other rate"
"""Stage of runs at a learning rate given by hand, shown apart."""
BUDGET = 16.0
PATIENCE = {"granular": 3.0}
"""Problems that take longer to learn at all get so many times the budget."""

Record = dict[str, Any]
Pair = tuple[str, str]  # scheme and problem


@dataclass(frozen=True)
class Run:
    """One training run, by name."""

    stage: str
    problem: str
    scheme: str
    lr: float
    seed: int
    budget: float


def load(path: Path) -> list[Record]:
    """The runs that are done; a last line cut short by an interrupt is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def rates(scheme: str, problem: str) -> tuple[float, ...]:
    """Learning rates to try: the range in which pilot runs had found the best."""
    if problem == QUADRATIC:
        return (0.01, 0.03, 0.1, 0.3)
    return (3e-4, 1e-3) if scheme.startswith("scrapl") else (1e-3, 3e-3)


def entries(problems: Iterable[str], only: Iterable[str] | None) -> list[Pair]:
    """Pairs of scheme and problem, the problems of one scheme after one another."""
    from . import quadratic, schemes

    tables = dict.fromkeys(PROBLEMS, schemes.SCHEMES) | {QUADRATIC: quadratic.SCHEMES}
    names = list(only or dict.fromkeys([*schemes.SCHEMES, *quadratic.SCHEMES]))
    return [(name, problem) for name in names for problem in problems if name in tables[problem]]


def planned(
    stage: str, rates_of: dict[Pair, Iterable[float]], budget: float, seeds: Iterable[int]
) -> list[Run]:
    """All seeds with all learning rates of each pair of scheme and problem."""
    return [
        Run(stage, problem, scheme, lr, seed, budget * PATIENCE.get(problem, 1.0))
        for seed in seeds
        for (scheme, problem), lrs in rates_of.items()
        for lr in lrs
    ]


def best_rate(records: Iterable[Record], scheme: str, problem: str) -> float:
    """The learning rate with the smallest mean validation error in tuning."""
    tried = [
        (sum(r["validation"]), r["run"]["lr"])
        for r in records
        if (r["run"]["stage"], r["run"]["problem"], r["run"]["scheme"]) == ("tune", problem, scheme)
    ]
    return min(tried)[1]


def _start() -> None:
    import torch

    torch.set_num_threads(1)  # one run is one thread of one process


def _work(run: Run) -> Record:
    from . import quadratic
    from .schemes import SCHEMES
    from .train import train

    if run.problem == QUADRATIC:
        found = quadratic.train(quadratic.SCHEMES[run.scheme], run.lr, run.seed)
    else:
        problem, scheme = PROBLEMS[run.problem](), SCHEMES[run.scheme]
        test = run.stage != "tune"
        found = train(problem, scheme, run.lr, run.seed, run.budget, test)
    return {"run": asdict(run), **found}


def execute(runs: Iterable[Run], path: Path, workers: int) -> None:
    """Do what the file lacks; each result is written as it comes."""
    done = [record["run"] for record in load(path)]
    missing = [run for run in runs if asdict(run) not in done]
    if not missing:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with (
        Progress() as bar,
        path.open("a", encoding="utf-8") as file,
        ProcessPoolExecutor(workers, context, _start) as pool,
    ):
        task = bar.add_task(missing[0].stage, total=len(missing))
        futures = [pool.submit(_work, run) for run in missing]
        try:
            for future in as_completed(futures):
                record = future.result()
                file.write(json.dumps(record) + "\n")
                file.flush()
                errors = record["test"] or record["validation"]
                label = " ".join(f"{error:.3g}" for error in errors)
                run = Run(**record["run"])
                what = f"{run.problem}, {run.scheme}, lr {run.lr:g}, seed {run.seed}"
                bar.console.print(f"{what}: {label}", highlight=False)
                bar.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def main() -> None:
    """Tune, then train."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study.run", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds a run")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--problems", nargs="+", choices=ALL_PROBLEMS, default=ALL_PROBLEMS)
    parser.add_argument("--schemes", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--lr", type=float, help="instead of tuning; shown apart in the report")
    options = parser.parse_args()
    pairs = entries(options.problems, options.schemes)
    if not pairs:
        parser.error("no scheme of that name; the names are in schemes.py and quadratic.py")
    stage, chosen = OTHER_RATE, {pair: [options.lr] for pair in pairs}
    if options.lr is None:
        # every learning rate once, on a seed that is not used again, in half the time
        tried = planned("tune", {p: rates(*p) for p in pairs}, options.budget / 2, [TUNING_SEED])
        execute(tried, options.out, options.workers)
        records = load(options.out)
        stage, chosen = "final", {pair: [best_rate(records, *pair)] for pair in pairs}
    runs = planned(stage, chosen, options.budget, range(options.seeds))
    execute(runs, options.out, options.workers)


if __name__ == "__main__":
    main()
