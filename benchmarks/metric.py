"""How long metrics of parameters take, beside reverse-mode Jacobians, and a step with the PNP loss.

python -m benchmarks.metric [--quick]

The metric is that of the chirplets of the ``quick`` preset of ``multipath match``. Reverse mode
differentiates the coefficients of one path at a time, as a block, in the faster of two ways: row by
row, or all rows at once under ``vmap``. It measures some paths, spread over the table, from which
all are extrapolated. Steps of both losses take turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from .environment import here, in_words
from .pareto import stepper
from .store import write_report
from .tables import table

if TYPE_CHECKING:
    from torch import Tensor

RESULTS = Path(__file__).parent / "results"
EXAMPLES = 16


def clock(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a call returns, and the seconds it took: of the clock, and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    found = call()
    return found, {
        "wall": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
    }


def reverse_block(values: Tensor, theta: Tensor, batched: bool) -> Tensor:
    """The Jacobian of the coefficients of a path in theta, shape (coefficients, U)."""
    import torch

    flat = values.flatten()
    if batched:
        rows = torch.eye(len(flat), dtype=flat.dtype)
        return torch.autograd.grad(flat, theta, rows, is_grads_batched=True)[0].flatten(1)
    found = [torch.autograd.grad(v, theta, retain_graph=True)[0].flatten() for v in flat]
    return torch.stack(found)


def measure_metrics(quick: bool) -> dict[str, Any]:
    """Seconds per example of both ways, and how far the metrics are apart."""
    import torch

    from multipath.applications.matching.objectives import scattering_loss
    from multipath.applications.matching.presets import preset
    from multipath.metric import parameter_metric

    task = preset("quick").task
    loss, synth = scattering_loss(task), task.build_synth()
    generator = torch.Generator().manual_seed(0)
    theta = torch.rand(EXAMPLES, 2, generator=generator)
    shift = task.draw_nuisance(EXAMPLES, generator)
    indices = torch.linspace(0, len(loss.paths) - 1, 2 if quick else 12).long().tolist()
    parameter_metric(loss, synth, theta[:2], context=shift[:2])  # filters are made once
    found, ours = clock(lambda: parameter_metric(loss, synth, theta, context=shift))
    parts = parameter_metric(loss, synth, theta[:1], indices, context=shift[:1])
    times: dict[str, list[dict[str, float]]] = {"row by row": [], "vmap": []}
    apart = 0.0
    for place, index in enumerate(indices):
        for name in times:

            def block(index: int = index, batched: bool = name == "vmap") -> Tensor:
                leaf = theta[:1].clone().requires_grad_()
                (values,) = loss.transform.coefficients(synth(leaf, shift[:1]), [index])
                return reverse_block(values, leaf, batched)

            try:
                jacobian, seconds = clock(block)
            except RuntimeError:  # vmap does not see through every gradient written by hand
                continue
            times[name].append(seconds)
            wanted = len(loss.paths) * jacobian.T @ jacobian
            apart = max(apart, float((parts[place, 0] - wanted).abs().max() / wanted.abs().max()))
    kept = {name: each for name, each in times.items() if len(each) == len(indices)}
    n_paths = len(loss.paths)
    reverse = {
        name: {c: n_paths * sum(t[c] for t in each) / len(each) for c in ("wall", "processor")}
        for name, each in kept.items()
    }
    return {
        "paths": n_paths,
        "examples": EXAMPLES,
        "coefficients": sum(c.numel() for c in loss.transform(synth(theta[:1]))),
        "measured_paths": len(indices),
        "ours": {name: seconds / EXAMPLES for name, seconds in ours.items()},
        "reverse": reverse,
        "apart": apart,
        "trace": float(found.diagonal(dim1=1, dim2=2).sum(dim=1).mean()),
    }


def measure_steps(quick: bool) -> dict[str, Any]:
    """Milliseconds of a training step with either loss, in turns."""
    from multipath.applications.matching.presets import preset

    steppers = {
        loss: stepper(preset("quick", loss=loss, n_targets=40)) for loss in ("ploss", "pnp")
    }
    times: dict[str, list[float]] = {loss: [] for loss in steppers}
    for number in range(10 if quick else 200):
        for loss, step in steppers.items():
            times[loss].append(clock(partial(step, number))[1]["processor"])
    found = {loss: 1000 * median(each[2:]) for loss, each in times.items()}
    return {**found, "ratio": found["pnp"] / found["ploss"], "steps": len(times["pnp"])}


def as_markdown(report: dict[str, Any]) -> str:
    """The report in tables."""
    metrics, steps = report["metrics"], report["steps"]
    ours = metrics["ours"]
    rows = [["", "s per example, clock", "s per example, processor", "ratio"]]
    rows.append(["jets", f"{ours['wall']:.3g}", f"{ours['processor']:.3g}", "1"])
    for name, each in metrics["reverse"].items():
        ratio = each["processor"] / ours["processor"]
        rows.append(
            [f"reverse, {name}", f"{each['wall']:.3g}", f"{each['processor']:.3g}", f"{ratio:.0f}"]
        )
    return "\n".join(
        [
            "# Metrics of parameters",
            "",
            f"1 thread(s). {in_words(report['environment'])}",
            "",
            f"Chirplets of the `quick` preset: {metrics['paths']} paths, "
            f"{metrics['coefficients']} coefficients, 2 parameters, float32. Jets: all paths of "
            f"{metrics['examples']} examples, checks included. Reverse mode: one example, "
            f"{metrics['measured_paths']} paths, extrapolated to all. The metrics of these paths "
            f"differ by {metrics['apart']:.1g} of the largest number at most. Ratios are of "
            "processor time.",
            "",
            table(rows[0], rows[1:]),
            f"A training step (rendering, encoder, loss, optimizer), median of {steps['steps']} in "
            f"turns, processor time: {steps['ploss']:.3g} ms with P-loss, {steps['pnp']:.3g} ms "
            f"with PNP, ratio {steps['ratio']:.3f}.",
            "",
        ]
    )


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few paths and steps")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    report = {
        "environment": here(),
        "metrics": measure_metrics(options.quick),
        "steps": measure_steps(options.quick),
    }
    name = "metric-quick" if options.quick else "metric"
    write_report(options.out, name, report, as_markdown(report))


if __name__ == "__main__":
    main()
