"""Run the study: tune each scheme's learning rate, then train it on five seeds in equal time.

python -m benchmarks.study.run

Every run that is done is a line of ``benchmarks/results/study.jsonl``; started again, it goes on
with what is missing. ``python -m benchmarks.study.report`` makes tables and plots of the file.

Where the speed of the machine varies, a second of the processor's time is no measure. With
``--as SCHEME``, the others get as many steps as take the time that the runs of that one had, which
are in the file already: what they cost is compared in turns, in one process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from multipath.errors import InputError

from .problems import PROBLEMS

RESULTS = Path(__file__).parent.parent / "results" / "study.jsonl"
QUADRATIC = "quadratic"
ALL_PROBLEMS = (QUADRATIC, *PROBLEMS)
TUNING_SEED = 1000
OTHER_RATE = "other rate"
"""Stage of runs at a learning rate given by hand, shown apart."""
COST = "cost"
"""Stage of measurements of what a scheme costs, relative to another."""
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
    steps: int | None = None
    relative_to: str | None = None


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
    stage: str,
    rates_of: dict[Pair, Iterable[float]],
    budget: float,
    seeds: Iterable[int],
    steps_of: Callable[[Pair, float], int | None] = lambda pair, budget: None,
) -> list[Run]:
    """All seeds with all learning rates of each pair of scheme and problem."""
    budgets = {pair: budget * PATIENCE.get(pair[1], 1.0) for pair in rates_of}
    steps = {pair: steps_of(pair, budgets[pair]) for pair in rates_of}
    return [
        Run(stage, problem, scheme, lr, seed, budgets[scheme, problem], steps[scheme, problem])
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


def allowance(records: Sequence[Record], pair: Pair, reference: str, budget: float) -> int:
    """Steps that a scheme can take in the time that another has had, the set-up included.

    Args:
        records: Runs of the other scheme on the problem, and what this one costs relative to it.
        pair: The scheme and the problem.
        reference: The other scheme.
        budget: Seconds, of those in which the other scheme was timed.

    Raises:
        InputError: If there are no timed runs of the other scheme, or the set-up takes it all.
    """
    scheme, problem = pair
    step = seconds_per_step(records, reference, problem)
    measured = {"scheme": scheme, "problem": problem, "relative_to": reference}
    cost = next(r for r in records if measured.items() <= r["run"].items())
    steps = round((budget / step - cost["setup"]) / cost["step"])
    if steps < 1:
        raise InputError(f"{budget:g} s are not enough to set up {scheme!r} on {problem}")
    return steps


def seconds_per_step(records: Iterable[Record], scheme: str, problem: str) -> float:
    """What a step took in the timed runs of a scheme, which had as many as fitted: the median.

    Raises:
        InputError: If there are none.
    """
    runs = [(Run(**r["run"]), r) for r in records]
    timed = [
        (run.budget - record["curve"][0][0]) / record["steps"]
        for run, record in runs
        if (run.stage, run.scheme, run.problem, run.steps) == ("final", scheme, problem, None)
    ]
    if not timed:
        raise InputError(f"the results have no timed runs of {scheme!r} on {problem}")
    return statistics.median(timed)


def _start() -> None:
    import torch

    torch.set_num_threads(1)  # one run is one thread of one process


def _work(run: Run) -> Record:
    from . import quadratic
    from .schemes import SCHEMES
    from .train import relative_cost, train

    if run.relative_to is not None:
        compared = SCHEMES[run.scheme], SCHEMES[run.relative_to]
        return {"run": asdict(run), **relative_cost(PROBLEMS[run.problem](), *compared)}
    if run.problem == QUADRATIC:
        found = quadratic.train(quadratic.SCHEMES[run.scheme], run.lr, run.seed)
    else:
        problem, scheme = PROBLEMS[run.problem](), SCHEMES[run.scheme]
        test = run.stage != "tune"
        found = train(problem, scheme, run.lr, run.seed, run.budget, test, run.steps)
    return {"run": asdict(run), **found}


def execute(runs: Iterable[Run], path: Path, workers: int) -> None:
    """Do what the file lacks; each result is written as it comes."""
    done = {_one(Run(**record["run"])) for record in load(path)}
    missing = [run for run in runs if _one(run) not in done]
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
                bar.console.print(_line(record), highlight=False)
                bar.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _one(run: Run) -> Run:
    """The run as it is known: a second one with a time instead of steps would count twice."""
    return replace(run, steps=None)


def _line(record: Record) -> str:
    run = Run(**record["run"])
    if run.relative_to is not None:
        costs = f"set-up {record['setup']:.2f}, step {record['step']:.2f}"
        return f"{run.problem}, {run.scheme} / {run.relative_to}: {costs}"
    errors = " ".join(f"{error:.3g}" for error in record["test"] or record["validation"])
    return f"{run.problem}, {run.scheme}, lr {run.lr:g}, seed {run.seed}: {errors}"


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
    parser.add_argument(
        "--as", dest="reference", metavar="SCHEME", help="steps that take the time of its runs"
    )
    options = parser.parse_args()
    pairs = entries(options.problems, options.schemes)
    if options.reference is not None:  # quadratic paths have a price and not a time
        pairs = [p for p in pairs if p[0] != options.reference and p[1] != QUADRATIC]
    if not pairs:
        parser.error("no scheme of that name; the names are in schemes.py and quadratic.py")
    try:
        _study(pairs, options)
    except InputError as error:
        parser.error(str(error))


def _study(pairs: Sequence[Pair], options: argparse.Namespace) -> None:
    out, workers, reference = options.out, options.workers, options.reference

    def steps_of(pair: Pair, budget: float) -> int | None:
        return None if reference is None else allowance(load(out), pair, reference, budget)

    if reference is not None:
        for _, problem in pairs:
            seconds_per_step(load(out), reference, problem)  # before anything is measured
        costs = [Run(COST, p, s, 0.0, 0, 0.0, None, reference) for s, p in pairs]
        execute(costs, out, 1)  # one alone, since they are timed
    stage, chosen = OTHER_RATE, {pair: [options.lr] for pair in pairs}
    if options.lr is None:
        # every learning rate once, on a seed that is not used again, in half the time
        both, half = {pair: rates(*pair) for pair in pairs}, options.budget / 2
        execute(planned("tune", both, half, [TUNING_SEED], steps_of), out, workers)
        records = load(out)
        stage, chosen = "final", {pair: [best_rate(records, *pair)] for pair in pairs}
    execute(planned(stage, chosen, options.budget, range(options.seeds), steps_of), out, workers)


if __name__ == "__main__":
    main()
