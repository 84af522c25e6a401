"""How long theta-importance takes, beside the warm-up of scrapl-loss.

python -m benchmarks.theta_importance [--quick]

Ours measures all paths; scrapl-loss a few, spread over the rates, from which all are extrapolated.
The peer has a process of its own, in its own environment; both sides use the same files of weights
and sounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .environment import here, in_words
from .peers import add_options, find_python
from .plan import FULL, QUICK
from .process import NotMeasuredError, Workers
from .store import write_report
from .tables import table
from .view import spread

if TYPE_CHECKING:
    from torch import Tensor, nn

RESULTS = Path(__file__).parent / "results"
TITLES = {
    "dense": "dense encoder (two linear layers) and decoder, as in the example of scrapl-loss",
    "chirplet": "encoder and chirplets of the `quick` preset of `multipath match`",
}
N_PARAMETERS = 2
BATCH = 4

Clock = dict[str, float]
CLOCKS = ("wall", "processor")


def timed(call: Callable[[], Any]) -> tuple[Any, Clock]:
    """What a call returns, and the seconds it took: of the clock, and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    found = call()
    return found, {
        "wall": time.perf_counter() - wall, "processor": time.process_time() - processor
    }  # fmt: skip


Setting = tuple["nn.Module", "nn.Module", "tuple[Tensor, ...]", dict[str, Any]]
"""Encoder, decoder, batch, and arguments of JTFS."""


def dense(quick: bool) -> Setting:
    """The example in the README of scrapl-loss."""
    import torch
    from torch import nn

    settings = (QUICK if quick else FULL).settings
    n_samples = settings["n_samples"]
    torch.manual_seed(42)
    encoder = nn.Sequential(
        nn.Linear(n_samples, N_PARAMETERS), nn.PReLU(), nn.Linear(N_PARAMETERS, N_PARAMETERS),
        nn.Sigmoid(),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(N_PARAMETERS, N_PARAMETERS), nn.PReLU(), nn.Linear(N_PARAMETERS, n_samples),
        nn.Tanh(),
    )  # fmt: skip
    sounds = torch.rand(BATCH, n_samples)
    return encoder, decoder, (sounds, sounds), settings


def chirplet(quick: bool) -> Setting:
    """The encoder looks at features, so that the peer needs no part of ours but the encoder."""
    import torch

    from multipath.applications.matching.module import SoundMatching
    from multipath.applications.matching.presets import preset

    torch.manual_seed(42)
    config = preset("quick")
    task = config.task
    model = SoundMatching(config)
    scattering = asdict(task.scattering)
    settings = {name: scattering[name] for name in FULL.settings if name != "n_samples"}
    with torch.no_grad():
        batch = next(model.batches.all_of("train", size=BATCH))
        sounds = model.sounds(batch.targets)
        features = model.features(sounds)
    batch = features, sounds, batch.targets.nuisance
    return (
        model.encoder.eval(), task.build_synth(), batch, {"n_samples": task.n_samples, **settings}
    )  # fmt: skip


CASES = {"dense": dense, "chirplet": chirplet}


def ours(encoder: nn.Module, decoder: nn.Module, batch: Any, settings: dict[str, Any]) -> Any:
    """All paths."""
    from multipath import TransformLoss
    from multipath.importance import theta_importance
    from multipath.transforms import JTFS

    # distance and unpadding are those of the peer
    loss = TransformLoss(JTFS(**settings, unpad=False), distance="l2")
    result, clock = timed(lambda: theta_importance(loss, encoder, decoder, [batch]))
    return {
        "clock": clock, "curvature": result.curvature.tolist(), "settings": dict(result.settings),
        "keys": [list(path.key) for path in loss.paths],
        "residual": None if result.residuals is None else float(result.residuals.max()),
    }  # fmt: skip


def peer(file: Path, n_paths: int, packages: str) -> dict[str, Any]:
    """Some paths of scrapl-loss, in the peers' process."""
    import torch

    sys.path.append(packages)  # multipath imports what the peers have no need of
    from .subjects import scrapl_loss

    encoder, decoder, batch, settings = torch.load(file, weights_only=False)
    inputs, target, *context = batch
    loss = scrapl_loss(**settings, n_theta=N_PARAMETERS)
    count = int(loss.n_paths)
    chosen = [int((i + 0.5) * count / n_paths) for i in range(n_paths)]
    values: list[Tensor] = []
    loss._aggregate_vals_and_update_probs = lambda vals, *_, **__: values.append(vals[0])

    def path(index: int) -> Clock:
        return timed(
            lambda: loss.warmup_lc_hvp(
                theta_fn=lambda x: encoder(inputs),
                synth_fn=lambda theta: decoder(theta, *context)[:, None],
                theta_fn_kwargs=[{"x": target[:, None]}],
                params=list(encoder.parameters()),
                start_path_idx=index,
                end_path_idx=index + 1,
                save_dir=None,
            )
        )[1]

    torch.manual_seed(0)  # power iteration starts at random
    clocks = [path(index) for index in chosen]
    return {
        "paths": chosen, "n_paths": count, "clocks": clocks,
        "values": [value.tolist() for value in values],
        "keys": [list(loss.scrapl_keys[index]) for index in chosen],
    }  # fmt: skip


