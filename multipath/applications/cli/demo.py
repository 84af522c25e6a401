"""``make demo``: the same sound matching task with four losses, compared on three seeds.

Run it as ``python -m multipath.applications.cli.demo``; it takes a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.objectives import LOSSES
from multipath.applications.matching.presets import preset
from multipath.applications.runs.files import read_numbers, write_figure, write_json

from .console import error_text, make_progress_bar

DEMO_LOSSES = ("mss-log", "scrapl", "kpaths", "ploss")
SLOWEST_FIRST = ("kpaths", "scrapl", "mss-log", "ploss")  # packs the two workers evenly
COLORS = {"mss-log": "#b0602c", "scrapl": "#2c6fb0", "kpaths": "#0b6e6e", "ploss": "#888888"}
WORKERS = 2

Summaries = dict[str, list[dict[str, Any]]]
"""For each loss, the summaries of its runs in the order of the seeds."""


@dataclass(frozen=True)
class Row:
    """One line of the table: errors in per mille, one for each seed, and ms per step."""

    name: str
    description: str
    errors: list[float]
    am: float | None
    fm: float | None
    milliseconds: float | None

    @property
    def mean(self) -> float:
        """Mean error over the seeds."""
        return statistics.fmean(self.errors)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print the table, write the report.

    Args:
        arguments: Command line, default that of the process.
    """
    parser = argparse.ArgumentParser(prog="multipath.applications.cli.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="replaced if it exists")
    parser.add_argument("--steps", type=int, default=None, help="default: the quick preset's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(arguments)
    started = perf_counter()
    summaries = train_all(options.out, options.steps, options.seeds)
    seconds = perf_counter() - started
    rows = make_rows(summaries)
    Console().print(make_table(rows, options.seeds))
    for row in rows:
        print(f"  {row.name:10} {row.description}")
    print(describe_margin(rows))
    page = write_demo_report(options.out, summaries, rows, options.seeds, seconds)
    print(f"{seconds:.0f} s in all; report: {page}")


def train_all(folder: Path, steps: int | None, seeds: Sequence[int]) -> Summaries:
    """Run every loss with every seed, a few processes at a time, and show how far they are."""
    configs = {
        (loss, seed): preset("quick", loss=loss, seed=seed, steps=steps)
        for loss in SLOWEST_FIRST
        for seed in seeds
    }
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    with (
        ProcessPoolExecutor(WORKERS, context, _start_worker, (messages,)) as pool,
        make_progress_bar() as bar,
    ):
        futures = {
            key: pool.submit(_train, key, config, folder / f"{key[0]}-{key[1]}")
            for key, config in configs.items()
        }
        total = sum(config.training.steps for config in configs.values())
        overall = bar.add_task("all runs", total=total, error="")
        tasks = {
            key: bar.add_task(
                f"{key[0]}, seed {key[1]}", total=config.training.steps, error="", visible=False
            )
            for key, config in configs.items()
        }
        done = dict.fromkeys(configs, 0)
        try:
            while not all(future.done() for future in futures.values()):
                _raise_failure(futures.values())
                try:
                    key, step, error = messages.get(timeout=0.2)
                except queue.Empty:
                    continue
                done[key] = step
                finished = step >= configs[key].training.steps
                bar.update(
                    tasks[key], completed=step, error=error_text(error), visible=not finished
                )
                bar.update(overall, completed=sum(done.values()))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        results = {key: future.result() for key, future in futures.items()}
    return {loss: [results[loss, seed] for seed in seeds] for loss in DEMO_LOSSES}


_messages: Any = None  # the queue of a worker process


def _start_worker(messages: Any) -> None:
    import torch

    global _messages
    _messages = messages
    torch.set_num_threads(1)  # in the worker, where one run is one process


def _train(key: tuple[str, int], config: MatchConfig, folder: Path) -> dict[str, Any]:
    from multipath.applications.matching.train import run

    def report(step: int, error: float | None) -> None:
        if step % 5 == 0 or step == config.training.steps:
            _messages.put((key, step, error))

    return run(config, folder, overwrite=True, progress=report, checkpoints=False)


def _raise_failure(futures: Any) -> None:
    for future in futures:
        if isinstance(future, Future) and future.done():
            future.result()


def make_rows(summaries: Summaries) -> list[Row]:
    """The untrained encoder, then the losses, worst first."""
    first = next(iter(summaries.values()))
    untrained = Row(
        "untrained",
        "the encoder before training",
        [summary["untrained_error"]["theta"] for summary in first],
        statistics.fmean(summary["untrained_error"]["AM"] for summary in first),
        statistics.fmean(summary["untrained_error"]["FM"] for summary in first),
        None,
    )
    rows = [
        Row(
            loss,
            LOSSES[loss].description,
            [summary["theta_error"]["theta"] for summary in runs],
            statistics.fmean(summary["theta_error"]["AM"] for summary in runs),
            statistics.fmean(summary["theta_error"]["FM"] for summary in runs),
            1000 * statistics.median(summary["seconds_per_step"] for summary in runs),
        )
        for loss, runs in summaries.items()
    ]
    return [untrained, *rows]


def make_table(rows: Sequence[Row], seeds: Sequence[int]) -> Table:
    """The table that the terminal shows."""
    table = Table(title="theta error on the test set, per mille (lower is better)")
    table.add_column("loss")
    for heading in ("mean", *(f"seed {seed}" for seed in seeds), "AM", "FM", "ms/step"):
        table.add_column(heading, justify="right")
    for row in rows:
        numbers = [row.mean, *row.errors, row.am, row.fm, row.milliseconds]
        cells = ["" if number is None else f"{number:.0f}" for number in numbers]
        table.add_row(row.name, *cells)
    return table


def describe_margin(rows: Sequence[Row]) -> str:
    """How far SCRAPL ends below the spectral loss and below no training, seed by seed."""
    by_name = {row.name: row for row in rows}
    scrapl, mss, untrained = by_name["scrapl"], by_name["mss-log"], by_name["untrained"]
    shares = [
        f"{max(own / other for own, other in zip(scrapl.errors, row.errors, strict=True)):.2f}"
        for row in (mss, untrained)
    ]
    return (
        f"On every seed, SCRAPL's error is at most {shares[0]} times that of the multi-scale "
        f"spectral loss, and {shares[1]} times the untrained encoder's."
    )


def write_demo_report(
    folder: Path,
    summaries: Summaries,
    rows: Sequence[Row],
    seeds: Sequence[int],
    seconds: float,
) -> Path:
    """Write ``summary.json``, a plot of all runs, and the page that joins their reports."""
    from multipath.applications.matching.plots import plot_convergence
    from multipath.applications.runs.html import render_page

    write_json(folder / "summary.json", summaries)
    curves: dict[str, Sequence[Mapping[str, float]]] = {
        f"{loss}/{seed}": read_numbers(folder / f"{loss}-{seed}" / "metrics.csv")
        for loss in summaries
        for seed in seeds
    }
    figure = plot_convergence(curves, untrained=rows[0].mean, colors=COLORS)
    write_figure(folder / "convergence.png", figure)
    first = next(iter(summaries.values()))[0]
    unsupervised = [row for row in rows[1:] if row.name != "ploss"]
    return render_page(
        folder / "report.html",
        "demo.html.jinja",
        rows=rows,
        best=min(unsupervised, key=lambda row: row.mean).name,
        seeds=list(seeds),
        margin=describe_margin(rows),
        seconds=seconds,
        config=preset("quick", steps=first["steps"]).to_dict(),
        environment=first["environment"],
    )


if __name__ == "__main__":
    main()
