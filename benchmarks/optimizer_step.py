"""How long a step of the optimizers takes, beside AdamW and the gradient hooks of scrapl-loss.

python -m benchmarks.optimizer_step [--quick]

All paths were visited before; every step visits another one. scrapl-loss has a process of its own,
in its own environment; the contenders take turns all the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

from .environment import here, in_words
from .peers import add_options, find_python
from .plan import FULL, QUICK
from .process import NotMeasuredError, Workers
from .store import write_report
from .tables import table
from .view import spread

RESULTS = Path(__file__).parent / "results"
ADAMW = "torch AdamW, foreach"
HOOK = "scrapl-loss, P-Adam + P-SAGA hook"
STEPS = 4  # counted in a turn, after one that is not: caches belong to who ran before
PAUSE_SECONDS = 0.02  # the threads of the other process spin on for a moment
# The encoder of the paper: five convolutions, a dense layer, two heads; 604 k weights.
CHANNELS = {"full": 128, "quick": 16}

Step = Callable[[int], None]


def parameter_shapes(channels: int) -> list[tuple[int, ...]]:
    """Shapes of the encoder's parameters, by the width of its convolutions."""
    shapes: list[tuple[int, ...]] = [(channels, 1, 3, 3), (channels,), (channels,)]
    for _ in range(4):
        shapes += [(channels, channels, 3, 3), (channels,), (channels,)]
    return [*shapes, (64, channels), (64,), (64,), (32, 64), (32,), (32,), (1, 32), (1,)]


def parameters(channels: int) -> list[Any]:
    """Parameters with gradients as small as those of the paper's loss."""
    import torch

    generator = torch.Generator().manual_seed(0)
    made = []
    for shape in parameter_shapes(channels):
        parameter = torch.nn.Parameter(torch.randn(shape, generator=generator))
        parameter.grad = 1e-8 * torch.randn(shape, generator=generator)
        made.append(parameter)
    return made


def steps(channels: int, n_paths: int) -> dict[str, Step]:
    """One step at a path, for all that run in this process."""
    import torch

    from multipath import StochasticLoss
    from multipath.optim import PSAGA, PAdam
    from multipath.testing import QuadraticLoss

    def ours(kind: type[PAdam] | type[PSAGA], **options: Any) -> Step:
        criterion = StochasticLoss(QuadraticLoss(n_paths), generator=0)
        optimizer = kind(parameters(channels), criterion, weight_decay=0.01, **options)

        def step(path: int) -> None:
            criterion._pending = criterion.make_draw([path])
            optimizer.step()

        return step

    adamw = torch.optim.AdamW(parameters(channels), foreach=True)
    return {
        ADAMW: lambda path: adamw.step(),
        "PAdam": ours(PAdam),
        "PSAGA": ours(PSAGA),
        "PSAGA, bfloat16": ours(PSAGA, state_dtype=torch.bfloat16),
        "PSAGA, adaptive=False": ours(PSAGA, adaptive=False),
    }


@cache
def peer(plan: str) -> tuple[Step, int]:
    """In the peers' process, a warm step of the reference and its P.

    Its hook sees every gradient, then SGD applies them.
    """
    import torch

    from .subjects import scrapl_loss

    loss = scrapl_loss(**(QUICK if plan == "quick" else FULL).settings)
    made = parameters(CHANNELS[plan])
    loss.grad_mult = 1.0  # it would multiply the gradients below again at every step
    loss.attach_params(made)
    gradients = [parameter.grad.clone() for parameter in made]
    sgd = torch.optim.SGD(made, lr=1e-3, weight_decay=0.01, foreach=True)

    @torch.no_grad()
    def step(path: int) -> None:
        loss.curr_path_idx = path
        for index, (parameter, gradient) in enumerate(zip(made, gradients, strict=True)):
            parameter.grad = loss.grad_hook(gradient, index)
        loss.path_counts[path] += 1
        loss.scrapl_t += 1
        sgd.step()

    for path in range(loss.n_paths):
        step(path)
    return step, int(loss.n_paths)


