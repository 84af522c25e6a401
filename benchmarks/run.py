"""Time forward + backward of the losses; write a table and its environment to benchmarks/results.

python -m benchmarks.run --threads 1 --repeats 3
"""

import argparse
import json
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.utils.benchmark import Timer

import multipath
from multipath import StochasticLoss, TransformLoss
from multipath.transforms import JTFS, MultiResolutionSTFT

RESULTS = Path(__file__).parent / "results"

SETTINGS = {
    "small": {"n_samples": 4096, "J": 10, "Q": (8, 2), "J_fr": 3, "Q_fr": 2, "T": 1024, "F": 8},
    "granular": {"n_samples": 32768, "J": 12, "Q": (8, 2), "J_fr": 3, "Q_fr": 2, "T": 4096, "F": 8},
}


def make_losses(setting: str) -> dict[str, tuple[torch.nn.Module, int]]:
    """The losses to time, by name, with the steps to average: paths differ much in price."""
    full = TransformLoss(JTFS(**SETTINGS[setting]))
    return {
        "MRSTFT": (TransformLoss(MultiResolutionSTFT([512, 1024, 2048])), 4),
        "JTFS, 1 path": (StochasticLoss(full, n_draws=1, generator=0), 16),
        "JTFS, 8 paths": (StochasticLoss(full, n_draws=8, generator=0), 4),
        f"JTFS, all {len(full.paths)} paths": (full, 1),
    }


def step(criterion: torch.nn.Module, x: Tensor, target: Tensor) -> None:
    """Forward and backward down to the samples; a stochastic loss draws new paths each time."""
    x.grad = None
    criterion(x, target).backward()


def measure(run: Callable[[], None], steps: int) -> float:
    """Mean seconds of a step; torch's timer warms up with two more."""
    threads = torch.get_num_threads()
    return Timer("run()", globals={"run": run}, num_threads=threads).timeit(steps).mean


def environment(threads: int) -> dict[str, str | int]:
    """What the timings depend on."""
    cpu = platform.processor() or "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = models[0].split(":")[1].strip() if models else cpu
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "multipath": multipath.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": cpu,
        "threads": threads,
    }


def as_markdown(report: dict) -> str:
    """A table of the timings, with the environment under it."""
    lines = [
        f"Forward + backward, batch {report['batch']}, setting `{report['setting']}` "
        f"{SETTINGS[report['setting']]}, float32, {report['repeats']} interleaved repeats.",
        "",
        "| loss | median (ms) | least (ms) | most (ms) | ratio to MRSTFT |",
        "|---|---:|---:|---:|---:|",
    ]
    reference = median(report["seconds"]["MRSTFT"])
    for name, seconds in report["seconds"].items():
        middle = median(seconds)
        cells = [1e3 * middle, 1e3 * min(seconds), 1e3 * max(seconds)]
        numbers = " | ".join(f"{value:.1f}" for value in cells)
        lines.append(f"| {name} | {numbers} | {middle / reference:.1f} |")
    lines += ["", *(f"- {name}: {value}" for name, value in report["environment"].items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", choices=SETTINGS, default="small", help="size of the JTFS")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, SETTINGS[options.setting]["n_samples"])
    x = torch.randn(shape, generator=generator).requires_grad_()
    target = torch.randn(shape, generator=generator)
    losses = make_losses(options.setting)
    seconds: dict[str, list[float]] = {name: [] for name in losses}
    for repeat in range(options.repeats):
        for name, (criterion, steps) in losses.items():  # interleaved: a slow minute hits all alike
            run = partial(step, criterion, x, target)
            seconds[name].append(measure(run, steps))
        print(f"repeat {repeat + 1} of {options.repeats}", flush=True)

    report = {
        "setting": options.setting,
        "batch": options.batch,
        "repeats": options.repeats,
        "seconds": seconds,
        "environment": environment(options.threads),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    table = as_markdown(report)
    (options.out / f"{options.setting}.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / f"{options.setting}.md").write_text(table)
    print(f"\n{table}\nwritten to {options.out}")


if __name__ == "__main__":
    main()
