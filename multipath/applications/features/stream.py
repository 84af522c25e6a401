"""Features of windows of long recordings, written to disk as they are computed."""

from __future__ import annotations

import copy
import csv
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import ceil, inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multipath._internal.names import visible
from multipath._internal.settings import choice, count, positive
from multipath.applications.audio.files import check_rate, find_recordings
from multipath.applications.audio.parts import Recording
from multipath.applications.runs.files import read_json, replacing, write_json
from multipath.applications.runs.folders import changed_files, folder_lock
from multipath.applications.runs.settings import differences
from multipath.errors import ConfigurationError, InputError
from multipath.integrations.sklearn import ScatteringFeatures

__all__ = ["State", "first_rate", "stream_features"]

log = logging.getLogger(__name__)

MOST_COLUMNS = 2**20
"""Features of a window; more would be a forgotten average."""


class State(IntEnum):
    """What became of a row; only the features of an ``OK`` row are not NaN."""

    PENDING = 0
    OK = 1
    NAN = 2
    """A sample is NaN or infinite."""
    SILENCE = 3
    """The recording stands still for longer than the shortest gap."""
    UNREADABLE = 4
    """The file could not be read there."""


@dataclass(frozen=True)
class Block:
    """Some windows of one recording, whose rows are computed and written together."""

    recording: Recording
    windows: range
    first_row: int


