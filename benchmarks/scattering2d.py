"""How long the scattering of images takes, beside kymatio.

python -m benchmarks.scattering2d --peers-python PYTHON [--quick]

PYTHON is an interpreter that has kymatio 0.3.0 and what this project needs: the script runs in it,
so that both sides share one process, one torch and one number of threads. They take turns; medians
of forward alone and of forward and backward, float32, white noise, L = 8.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .process import ROOT
from .tables import table


class Case(NamedTuple):
    """A setting: batch, side of the square images, J."""

    batch: int
    side: int
    J: int


FULL = [Case(1, 32, 2), Case(64, 32, 3), Case(4, 128, 3), Case(4, 128, 4), Case(2, 256, 3)]
QUICK = [Case(1, 32, 2), Case(2, 64, 3)]
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


def run(name: str, description: str | None, measured: Callable[[bool, int], str]) -> None:
    """Parse, go over to the interpreter that has the peer, measure, print.

    Args:
        name: Of the script.
        description: Its first line says what it does.
        measured: From whether to be quick and the number of repetitions to what is printed.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--peers-python", help="an interpreter with kymatio; default this one")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
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
    run("scattering2d", __doc__, lambda quick, n: measured(QUICK if quick else FULL, n))


if __name__ == "__main__":
    main()
