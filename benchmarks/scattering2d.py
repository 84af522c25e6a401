"""How long the scattering of images takes, beside kymatio.

python -m benchmarks.scattering2d --peers-python PYTHON [--older CHECKOUT] [--quick]

PYTHON is an interpreter that has kymatio 0.3.0 and what this project needs: the script runs in it,
so that both sides share one process, one torch and one number of threads. They take turns; medians
of forward alone and of forward and backward, float32, white noise, L = 8.

With ``--older``, a checkout of another state of this project is measured first, in a process of its
own that takes turns with one of the present state: processor time of forward and backward.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from .process import ROOT, Worker
from .tables import table


class Case(NamedTuple):
    """A setting: batch, side of the square images, J."""

    batch: int
    side: int
    J: int


FULL = [Case(1, 32, 2), Case(64, 32, 3), Case(4, 128, 3), Case(4, 128, 4), Case(2, 256, 3)]
QUICK = [Case(1, 32, 2), Case(2, 64, 3)]
BESIDE_OLDER, QUICK_BESIDE_OLDER = [Case(1, 256, 5), Case(4, 256, 5)], [Case(1, 32, 2)]
PATHS = 8  # drawn for the column of a stochastic step


def steps(case: Case) -> dict[str, Callable[[bool], None]]:
    """One evaluation of each contender, with gradient or without."""
    import torch
    from kymatio.scattering2d.frontend.torch_frontend import ScatteringTorch2D

    from multipath.transforms import Scattering2D

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(case.batch, case.side, case.side, generator=generator)
    shape = (case.side, case.side)
    ours, theirs = Scattering2D(shape, case.J), ScatteringTorch2D(J=case.J, shape=shape)
    every = range(len(ours.paths))
    some = torch.randperm(len(ours.paths), generator=generator)[:PATHS].tolist()

    def step(transform: Callable[[Any], Any]) -> Callable[[bool], None]:
        def evaluate(backward: bool) -> None:
            with torch.set_grad_enabled(backward):
                value = transform(images.clone().requires_grad_(backward))
                if backward:
                    value.square().sum().backward()

        return evaluate

    return {
        "multipath": step(lambda x: torch.stack(ours.coefficients(x, every))),
        f"multipath, {PATHS} paths": step(lambda x: torch.stack(ours.coefficients(x, some))),
        "kymatio": step(theirs),
    }


def in_turns(
    contenders: Mapping[str, Callable[[bool], None]], backward: bool, repeats: int
) -> dict[str, float]:
    """Median milliseconds of each contender, in turns after one that does not count."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, step in contenders.items():
            start = time.perf_counter()
            step(backward)
            if repeat:
                samples[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in samples.items()}


_steps: dict[Any, Callable[[bool], None]] = {}  # of a worker


def processor_seconds(checkout: str, case: Case, n_paths: int | None, **settings: Any) -> float:
    """Inside a worker: processor time of forward and backward, in the state of a checkout.

    Args:
        checkout: Folder in which ``multipath`` lies.
        case: What to measure.
        n_paths: So many random paths, None for all.
        **settings: More of ``Scattering2D``.
    """
    if not _steps:
        sys.path.insert(0, checkout)
    import torch

    import multipath
    from multipath.transforms import Scattering2D

    if not str(multipath.__file__).startswith(checkout):
        raise ImportError(f"there is no multipath in {checkout}")
    key = case, n_paths, *settings.items()
    if key not in _steps:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(case.batch, case.side, case.side, generator=generator)
        transform = Scattering2D((case.side, case.side), case.J, **settings)
        count = len(transform.paths)
        order = torch.randperm(count, generator=generator).tolist()
        indices = range(count) if n_paths is None else order[:n_paths]

        def step(backward: bool) -> None:
            leaf = images.clone().requires_grad_()
            torch.stack(transform.coefficients(leaf, indices)).square().sum().backward()

        step(True)
        _steps[key] = step
    start = time.process_time()
    _steps[key](True)
    return time.process_time() - start


