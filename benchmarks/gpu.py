"""What one prepared run on a GPU measures, within minutes: is it right, is it fast, does it wait?

python -m benchmarks.gpu [--device cuda|cpu] [--seconds 420] [--out benchmarks/results/gpu.md]

In this order: values and gradients beside those of the CPU; milliseconds of a step; how often a
step waits for the device; its memory; its kernel launches; then granular sound matching at the
scale of the paper for as many steps as fit. The table is written anew after every row, so that a
run that is cut short leaves what it has. A peer that cannot be imported is left out, which the
table says. Needs nothing but torch and what multipath itself imports, from a checkout on the path.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from multipath import StochasticLoss, TransformLoss
from multipath.applications.matching.cqt import LogCQT
from multipath.applications.matching.encoder import Encoder
from multipath.applications.matching.objectives import LossContext, find_objective
from multipath.applications.matching.settings import ObjectiveSettings
from multipath.applications.matching.tasks.data import Batches
from multipath.applications.matching.tasks.granular import GranularTask
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    Transform,
    WaveletPacket,
    WaveletTransform,
)

from .environment import processor
from .tables import number, table

TOLERANCES = {  # of values and gradients, relative to the largest of the reference
    torch.float64: (1e-11, 1e-9),
    torch.float32: (1e-4, 1e-2),  # a modulus near zero turns its direction by rounding alone
}
MOST_REPEATS, WARM_UP = 30, 3
STEPS_WATCHED = 3
Step = Callable[[], Any]


class Scale(NamedTuple):
    """How large the measurements are."""

    jtfs: dict[str, Any]
    batches: tuple[int, ...]
    preset: str
    seconds_per_row: float


PAPER = Scale(
    {"n_samples": 32768, "J": 12, "Q": (8, 2), "J_fr": 3, "Q_fr": 2, "T": 4096, "F": 8},
    (4, 32),
    "paper",
    5.0,
)
QUICK = Scale(
    {"n_samples": 4096, "J": 6, "Q": (4, 1), "J_fr": 2, "Q_fr": 1, "T": 128, "F": 4},
    (2,),
    "quick",
    0.05,
)


class Report:
    """Sections of a Markdown file, which is written anew whenever something is added."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path = path
        self.lines = [f"# One run on {machine(device)}", ""]
        self._head: Sequence[str] = ()
        self._rows: list[list[str]] = []

    def section(self, title: str, *head: str) -> None:
        """Begin a section, with the header of its table."""
        self._close()
        self.lines += [f"## {title}", ""]
        self._head = head
        print(f"== {title}", file=sys.stderr, flush=True)

    def row(self, *cells: str) -> None:
        """Add a row to the table of the section."""
        self._rows.append(list(cells))
        print("  ", *cells, sep="  ", file=sys.stderr, flush=True)
        self._write()

    def note(self, text: str) -> None:
        """Add a sentence below the table."""
        self._close()
        self.lines += [text, ""]
        print("  ", text, file=sys.stderr, flush=True)
        self._write()

    def _close(self) -> None:
        if self._rows:
            self.lines += [table(self._head, self._rows)]
        self._head, self._rows = (), []

    def _write(self) -> None:
        lines = [*self.lines, *([table(self._head, self._rows)] if self._rows else [])]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text("\n".join(lines), encoding="utf-8")
        os.replace(partial, self.path)


def machine(device: torch.device) -> str:
    """Device, processor and versions."""
    name = processor()
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        name = f"{torch.cuda.get_device_name(device)} ({memory:.0f} GiB), beside {name}"
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    return f"{name}; {versions}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"