def measure(
    case: str, workers: Workers, quick: bool, peer_paths: int
) -> tuple[dict[str, Any], str | None]:
    """Both sides of a case, one after the other, and why scrapl-loss was not measured."""
    import torch

    packages = str(Path(find_spec("pywt").origin).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "case.pt"
        setting = CASES[case](quick)
        torch.save(setting, file)
        found: dict[str, Any] = {"ours": ours(*setting)}
        try:
            found["peer"] = workers.ask(
                "peers", "theta_importance:peer", file=file, n_paths=peer_paths, packages=packages
            )
        except NotMeasuredError as error:
            return found, str(error)
    return found, None


def section(case: str, found: dict[str, Any]) -> list[str]:
    """Seconds of all paths, their ratio, and how far the values are apart."""
    mine, other = found["ours"], found.get("peer")
    count, clock, settings = len(mine["keys"]), mine["clock"], mine["settings"]
    rows = [["multipath", f"all {count}", *(f"{clock[kind]:.1f}" for kind in CLOCKS)]]
    parts = [
        f"## {TITLES[case].capitalize()}",
        f"{settings['weights']} weights, {N_PARAMETERS} parameters, {BATCH} sounds, {count} paths; "
        f"{settings['products']} Hessian-vector products of the encoder, largest residual "
        f"{mine['residual']:.2g}.",
    ]
    if other:
        sums = [sum(c[kind] for c in other["clocks"]) for kind in CLOCKS]
        measured = len(other["clocks"])
        whole = [total / measured * count for total in sums]
        ratios = [seconds / clock[kind] for seconds, kind in zip(whole, CLOCKS, strict=True)]
        rows += [
            [f"scrapl-loss, {measured} paths", str(measured), *(f"{t:.1f}" for t in sums)],
            ["scrapl-loss, extrapolated", f"all {count}", *(f"{t:.0f}" for t in whole)],
            ["**ratio**", "", *(f"**{ratio:.0f}**" for ratio in ratios)],
        ]
    parts.append(table(["", "paths measured", "s, clock", "s, processor"], rows).strip())
    if other:
        places = [mine["keys"].index(key) for key in other["keys"]]
        ratios = [
            values[u] / mine["curvature"][u][p]
            for p, values in zip(places, other["values"], strict=True)
            for u in range(N_PARAMETERS)
        ]
        s = spread(ratios)
        parts.append(
            f"Values of scrapl-loss / ours on these paths: median {s.median:.3f}, quartiles "
            f"{s.low:.3f} to {s.high:.3f}, from {min(ratios):.3f} to {max(ratios):.3f}."
        )
    return parts


def as_markdown(report: dict[str, Any]) -> str:
    """The tables with their environment."""
    parts = [
        "# theta-importance",
        f"{report['threads']} thread(s). {in_words(report['environment'])}.",
        "Both sides: float32, the same weights and sounds in one batch, the distance of "
        'scrapl-loss (`distance="l2"`, `unpad=False`). scrapl-loss measures some paths, spread '
        "over the rates; all are extrapolated from their mean. It runs power iteration from a "
        "random vector, 20 steps at most, with the transposed matrix, whose eigenvalues are the "
        "same; that may stop early, and does not settle on a complex pair. Ours goes on to a "
        "relative residual of 0.02.",
    ]
    for case, found in report["cases"].items():
        parts += section(case, found)
    if "peers" in report:
        parts.append(f"scrapl-loss was not measured: {report['peers']}")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small transform in the first case")
    parser.add_argument("--only", choices=TITLES, nargs="+", default=[*TITLES])
    parser.add_argument("--peer-paths", type=int, default=6, help="paths of scrapl-loss; default 6")
    parser.add_argument("--threads", type=int, default=1)
    add_options(parser)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    report: dict[str, Any] = {"environment": here(), "threads": options.threads, "cases": {}}
    with Workers(find_python(options, print), options.threads) as workers:
        for case in options.only:
            report["cases"][case], missing = measure(
                case, workers, options.quick, options.peer_paths
            )
            if missing:
                report["peers"] = missing
    name = "theta_importance_quick" if options.quick else "theta_importance"
    write_report(options.out, name, report, as_markdown(report))


if __name__ == "__main__":
    main()
