"""Whether L-BFGS on all paths or Adam on random ones resynthesises better in equal processor time.

python -m benchmarks.resynthesis

Five made sounds of 1 to 10 s. Each contender gets the same processor time on one thread, from the
same noise; what counts is the full distance of the sound that it keeps, as a share of that of
silence from the recording.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from time import process_time
from typing import Any

import torch
from torch import Tensor

from multipath.applications.resynthesis.search import Resynthesis
from multipath.applications.resynthesis.settings import ResynthesisSettings

from .tables import table

RESULTS = Path(__file__).parent / "results"
CONTENDERS: Mapping[str, Mapping[str, Any]] = {
    "L-BFGS, all paths": {"interval": 2},  # a round must not outlast the time
    "Adam, 32 draws": {"draws": 32},
}
ENDLESS = 10**6  # steps: the time decides


def sounds() -> dict[str, tuple[Tensor, int, str, float]]:
    """Samples, sample rate, transform, and the processor time (s) that each contender gets."""
    generator = torch.Generator().manual_seed(0)

    def time(seconds: float, rate: int) -> Tensor:
        return torch.arange(round(seconds * rate)) / rate

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    drum, chirp, bell, pulse, rain = (
        time(*size) for size in ((1, 8000), (2, 4000), (3, 8000), (5, 4000), (10, 4000))
    )
    sweep = torch.sin(2 * math.pi * (50 * drum + 8 * (1 - torch.exp(-20 * drum))))
    partials = ((440, 1.0), (1191, 0.6), (1743, 0.4), (2489, 0.2))
    return {
        "drum": (
            sweep * torch.exp(-6 * drum) + 0.3 * noise(drum) * torch.exp(-40 * drum),
            *(8000, "jtfs", 25.0),
        ),
        "chirp": (
            torch.sin(2 * math.pi * (100 * chirp + 700 * chirp.square())),
            *(4000, "jtfs", 20.0),
        ),
        "bell": (
            sum(a * torch.sin(2 * math.pi * f * bell) * torch.exp(-2 * f / 440 * bell)
                for f, a in partials),
            *(8000, "scattering1d", 10.0),
        ),
        "pulses": (
            torch.exp(-30 * (pulse % 0.25)) * torch.sin(2 * math.pi * 600 * pulse),
            *(4000, "scattering1d", 10.0),
        ),
        "rain": (
            noise(rain) * (1 + 0.8 * torch.sin(2 * math.pi * 0.7 * rain)),
            *(4000, "scattering1d", 16.0),
        ),
    }  # fmt: skip


def race(
    sound: Tensor, rate: int, transform: str, seconds: float, **options: Any
) -> dict[str, Any]:
    """Search for some processor time, and note where it stands after each third of it."""
    settings = ResynthesisSettings.for_recording(
        len(sound), rate, transform, steps=ENDLESS, **options
    )
    search = Resynthesis(settings, sound)
    silence = float(search.measure(torch.zeros_like(sound))[0].mean())
    ends, begun = [], process_time()
    for part in (1, 2, 3):
        kept = search.rows[-1]["distance"]
        while process_time() - begun < seconds * part / 3 and not search.finished:
            kept = search.rows[-1]["distance"]  # without the round that ends too late
            search.advance()
        ends.append(kept / silence)
    return {"shares": ends, "steps": search.step, "processor seconds": process_time() - begun}


def as_markdown(results: Mapping[str, Any]) -> str:
    """One row for each sound."""
    rows = []
    for name, result in results.items():
        contenders = result["contenders"].values()
        spent = max(contender["processor seconds"] for contender in contenders)
        length = f"{result['seconds']:.0f} s at {result['rate']} Hz"
        shares = [
            " / ".join(f"{100 * share:.2g}" for share in contender["shares"])
            for contender in contenders
        ]
        rows.append([name, length, str(result["transform"]), f"{spent:.0f}", *shares])
    heads = ["sound", "length", "transform", "processor seconds", *CONTENDERS]
    return (
        "Full distance of the sound kept, in % of that of silence, after a third, two thirds and "
        f"all of the processor time.\n\n{table(heads, rows, words=(0, 1, 2))}"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="multiply all times")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name, (sound, rate, transform, seconds) in sounds().items():
        results[name] = {
            "seconds": len(sound) / rate,
            "rate": rate,
            "transform": transform,
            "contenders": {
                contender: race(sound, rate, transform, options.scale * seconds, **changes)
                for contender, changes in CONTENDERS.items()
            },
        }
        print(name, results[name]["contenders"], flush=True)
        (options.out / "resynthesis.json").write_text(
            json.dumps(results, indent=1) + "\n", encoding="utf-8"
        )
        (options.out / "resynthesis.md").write_text(as_markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