def transforms() -> dict[str, tuple[Callable[[], Transform], tuple[int, ...]]]:
    """All transforms and the shapes of their signals, small enough for a CPU in float64."""
    jtfs = {"n_samples": 4096, "J": 8, "Q": (8, 1), "J_fr": 2, "Q_fr": 1, "T": 512, "F": 4}
    return {
        "JTFS": (lambda: JTFS(**jtfs), (4096,)),
        "JTFS, reduced": (lambda: JTFS(**jtfs, sampling="reduced"), (4096,)),
        "JTFS, moduli": (
            lambda: JTFS(1024, 5, (4, 1), 1, 1, T="none", F="none", orders=(0, 1, 2)),
            (1024,),
        ),
        "Scattering1D": (lambda: Scattering1D(4096, J=8, T=512), (4096,)),
        "Scattering1D, means": (
            lambda: Scattering1D(4096, J=8, T="global", border="periodic"),
            (4096,),
        ),
        "Scattering2D": (lambda: Scattering2D((64, 48), J=3), (64, 48)),
        "Scattering2D, means": (
            lambda: Scattering2D((64, 48), J=3, border="periodic", T="global"),
            (64, 48),
        ),
        "MultiResolutionSTFT": (MultiResolutionSTFT, (8192,)),
        "WaveletTransform": (lambda: WaveletTransform("db4", level=5), (4096,)),
        "WaveletPacket": (lambda: WaveletPacket("sym5", level=4), (4096,)),
    }


def values_and_gradient(transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    """All coefficients of signals in one row, and the gradient of their mean square, on the CPU."""
    x = x.clone().requires_grad_()
    values = torch.cat([path.flatten() for path in transform(x)])
    values.square().mean().backward()
    assert x.grad is not None
    return values.detach().cpu().double(), x.grad.cpu().double()


def parity(device: torch.device, scale: Scale, report: Report) -> None:
    """Every transform on the device beside the CPU in float64."""
    head = [
        f"{what}, {dtype}" for dtype in ("float64", "float32") for what in ("values", "gradient")
    ]
    report.section("Values and gradients beside the CPU in float64", "", *head, "")
    for name, (make, shape) in transforms().items():
        x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        expected = values_and_gradient(make(), x)
        transform, cells, right = make().to(device), [], True
        for dtype, tolerances in TOLERANCES.items():
            found = values_and_gradient(transform, x.to(device, dtype))
            for a, b, tolerance in zip(found, expected, tolerances, strict=True):
                error = float((a - b).abs().max() / b.abs().max())
                cells.append(f"{error:.1e}")
                right &= error <= tolerance
        report.row(name, *cells, "ok" if right else "**differs**")


def subjects(device: torch.device, scale: Scale, batch: int) -> Iterator[tuple[str, Step | str]]:
    """Names, and steps that go forward through input and target and back to the input.

    A peer that is not there comes with the reason instead of a step.
    """
    n_samples = scale.jtfs["n_samples"]
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(batch, n_samples, generator=generator).to(device) for _ in range(2))
    x.requires_grad_()

    def step(criterion: Callable[[Tensor, Tensor], Tensor], channels: bool = False) -> Step:
        def shaped(x: Tensor) -> Tensor:
            return x[:, None] if channels else x

        def evaluate() -> None:
            x.grad = None
            criterion(shaped(x), shaped(y)).backward()

        return evaluate

    loss = TransformLoss(JTFS(**scale.jtfs)).to(device)
    one = StochasticLoss(loss, n_draws=1, generator=0).to(device)
    yield "JTFS, one path", step(one)
    draws = StochasticLoss.for_training(loss, y[:4], n_draws=8, generator=0).to(device)
    yield "JTFS, 8 energy draws", step(draws)
    yield "JTFS, all paths", step(loss)
    del loss, one, draws
    settings = {name: scale.jtfs[name] for name in ("n_samples", "J", "Q", "T")}
    yield "Scattering1D, all paths", step(TransformLoss(Scattering1D(**settings)).to(device))
    yield "multi-resolution STFT", step(TransformLoss(MultiResolutionSTFT()).to(device))
    for name, module in (
        ("MRSTFT of the stand-in", "multipath.compat.auraloss.freq"),
        ("MRSTFT of auraloss", "auraloss.freq"),
    ):
        try:
            criterion = import_module(module).MultiResolutionSTFTLoss().to(device)
        except ImportError as error:
            yield name, str(error)
            continue
        yield name, step(criterion, channels=True)