@dataclass(frozen=True)
class _Plan:
    """Which windows of which recordings become which rows."""

    recordings: Sequence[Recording]
    window: int
    hop: int
    separate: bool
    batch_size: int

    def channels(self, recording: Recording) -> list[int | str]:
        return list(range(recording.n_channels)) if self.separate else ["mean"]

    def n_windows(self, recording: Recording) -> int:
        return max(0, (recording.n_samples - self.window) // self.hop + 1)

    @property
    def n_rows(self) -> int:
        return sum(self.n_windows(r) * len(self.channels(r)) for r in self.recordings)

    def blocks(self) -> Iterator[Block]:
        """All rows, a block at a time; the same blocks whenever the work begins again."""
        row = 0
        for recording in self.recordings:
            n_channels = len(self.channels(recording))
            size, total = max(1, self.batch_size // n_channels), self.n_windows(recording)
            for first in range(0, total, size):
                windows = range(first, min(first + size, total))
                yield Block(recording, windows, row)
                row += len(windows) * n_channels

    def rows(self) -> Iterator[tuple[Recording, int | str, float]]:
        """Recording, channel, and start in seconds of each row."""
        for recording in self.recordings:
            for number in range(self.n_windows(recording)):
                for channel in self.channels(recording):
                    yield recording, channel, number * self.hop / recording.new_rate


def stream_features(
    features: ScatteringFeatures,
    recordings: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    window: int | None = None,
    hop: int | None = None,
    sample_rate: int | None = None,
    channels: Literal["separate", "mean"] = "separate",
    shortest_gap: float = 0.1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Compute features of all windows of long recordings, and write them to a folder.

    Memory does not depend on how long the recordings are or how many: a block of at most
    ``features.batch_size`` windows is read, transformed and written at a time. An interrupted call
    goes on when it is made again, and loses at most the block it was at; the files are then those
    of an undisturbed call, bit for bit.

    The folder holds, at the end,

    - ``features.npy``: float32, shape (rows, features), for ``numpy.load(..., mmap_mode="r")``;
    - ``rows.csv``: for each row the file, the channel (0, 1, ... or ``mean``), the start of the
      window in seconds, and its state;
    - ``names.json``: the names of the features;
    - ``summary.json``: how many rows are in which state, and under ``"skipped"`` which files were
      left out, and why.

    A row whose window has a gap is NaN throughout and says so in its state: ``nan`` where a sample
    is NaN or infinite, ``silence`` where it meets a part of the recording in which all samples are
    equal for at least ``shortest_gap`` seconds, or is such a part, ``unreadable`` where the file is
    damaged there. With ``channels="mean"``, a gap in any channel is one. What follows the last
    whole window of a recording is left out.

    Args:
        features: What to compute of each window: transform, pooling, compression and paths.
        recordings: A folder, whose audio files are taken, those in its sub-folders included, or a
            file, or several files.
        out: The folder to write to.
        window: Samples of a window. Default: ``n_samples`` of the transform.
        hop: Samples from one window to the next. Default: one window.
        sample_rate: In Hz; recordings of other rates are resampled to it. Default: that of the
            recordings, which must then all have the same.
        channels: ``"separate"`` for a row for each channel, or ``"mean"`` for their mean.
        shortest_gap: Seconds of digital silence, or of any other constant, that make a gap;
            ``float("inf")`` if only windows that are silent throughout are to count.
        progress: Called with the number of rows that are there and of all rows.

    Returns:
        The content of ``summary.json``.

    Raises:
        ConfigurationError: If a setting is out of range, or the folder holds features of other
            recordings or settings, or other files.
        InputError: If no recording is readable and at least a window long, or sample rates differ
            and ``sample_rate`` is not given.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> from multipath.applications.audio.files import write_audio
        >>> from multipath.transforms import Scattering1D
        >>> features = ScatteringFeatures(Scattering1D(512, J=5, Q=(1, 1), T=128))
        >>> with TemporaryDirectory() as folder:
        ...     hiss = 0.1 * torch.randn(5000, generator=torch.Generator().manual_seed(0))
        ...     hiss[2000:3000] = 0  # the recorder stood still
        ...     write_audio(Path(folder, "hiss.wav"), hiss, 8000)
        ...     summary = stream_features(features, folder, Path(folder, "features"), hop=256)
        ...     found = np.load(Path(folder, "features", "features.npy"), mmap_mode="r")
        ...     table = np.genfromtxt(Path(folder, "features", "rows.csv"), str, delimiter=",")
        ...     print(found.dtype, found.shape, summary["rows"])
        ...     print(table[0], table[1])
        float32 (18, 19) {'ok': 12, 'silence': 6}
        ['file' 'channel' 'start' 'state'] ['hiss.wav' '0' '0.0' 'ok']
    """
    if not isinstance(features, ScatteringFeatures):
        raise ConfigurationError(
            f"features must be a ScatteringFeatures, got {type(features).__name__}"
        )
    separate = choice("channels", channels, "separate", "mean") == "separate"
    gap = shortest_gap if shortest_gap == inf else positive("shortest_gap", shortest_gap, "s")
    if sample_rate is not None:
        check_rate(sample_rate, "sample_rate", ConfigurationError)
    length = _window(features, window)
    hop = length if hop is None else count("hop", hop)
    files, root = _files(recordings)
    found, skipped = _open(files, root, sample_rate, length)
    plan = _Plan(found, length, hop, separate, count("batch_size", features.batch_size))
    fitted = copy.copy(features).fit(np.random.default_rng(0).standard_normal((1, length)))
    names = [str(name) for name in fitted.get_feature_names_out()]
    if len(names) > MOST_COLUMNS:
        raise ConfigurationError(
            f"{len(names)} features of each window are more than {MOST_COLUMNS}; average them "
            '(pooling="mean" or "time"), or choose fewer paths'
        )
    settings = {
        "kind": "features",
        "transform": " ".join(repr(features.scattering).split()),
        **{name: _named(getattr(features, name)) for name in ("pooling", "rho", "eps")},
        "paths": names if features.paths is not None else "all",
        **{"batch_size": plan.batch_size, "window": length, "hop": hop},
        **{"sample_rate": found[0].new_rate, "channels": channels, "shortest_gap": gap},
    }
    stamps = {
        _name(r.path, root): f"{r.frames} {r.n_channels} {r.rate} {r.path.stat().st_mtime_ns}"
        for r in found
    }
    folder = _Folder(Path(out))
    with folder_lock(folder.root):
        if (summary := folder.begin(settings, stamps)) is not None:
            return summary
        _compute(fitted, plan, folder, len(names), gap, progress or _ignored)
        return folder.finish(plan, names, root, skipped)


def _compute(
    features: ScatteringFeatures,
    plan: _Plan,
    folder: _Folder,
    n_features: int,
    gap: float,
    progress: Callable[[int, int], None],
) -> None:
    """Fill the rows that are still pending, block by block."""
    n_rows = plan.n_rows
    values, states = folder.arrays(n_rows, n_features)
    pending = states == State.PENDING
    start = int(pending.argmax()) if pending.any() else n_rows
    for block in plan.blocks():
        n_block = len(block.windows) * len(plan.channels(block.recording))
        rows = slice(block.first_row, block.first_row + n_block)
        if rows.stop <= start:
            continue
        progress(rows.start, n_rows)
        signals, found = _read(block, plan, gap)
        ready = found == State.OK
        computed = np.full((len(found), n_features), np.nan, dtype=np.float32)
        if ready.any():
            computed[ready] = features.transform(signals[ready])
        values[rows] = computed
        values.flush()
        states[rows] = found  # after the values: what is not pending is there
        states.flush()
    progress(n_rows, n_rows)


def _read(block: Block, plan: _Plan, gap: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The signals of the rows of a block, and which of them have gaps."""
    recording, n_channels = block.recording, len(plan.channels(block.recording))
    shape = len(block.windows), n_channels
    signals = np.zeros((*shape, plan.window), dtype=np.float32)
    states = np.full(shape, State.OK, dtype=np.uint8)
    for place, number in enumerate(block.windows):
        start = number * plan.hop
        try:
            sound = recording.read(start, start + plan.window)
            found = _states(recording, start, start + plan.window, gap)
            # what was NaN just outside of the window may have been resampled into it
            found = [
                state if np.isfinite(channel).all() else State.NAN
                for channel, state in zip(sound, found, strict=True)
            ]
        except (InputError, OSError) as error:
            log.warning("%s", visible(str(error)))
            states[place] = State.UNREADABLE
            continue
        if not plan.separate:
            sound, found = sound.mean(axis=0, keepdims=True), [max(found)]
        signals[place], states[place] = sound, found
    return signals.reshape(-1, plan.window), states.reshape(-1)


def _states(recording: Recording, start: int, stop: int, gap: float) -> list[State]:
    """Whether the window of each channel has a gap, which may go on beyond it."""
    first, last = recording.frames_of(start, stop)
    # so far on either side, a run that reaches into the window is seen to be a gap
    shortest = last - first if gap == inf else ceil(gap * recording.rate)
    around = 0 if gap == inf else shortest
    begin, end = max(0, first - around), min(recording.frames, last + around)
    inside = slice(first - begin, last - begin)
    sound = recording.read_frames(begin, end)
    return [_state(channel, inside, shortest) for channel in sound]


def _state(samples: NDArray[np.float32], inside: slice, shortest: int) -> State:
    window = samples[inside]
    if not np.isfinite(window).all():
        return State.NAN
    # runs of equal samples, from one that differs from the sample before to the next
    starts = np.concatenate([[0], np.flatnonzero(samples[1:] != samples[:-1]) + 1, [len(samples)]])
    long = np.diff(starts) >= shortest
    meets = (starts[:-1] < inside.stop) & (starts[1:] > inside.start)
    still = (window == window[0]).all()
    return State.SILENCE if still or (long & meets).any() else State.OK


def _window(features: ScatteringFeatures, window: int | None) -> int:
    """Samples of a window; a transform made for one length takes no other."""
    transform = features.scattering
    own = getattr(transform, "n_samples", None)
    if getattr(transform, "signal_ndim", 1) != 1:
        raise ConfigurationError(f"{type(transform).__name__} is for images, not for recordings")
    if window is None and own is None:
        raise ConfigurationError(
            f"{type(transform).__name__} takes signals of any length: window must say how many "
            "samples one row is made from"
        )
    length = count("window", own if window is None else window)
    if own is not None and length != own:
        raise ConfigurationError(
            f"the transform is made for windows of {own} samples, got window={length}"
        )
    return length


def _files(recordings: str | Path | Iterable[str | Path]) -> tuple[list[Path], Path | None]:
    """The files, and the folder that their names are relative to."""
    if isinstance(recordings, str | Path):
        path = Path(recordings)
        return (find_recordings(path), path) if path.is_dir() else ([path], path.parent)
    files = [Path(each) for each in recordings]
    if not files:
        raise InputError("there are no recordings; pass a folder, or at least one file")
    if len(set(files)) < len(files):
        raise InputError("a recording is listed twice; list each once")
    return files, None


def first_rate(recordings: str | Path | Iterable[str | Path]) -> int:
    """The sample rate of the first recording that can be read, in Hz.

    Args:
        recordings: As of :func:`stream_features`.

    Raises:
        InputError: If there is none.
    """
    files, _ = _files(recordings)
    reason = ""
    for path in files:
        try:
            return Recording.at(path).rate
        except (InputError, OSError) as error:
            reason = reason or str(error)
    raise InputError(f"there is no usable recording among {len(files)} ({reason})")


def _name(path: Path, root: Path | None) -> str:
    return path.as_posix() if root is None else path.relative_to(root).as_posix()


def _open(
    files: Sequence[Path], root: Path | None, sample_rate: int | None, window: int
) -> tuple[list[Recording], list[dict[str, str]]]:
    """The recordings that have a window, and the others with the reason."""
    found: list[Recording] = []
    skipped = []
    for path in files:
        try:
            recording = Recording.at(path, sample_rate)
        except (InputError, OSError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            skipped.append({"file": _name(path, root), "reason": reason})
            continue
        if found and recording.new_rate != found[0].new_rate:
            raise InputError(
                f"{found[0].path} has {found[0].rate} samples per second and {path} has "
                f"{recording.rate}; give the sample_rate to bring all to"
            )
        if recording.n_samples < window:
            reason = f"{recording.n_samples} samples are less than a window of {window}"
            skipped.append({"file": _name(path, root), "reason": reason})
        else:
            found.append(recording)
    if not found:
        reasons = "; ".join(f"{each['file']}: {each['reason']}" for each in skipped[:3])
        raise InputError(f"there is no usable recording among {len(files)} ({reasons})")
    return found, skipped


def _named(value: Any) -> Any:
    """A setting as it is written down; functions by their names."""
    return getattr(value, "__qualname__", repr(value)) if callable(value) else value


def _ignored(done: int, total: int) -> None:
    """No progress is shown."""


class _Folder:
    """The files of a stream, which is finished once there is a summary."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config, self.summary = root / "config.json", root / "summary.json"
        self.features, self.rows = root / "features.npy", root / "rows.csv"
        self.names = root / "names.json"
        # under other names until all is there, so that nobody takes a part for the whole
        self.values, self.states = root / "features.partial.npy", root / "states.partial.npy"

    def begin(
        self, settings: Mapping[str, Any], stamps: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """The summary of a finished stream, or None if there is something left to do.

        Raises:
            ConfigurationError: If the folder holds anything else.
        """
        content = json.loads(json.dumps({**settings, "files": dict(stamps)}))
        elsewhere = "choose another folder"
        if self.config.exists():
            before = read_json(self.config, remedy=elsewhere)
            if not isinstance(before.get("files"), dict) or before.get("kind") != "features":
                raise ConfigurationError(f"{self.root} holds something else; {elsewhere}")
            old, new = ({n: v for n, v in c.items() if n != "files"} for c in (before, content))
            changed = [*differences(old, new), *changed_files(before["files"], content["files"])]
            if changed:
                raise ConfigurationError(
                    f"{self.root} holds other features: {'; '.join(changed[:5])}; {elsewhere}"
                )
            if not self.summary.exists():
                return None
            for file in (self.features, self.rows, self.names):
                if not file.exists():
                    raise ConfigurationError(
                        f"{self.root} is finished, but {file.name} is missing; put it back, or "
                        "choose another folder"
                    )
            self.states.unlink(missing_ok=True)  # the last step, before which a process may end
            return read_json(self.summary, elsewhere)
        if held := [each.name for each in self.root.iterdir() if not each.name.startswith(".")]:
            raise ConfigurationError(
                f"{self.root} holds {', '.join(held[:3])} and no features; {elsewhere}"
            )
        write_json(self.config, content)
        return None

    def arrays(
        self, n_rows: int, n_features: int
    ) -> tuple[np.memmap[Any, np.dtype[np.float32]], np.memmap[Any, np.dtype[np.uint8]]]:
        """Values and states of the rows, mapped into memory; made if they are not there."""
        shape = n_rows, n_features
        if not self.states.exists():
            # the states are put in their place last: where they are, both are
            for file, size, dtype in ((self.values, shape, "f4"), (self.states, (n_rows,), "u1")):
                with replacing(file) as draft:
                    np.lib.format.open_memmap(draft, "w+", dtype, size).flush()
        values = self.values if self.values.exists() else self.features
        found = np.load(values, mmap_mode="r+"), np.load(self.states, mmap_mode="r+")
        if found[0].shape != shape or found[1].shape != (n_rows,):
            raise InputError(f"{values} is damaged; choose another folder")
        return found

    def finish(
        self,
        plan: _Plan,
        names: Sequence[str],
        root: Path | None,
        skipped: Sequence[Mapping[str, str]],
    ) -> dict[str, Any]:
        """Write the table of rows, the names and the summary."""
        states = np.load(self.states, mmap_mode="r")
        with (
            replacing(self.rows) as draft,
            draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
        ):
            writer = csv.writer(stream)
            writer.writerow(["file", "channel", "start", "state"])
            for (recording, channel, start), state in zip(plan.rows(), states, strict=True):
                name = _name(recording.path, root)
                writer.writerow([name, channel, start, State(state).name.lower()])
        write_json(self.names, list(names))
        if self.values.exists():
            self.values.replace(self.features)
        counts = np.bincount(states, minlength=len(State))
        summary = {
            "rows": {s.name.lower(): int(counts[s]) for s in State if counts[s]},
            "features": len(names),
            "window": plan.window,
            "hop": plan.hop,
            "sample_rate": plan.recordings[0].new_rate,
            "files": len(plan.recordings),
            "skipped": list(skipped),
        }
        write_json(self.summary, summary)
        self.states.unlink()
        return summary
