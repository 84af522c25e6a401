"""How long kymatio's classes take, and those that take their place.

python -m benchmarks.dropins --peers-python PYTHON [--quick]

PYTHON is an interpreter that has kymatio 0.4 (its development version) and what this project needs:
the script runs in it, so that both sides share one process, one torch and one number of threads.
They take turns; medians of forward alone and of forward and backward, float32, white noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .scattering2d import in_turns, run
from .tables import table


class Case(NamedTuple):
    """A class, constructor arguments and the shape of the batch."""

    kind: str
    settings: dict[str, Any]
    shape: tuple[int, ...]


FULL = [
    Case("Scattering1D", {"J": 8, "shape": 2**13, "Q": 8}, (4, 2**13)),
    Case("Scattering1D", {"J": 12, "shape": 2**16, "Q": (8, 1)}, (1, 2**16)),
    Case("Scattering1D", {"J": 8, "shape": 2**13, "Q": 8, "T": "global"}, (4, 2**13)),
    Case("TimeFrequencyScattering", {"J": 9, "J_fr": 3, "Q": 8, "shape": 2**13}, (2, 2**13)),
    Case("Scattering2D", {"J": 3, "shape": (64, 64)}, (8, 64, 64)),
]
QUICK = [Case("Scattering1D", {"J": 5, "shape": 512, "Q": 2}, (2, 512))]


def steps(case: Case) -> dict[str, Callable[[bool], None]]:
    """One evaluation of each contender, with gradient or without."""
    import kymatio.torch
    import torch

    import multipath.compat.kymatio.torch

    signals = torch.randn(case.shape, generator=torch.Generator().manual_seed(0))

    def step(module: Any) -> Callable[[bool], None]:
        scattering = getattr(module, case.kind)(**case.settings)

        def evaluate(backward: bool) -> None:
            with torch.set_grad_enabled(backward):
                value = scattering(signals.clone().requires_grad_(backward))
                if backward:
                    value.square().sum().backward()

        return evaluate

    return {"multipath": step(multipath.compat.kymatio.torch), "kymatio": step(kymatio.torch)}


def measured(cases: list[Case], repeats: int) -> str:
    """Milliseconds in Markdown, and how many times faster the drop-in is."""
    rows = []
    for case in cases:
        settings = ", ".join(f"{name}={value}" for name, value in case.settings.items())
        for backward in (False, True):
            found = in_turns(steps(case), backward, repeats)
            ours, theirs = found["multipath"], found["kymatio"]
            step = "with gradient" if backward else "forward"
            times = [f"{ours:.1f} ms", f"{theirs:.1f} ms", f"{theirs / ours:.1f}x"]
            rows.append([case.kind, settings, str(case.shape[0]), step, *times])
    columns = ["class", "settings", "batch", "step", "multipath", "kymatio", "faster"]
    return table(columns, rows, words=(0, 1, 3))


def main() -> None:
    """Parse, go over to the interpreter that has the peer, measure, print."""
    run("dropins", __doc__, lambda quick, repeats: measured(QUICK if quick else FULL, repeats))


if __name__ == "__main__":
    main()