def milliseconds(step: Step, device: torch.device, seconds: float) -> list[float]:
    """Milliseconds of a step, repeated for so many seconds, after some that do not count."""
    for _ in range(WARM_UP):
        step()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 3 or (time.perf_counter() < end and len(found) < MOST_REPEATS):
        if device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            step()
            last.record()
            last.synchronize()
            found.append(first.elapsed_time(last))
        else:
            start = time.perf_counter()
            step()
            found.append(1000 * (time.perf_counter() - start))
    return found


def times(device: torch.device, scale: Scale, report: Report) -> None:
    """Medians, with the least and the most."""
    for batch in scale.batches:
        samples = scale.jtfs["n_samples"]
        report.section(
            f"A step, batch {batch} of {samples} samples, float32", "", "ms", "from", "to"
        )
        for name, step in subjects(device, scale, batch):
            if isinstance(step, str):
                report.row(name, f"left out: {step}", "-", "-")
                continue
            found = milliseconds(step, device, scale.seconds_per_row)
            report.row(name, *(number(f(found)) for f in (statistics.median, min, max)))


def waits(device: torch.device, step: Step) -> Counter[str]:
    """Where the host waits for the device in some steps that follow the first ones."""
    for _ in range(WARM_UP):
        step()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(STEPS_WATCHED):
                step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return Counter(
        f"{Path(each.filename).name}:{each.lineno}"
        for each in caught
        if "synchroniz" in str(each.message)
    )


def launches(device: torch.device, step: Step) -> int:
    """Kernels that one step launches; on a CPU, operations of torch."""
    from torch.profiler import ProfilerActivity, profile

    step()
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as recorded:
        step()
        if on_gpu:
            torch.cuda.synchronize(device)
    if not on_gpu:
        return sum(event.name.startswith("aten::") for event in recorded.events())
    return sum(
        event.device_type == torch.autograd.DeviceType.CUDA
        and not event.name.startswith(("Memcpy", "Memset"))
        for event in recorded.events()
    )


def watched(device: torch.device, scale: Scale, report: Report) -> None:
    """How often a step waits, how much memory it takes above its filters, what it launches."""
    kernels = "kernels" if device.type == "cuda" else "operations"
    batch = scale.batches[0]
    head = (
        "",
        f"waits in {STEPS_WATCHED} steps",
        "peak, MB",
        f"{kernels} a step",
        "where it waits",
    )
    report.section(f"Waiting, memory and launches, batch {batch}", *head)
    for name, step in subjects(device, scale, batch):
        if isinstance(step, str):
            report.row(name, f"left out: {step}", "-", "-", "-")
            continue
        if device.type != "cuda":
            report.row(name, "-", "-", str(launches(device, step)), "no GPU")
            continue
        found = waits(device, step)
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        peak = (torch.cuda.max_memory_allocated(device) - before) / 1e6
        where = ", ".join(f"{place} ({count})" for place, count in found.most_common(4))
        report.row(
            name, str(found.total()), number(peak), str(launches(device, step)), where or "-"
        )


