"""A resynthesis run, from a recording to a folder with checkpoints and a report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from multipath._internal.axes import tidy
from multipath._internal.state import check_names, loaded_real
from multipath.applications.audio.files import playable, write_audio
from multipath.applications.audio.players import data_uri
from multipath.applications.audio.spectrograms import plot_spectrograms
from multipath.applications.runs.environment import describe_environment
from multipath.applications.runs.files import drawn, write_bytes, write_csv, write_tensors
from multipath.applications.runs.folders import RunFolder, folder_lock
from multipath.diagnostics import plot_path_values

from .search import Resynthesis, checked_recording
from .settings import ResynthesisSettings

__all__ = ["ResynthesisFolder", "run_resynthesis"]

PEAK = 0.9
DPI = 110


def run_resynthesis(
    recording: Tensor,
    settings: ResynthesisSettings,
    folder: Path | str,
    *,
    source: str = "",
    notes: tuple[str, ...] = (),
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Resynthesise a recording and write everything into a folder.

    After each evaluation the folder holds ``metrics.csv`` (see :attr:`Resynthesis.rows
    <multipath.applications.resynthesis.search.Resynthesis>`), ``draws.csv``, ``checkpoint.pt`` and
    ``resynthesis.wav``, the best sound so far; each is replaced whole, so an interruption or a full
    disk leaves the previous one. ``target.wav`` is the recording; both are scaled together to a
    peak of 0.9. ``config.json`` is there from the start, ``summary.json``, plots and
    ``report.html``, which holds them all, at the end, when the checkpoint is removed.

    Args:
        recording: Shape (T,).
        settings: Everything else that defines the search.
        folder: Made if needed.
        source: Name of the recording, for the report.
        notes: What has been done to the recording, for the report.
        resume: Go on from the checkpoint of an interrupted run of the same recording and settings.
            The result of a finished one is returned at once.
        overwrite: Move what an earlier run left aside, into ``previous-1`` (or -2, ...) there.
        progress: Called after each step with the number of steps done and the latest relative
            distance.

    Returns:
        The content of ``summary.json``.

    Raises:
        ConfigurationError: If the folder holds a run and neither ``resume`` nor ``overwrite`` says
            what to do with it, there is nothing to resume, settings or recording have changed,
            another process is at work there, or it holds files but no run.
        InputError: If a file of the run to resume is damaged, or the recording is not as
            :class:`~multipath.applications.resynthesis.search.Resynthesis` wants it.
    """
    recording = checked_recording(recording)
    files = ResynthesisFolder(Path(folder))
    config = {
        "task": "resynthesis",
        "source": source,
        "recording": hashlib.sha256(recording.numpy().tobytes()).hexdigest()[:16],
        **settings.to_dict(),
    }
    search = Resynthesis(settings, recording)
    with folder_lock(files.root):
        seconds = 0.0
        going_on = files.check(config, resume=resume, overwrite=overwrite)
        if resume and files.finished:
            return files.clear_up()
        if going_on:
            with files.restoring() as state:
                check_names("a resynthesis", state, ("search", "seconds"))
                seconds = loaded_real("the seconds of the search", state["seconds"])
                search.load_state_dict(state["search"])
        else:
            files.begin(config, resume=resume)

        def after_step(step: int) -> None:
            # the last step is told with the evaluation that follows
            if progress is not None and (step < settings.steps or step == search.step):
                progress(step, search.rows[-1]["relative"])

        while not search.finished:
            started = perf_counter()
            search.advance(after_step)
            seconds += perf_counter() - started
            files.save(search, recording, seconds)
        after_step(search.step)
        summary = {
            "task": "resynthesis",
            "source": source,
            "transform": settings.transform,
            "paths": len(search.loss.paths),
            "seed": settings.seed,
            "steps": search.step,
            "distance": search.rows[-1]["distance"],
            "relative": search.rows[-1]["relative"],
            "start_distance": search.rows[0]["distance"],
            "start_relative": search.rows[0]["relative"],
            "seconds_per_step": seconds / max(1, search.step),
            "notes": list(notes),
            "environment": describe_environment(),
        }
        _write_report(files, search, recording, config, summary)
        files.finish(summary)
        return summary


class ResynthesisFolder(RunFolder):
    """The files of a resynthesis."""

    may_change = ("source",)  # a recording that was renamed is the same

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.target = root / "target.wav"
        self.sound = root / "resynthesis.wav"

    def save(self, search: Resynthesis, recording: Tensor, seconds: float) -> None:
        """Write down how far the search has come."""
        write_csv(self.metrics, search.rows)
        write_csv(self.draws, search.draws.rows())
        for name, sound in self.sounds(search, recording).items():
            write_audio(self.root / name, *sound)
        write_tensors(self.checkpoint, {"search": search.state_dict(), "seconds": seconds})

    def sounds(self, search: Resynthesis, recording: Tensor) -> dict[str, tuple[Tensor, int]]:
        """Recording and best sound so far with their sample rate, at a common gain, by file."""
        gain = PEAK / max(float(recording.abs().max()), float(search.signal.abs().max()))
        rate = search.settings.sample_rate
        return {
            self.target.name: playable(gain * recording, rate),
            self.sound.name: playable(gain * search.signal, rate),
        }


def plot_descent(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Plot full distances over steps: a line for what is kept, crosses for what was taken back.

    Args:
        rows: Those of :attr:`Resynthesis.rows
            <multipath.applications.resynthesis.search.Resynthesis>`.
    """
    figure = Figure(figsize=(7.0, 3.4), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    axes.plot([row["step"] for row in rows], [row["distance"] for row in rows], label="kept")
    refused = [row for row in rows if not row["kept"]]
    if refused:
        steps, tried = [row["step"] for row in refused], [row["tried"] for row in refused]
        axes.plot(steps, tried, "C0x", markersize=4, label="taken back")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel("full distance")
    axes.legend(frameon=False)
    return figure


def _write_report(
    files: ResynthesisFolder,
    search: Resynthesis,
    recording: Tensor,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> None:
    from multipath.applications.runs.html import embed, embed_files, render_page

    rate, sounds = search.settings.sample_rate, files.sounds(search, recording)
    name = summary["source"] or "recording"
    # the space keeps it apart from what was made of it
    heard = {f" {name}": (recording, rate), "resynthesis": (search.signal, rate)}
    figures = {
        "spectrograms.png": plot_spectrograms(heard),
        "descent.png": plot_descent(search.rows),
    }
    drawn_at_all = bool(search.draws.counts.sum())
    if drawn_at_all:
        counts = search.draws.counts.tolist()
        figures["draws.png"] = plot_path_values(
            search.loss.paths, counts, "draws", f"{sum(counts)} draws"
        )
    pictures = {name: drawn(figure, "png", DPI) for name, figure in figures.items()}
    for name, content in pictures.items():
        write_bytes(files.root / name, content)
    render_page(
        files.report,
        "resynthesis.html.jinja",
        summary=summary,
        config=config,
        drawn=drawn_at_all,
        kept=sum(int(row["kept"]) for row in search.rows[1:]),
        rounds=len(search.rows) - 1,
        sounds={file: data_uri(*sound) for file, sound in sounds.items()},
        figures={name: embed("image/png", content) for name, content in pictures.items()},
        files=embed_files(files.root),
    )