def peer_paths(plan: str) -> int:
    """P of the reference, which is ready then."""
    return peer(plan)[1]


def peer_turn(plan: str, path: int) -> float:
    """Seconds of a step of the reference."""
    step, n_paths = peer(plan)
    return turn(step, path, n_paths)


def turn(step: Step, path: int, n_paths: int) -> float:
    """Seconds of a step: the mean of a few, at another path each."""
    step(path)
    start = time.perf_counter()
    for number in range(1, STEPS + 1):
        step((path + number) % n_paths)
    return (time.perf_counter() - start) / STEPS


def measure(
    plan: str, turns: int, n_paths: int, peer: Callable[..., float] | None
) -> dict[str, list[float]]:
    """Seconds of every turn, by contender; another contender begins each time."""
    contenders = steps(CHANNELS[plan], n_paths)
    for path in range(n_paths):
        for step in contenders.values():
            step(path)
    turns_of = {name: partial(turn, step, n_paths=n_paths) for name, step in contenders.items()}
    if peer:
        turns_of[HOOK] = peer
    seconds: dict[str, list[float]] = {name: [] for name in turns_of}
    order = [*turns_of]
    for number in range(turns):
        first = number % len(order)
        for name in order[first:] + order[:first]:
            time.sleep(PAUSE_SECONDS)
            seconds[name].append(turns_of[name](path=97 * number % n_paths))
    return seconds


def ratio_of(seconds: dict[str, list[float]], name: str, other: str) -> str:
    """Median over the turns of the ratio within a turn."""
    if other not in seconds:
        return ""
    return f"{median(a / b for a, b in zip(seconds[name], seconds[other], strict=True)):.2f}"


def as_markdown(report: dict[str, Any]) -> str:
    """The ratio table with its environment."""
    facts, seconds = report["facts"], report["seconds"]
    rows = []
    for name, samples in seconds.items():
        s = spread([1e3 * sample for sample in samples])
        ratios = [ratio_of(seconds, name, ADAMW), ratio_of(seconds, name, HOOK)]
        rows.append([name, f"{s.median:.2f}", f"{s.low:.2f}-{s.high:.2f}", *ratios])
    text = (
        f"# Optimizer step\n\n{facts['weights']} weights in {facts['tensors']} tensors, "
        f"{facts['paths']} paths, all visited before; {facts['threads']} thread(s). "
        f"{in_words(report['environment'])}. Medians and quartiles of {facts['turns']} turns; "
        "ratios are medians of ratios within a turn.\n\n"
        + table(["", "ms", "quartiles", "/ AdamW foreach", "/ scrapl-loss"], rows)
    )
    if "peers" in report:
        text += f"\nscrapl-loss was not measured: {report['peers']}\n"
    return text


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small encoder and few paths")
    parser.add_argument("--turns", type=int, help="default: 60, 10 with --quick")
    parser.add_argument("--threads", type=int, default=1)
    add_options(parser)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    plan = "quick" if options.quick else "full"
    report: dict[str, Any] = {"environment": here()}
    peer, n_paths = None, {"full": 315, "quick": 28}[plan]
    turns = options.turns or (10 if options.quick else 60)
    with Workers(find_python(options, print), options.threads) as workers:
        try:
            n_paths = workers.ask("peers", "optimizer_step:peer_paths", plan=plan)
            peer = partial(workers.ask, "peers", "optimizer_step:peer_turn", plan=plan)
        except NotMeasuredError as error:
            report["peers"] = str(error)
        report["seconds"] = measure(plan, turns, n_paths, peer)
    shapes = [p.numel() for p in parameters(CHANNELS[plan])]
    counts = {"weights": sum(shapes), "tensors": len(shapes), "paths": n_paths, "turns": turns}
    report["facts"] = counts | {"threads": options.threads, "steps_a_turn": STEPS}
    name = "optimizer_step_quick" if options.quick else "optimizer_step"
    write_report(options.out, name, report, as_markdown(report))


if __name__ == "__main__":
    main()