def granular(device: torch.device, scale: Scale, report: Report, deadline: float) -> None:
    """Train as the paper does, with one path a step, until the time is up."""
    preset = GranularTask.presets()[scale.preset]
    task, training = preset.task, preset.training
    torch.manual_seed(0)
    synth = task.build_synth().to(device)
    features = LogCQT(task.sample_rate, preset.encoder.cqt_octaves, hop=preset.encoder.cqt_hop).to(
        device
    )
    encoder = Encoder(
        len(synth.parameter_names),
        channels=preset.encoder.channels,
        embedding=preset.encoder.embedding,
        dropout=preset.encoder.dropout,
        initialization=preset.encoder.initialization,
    ).to(device)
    batches = Batches(task.targets(0), task.draw_nuisance, seed=0, size=training.batch_size)
    objective = find_objective("scrapl")
    context = LossContext(task, ObjectiveSettings(loss="scrapl"), lambda: ())
    criterion = objective.build(context).to(device)
    optimizer = objective.optimizer(
        encoder.parameters(), criterion, lr=training.learning_rate, weight_decay=0.0
    )

    def estimated(theta: Tensor, nuisance: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            sounds = synth(theta, nuisance)
        return sounds, encoder(features(sounds))

    def step(at: int) -> Tensor:
        batch = batches.training_batch(at)
        # seeds of grains stay on the CPU, where the grains are drawn
        theta = batch.targets.theta.to(device, non_blocking=True)
        sounds, found = estimated(theta, batch.targets.nuisance)
        loss: Tensor = criterion(synth(found, batch.nuisance), sounds)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    def error() -> float:
        """Mean distance of estimated from true parameters, on validation targets."""
        encoder.eval()
        batch = next(batches.all_of("validation", size=training.batch_size))
        theta = batch.targets.theta.to(device)
        with torch.no_grad():
            _, found = estimated(theta, batch.targets.nuisance)
        encoder.train()
        return float((found - theta).abs().mean())

    report.section(
        f"Granular sound matching, preset {scale.preset}, batch {training.batch_size}, P-SAGA",
        *("steps", "seconds", "ms a step", "loss, mean since", "error of parameters"),
    )
    report.row("0", "0", "-", "-", f"{error():.4f}")
    told = ""
    if device.type == "cuda":
        numbers = iter(range(training.steps))
        found = waits(device, lambda: step(next(numbers)))
        where = ", ".join(f"{place} ({count})" for place, count in found.most_common())
        told = f"{found.total()} waits in {STEPS_WATCHED} of them: {where or '-'}."
    start, last, at, every = time.perf_counter(), 0.0, 0, 10
    while at == 0 or time.perf_counter() < deadline:
        losses = [step(at + i) for i in range(every)]
        mean = float(torch.stack(losses).mean())  # the one place that waits, every so many steps
        at += every
        seconds = time.perf_counter() - start
        if at == every or seconds > 1.5 * last or time.perf_counter() >= deadline:
            last = seconds
            per_step = f"{1000 * seconds / at:.1f}"
            report.row(str(at), f"{seconds:.0f}", per_step, f"{mean:.3g}", f"{error():.4f}")
    report.note(f"{at} of the {training.steps} steps of the preset fit into this run. {told}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure stage after stage; what fails is noted, and the rest goes on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = "cuda" if torch.cuda.is_available() else "cpu"
    results = Path(__file__).parent / "results"
    parser.add_argument("--device", default=default, choices=["cuda", "cpu"])
    parser.add_argument("--seconds", type=float, default=420, help="of the whole run, about")
    parser.add_argument("--out", type=Path, default=results / "gpu.md", help="the file to write")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the script")
    options = parser.parse_args(arguments)
    device, scale = torch.device(options.device), QUICK if options.quick else PAPER
    start = time.perf_counter()
    report = Report(options.out, device)
    stages: list[Callable[[torch.device, Scale, Report], None]] = [parity, times, watched]
    for stage in stages:
        if time.perf_counter() - start > 0.7 * options.seconds:
            report.note(f"The stage `{stage.__name__}` is left out: the time was up.")
            continue
        attempt(stage, report, device, scale, report)
    attempt(granular, report, device, scale, report, start + options.seconds)
    print(options.out)


def attempt(stage: Callable[..., None], report: Report, *arguments: Any) -> None:
    """Run a stage; if it fails, the report says so, and the next one has its turn."""
    try:
        stage(*arguments)
    except Exception as error:
        report.note(f"The stage `{stage.__name__}` failed: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