def beside_older(checkout: Path, cases: list[Case], repeats: int, threads: int) -> str:
    """Milliseconds of an older state, of this one, and of this one with means on a torus."""
    on_torus = {"border": "periodic", "T": "global"}
    rows = []
    with (
        closing(Worker(sys.executable, threads)) as older,
        closing(Worker(sys.executable, threads)) as present,
    ):
        for case in cases:
            for n_paths in (None, PATHS):
                turns = (older, checkout, {}), (present, ROOT, {}), (present, ROOT, on_torus)
                samples: list[list[float]] = [[], [], []]
                for _ in range(repeats):
                    for found, (worker, folder, settings) in zip(samples, turns, strict=True):
                        asked = {"checkout": str(folder), "case": case, "n_paths": n_paths}
                        function = "scattering2d:processor_seconds"
                        found.append(1000 * worker.ask(function, **asked, **settings))
                before, now, torus = map(statistics.median, samples)
                images = f"{case.batch} of {case.side}x{case.side}, J={case.J}"
                what = "all paths" if n_paths is None else f"{n_paths} paths"
                ratios = f"{before / now:.2f}x", f"{before / torus:.2f}x"
                times = f"{before:.1f} ms", f"{now:.1f} ms", ratios[0], f"{torus:.1f} ms", ratios[1]
                rows.append([images, what, *times])
                print(*rows[-1], sep=", ", file=sys.stderr, flush=True)
    head = "images", "step", "older", "now", "faster", "now, periodic, means", "faster"
    return table(head, rows, words=(0, 1))


def measured(cases: list[Case], repeats: int) -> str:
    """Milliseconds in Markdown, and how many times faster the whole transform is."""
    ours, _, peer = contenders = "multipath", f"multipath, {PATHS} paths", "kymatio"
    rows = []
    for case in cases:
        images = f"{case.batch} of {case.side}x{case.side}"
        for backward in (False, True):
            found = in_turns(steps(case), backward, repeats)
            times = [f"{found[name]:.1f} ms" for name in contenders]
            step = "with gradient" if backward else "forward"
            rows.append([images, str(case.J), step, *times, f"{found[peer] / found[ours]:.2f}x"])
            print(*rows[-1], sep=", ", file=sys.stderr, flush=True)
    return table(["images", "J", "step", *contenders, "faster"], rows, words=(0, 2))


def run(
    name: str,
    description: str | None,
    measured: Callable[[bool, int], str],
    beside_older: Callable[[Path, bool, int, int], str] | None = None,
) -> None:
    """Parse, go over to the interpreter that has the peer, measure, print.

    Args:
        name: Of the script.
        description: Its first line says what it does.
        measured: From whether to be quick and the number of repetitions to what is printed.
        beside_older: The same from a checkout, that, and the number of threads, if there is more to
            print.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--peers-python", help="an interpreter with kymatio; default this one")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    if beside_older:
        parser.add_argument(
            "--older", type=Path, help="a checkout of another state to compare with"
        )
    options = parser.parse_args()
    if beside_older and options.older:
        older, threads = options.older.resolve(), options.threads
        print(beside_older(older, options.quick, options.repeats, threads), flush=True)
    if options.peers_python:
        rest = ["--threads", str(options.threads), "--repeats", str(options.repeats)]
        quick = ["--quick"] if options.quick else []
        os.chdir(ROOT)
        python = options.peers_python
        os.execv(python, [python, "-m", f"benchmarks.{name}", *rest, *quick])
    import torch

    torch.set_num_threads(options.threads)
    try:
        print(measured(options.quick, options.repeats))
    except ImportError as error:
        parser.exit(2, f"kymatio is needed, in an interpreter given by --peers-python: {error}\n")


def main() -> None:
    """Measure images of small sizes, or of all."""
    run(
        "scattering2d",
        __doc__,
        lambda quick, n: measured(QUICK if quick else FULL, n),
        lambda older, quick, n, threads: beside_older(
            older, QUICK_BESIDE_OLDER if quick else BESIDE_OLDER, n, threads
        ),
    )


if __name__ == "__main__":
    main()
