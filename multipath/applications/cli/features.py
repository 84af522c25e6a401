"""The command ``multipath features``; what is slow to import waits until it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from multipath._internal.names import visible
from multipath._internal.progress import redirected
from multipath.errors import ConfigurationError, InputError


def features(
    *recordings: Path,
    out: Path,
    transform: Literal["scattering1d", "jtfs"] = "scattering1d",
    window: float = 1.0,
    hop: float | None = None,
    sample_rate: int | None = None,
    channels: Literal["separate", "mean"] = "separate",
    shortest_gap: float = 0.1,
    pooling: Literal["mean", "time"] = "mean",
    J: Annotated[int | None, Parameter("--J")] = None,
    T: Annotated[int | None, Parameter("--T")] = None,
    batch_size: int = 32,
) -> None:
    """Compute features of long recordings, window by window, into a folder.

    Args:
        recordings: A folder of recordings, or several files.
        out: Folder to write to; the same command goes on where an interrupted one was.
        transform: What features are coefficients of.
        window: Seconds that one row of features is made from.
        hop: Seconds from one window to the next. Default: the window.
        sample_rate: Bring all to this sample rate, in Hz. Default: that of the recordings.
        channels: A row for each channel, or for their mean.
        shortest_gap: Seconds of digital silence from which on a window has a gap.
        pooling: The mean of each path, or its mean over time.
        J: Octaves of the filter banks over time. Default: from the window.
        T: Averaging in samples. Default: from the window.
        batch_size: Windows that are computed together.
    """
    from multipath.applications.audio.files import check_rate
    from multipath.applications.features.stream import first_rate, stream_features
    from multipath.integrations.sklearn import ScatteringFeatures
    from multipath.transforms import JTFS, Scattering1D

    if not recordings:
        raise InputError("expected a folder of recordings, or files")
    if sample_rate is not None:
        check_rate(sample_rate, "--sample-rate", ConfigurationError)
    given: Any = recordings[0] if len(recordings) == 1 else recordings
    rate = first_rate(given) if sample_rate is None else sample_rate
    kind: type[JTFS] | type[Scattering1D] = JTFS if transform == "jtfs" else Scattering1D
    settings = kind.suggest(_samples("window", window, rate), rate)
    settings |= {name: value for name, value in (("J", J), ("T", T)) if value is not None}
    chosen = ScatteringFeatures(kind(**settings), pooling, batch_size=batch_size)
    console = Console(stderr=True)
    bar: Any = redirected(console) or Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )

    def move(done: int, total: int) -> None:
        """Show a bar only now: whatever is refused was refused before."""
        bar.start()
        if not bar.tasks:
            bar.add_task("rows", total=total, completed=done)
        bar.update(0, completed=done)

    try:
        summary = stream_features(
            chosen,
            given,
            out,
            hop=None if hop is None else _samples("hop", hop, rate),
            sample_rate=sample_rate,
            channels=channels,
            shortest_gap=shortest_gap,
            progress=move,
        )
    except KeyboardInterrupt:
        bar.stop()
        print("multipath: interrupted; the same command goes on", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        bar.stop()
    for each in summary["skipped"]:
        print(visible(f"left out: {each['file']}: {each['reason']}"))
    rows = ", ".join(f"{number} {state}" for state, number in summary["rows"].items())
    print(f"{summary['features']} features of rows: {rows}")
    print(visible(f"features: {out / 'features.npy'}"))


def _samples(name: str, seconds: float, rate: int) -> int:
    """A number of seconds in samples."""
    if not 0 < seconds * rate < 2**31:
        raise ConfigurationError(f"--{name} must be positive, in seconds, got {seconds}")
    return max(1, round(seconds * rate))
