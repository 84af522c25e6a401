"""The command ``multipath resynthesize``; what is slow to import waits until it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from multipath._internal.names import visible
from multipath.applications.resynthesis.settings import ResynthesisSettings
from multipath.applications.runs.folders import RunFolder
from multipath.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

LONGEST = {"jtfs": 2**16, "scattering1d": 2**18}  # samples that take minutes on one core
LONGEST_NAME = 48
"""Characters of the recording's name in that of the folder, which may have 255 bytes."""
RATES = (48000, 44100, 32000, 22050, 16000, 11025, 8000)


def resynthesize(
    file: Path,
    /,
    *,
    out: Path | None = None,
    offset: float = 0.0,
    duration: float | None = None,
    sample_rate: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> None:
    """Find a sound that the transform cannot tell from a recording, starting from noise.

    Args:
        file: A recording.
        out: Run folder. Default: runs/resynthesis-NAME-TRANSFORM-SEED.
        offset: Begin so many seconds into the recording.
        duration: Take no more seconds than this.
        sample_rate: Work at this rate, in Hz. Default: the highest that takes minutes.
        resume: Go on from the last checkpoint in the folder.
        overwrite: Move the run that the folder holds aside.
        **settings: Settings of the resynthesis; by default those that suit the recording.
    """
    from multipath.applications.resynthesis.run import run_resynthesis

    from .console import show_finished, show_progress

    transform = settings.pop("transform", "jtfs")
    recording, rate, notes = _read(file, transform, offset, duration, sample_rate)
    chosen = ResynthesisSettings.for_recording(len(recording), rate, transform, **settings)
    name = f"resynthesis-{file.stem[:LONGEST_NAME]}-{transform}-{chosen.seed}"
    folder = out or Path("runs") / name
    nothing_left = resume and RunFolder(folder).finished
    for note in [] if nothing_left else notes:
        print(visible(f"note: {note}"))
    with show_progress(
        file.name, chosen.steps, folder, lambda relative: f"distance {100 * relative:.1f} %"
    ) as progress:
        summary = run_resynthesis(
            recording,
            chosen,
            folder,
            source=file.name,
            notes=tuple(notes),
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    if nothing_left:
        show_finished(folder)
        return
    print(
        f"relative distance {100 * summary['relative']:.1f} %, at the start "
        f"{100 * summary['start_relative']:.1f} % ({1000 * summary['seconds_per_step']:.0f} ms per "
        "step)"
    )
    print(visible(f"report: {folder / 'report.html'}"))


def _read(
    file: Path, transform: str, offset: float, duration: float | None, new_rate: int | None
) -> tuple[Tensor, int, list[str]]:
    """What to resynthesise, its sample rate, and what was done to it."""
    import soundfile

    from multipath.applications.audio.files import check_waveform, read_audio, resample

    recording, rate = read_audio(file, mono=True)
    notes = []
    channels = soundfile.info(file).channels
    if channels > 1:
        notes.append(f"{channels} channels are mixed down to their mean")
    if not offset >= 0 or not (duration is None or duration > 0):
        raise InputError(
            f"offset must not be negative and duration must be positive, got {offset} and "
            f"{duration}"
        )
    begin = round(min(offset * rate, len(recording)))  # either may be infinite
    if begin >= len(recording):
        raise InputError(
            f"{file} lasts {len(recording) / rate:.3g} s: nothing is left after --offset {offset}"
        )
    recording = recording[begin:]
    if duration is not None:
        recording = recording[: max(1, round(min(duration * rate, len(recording))))]
    check_waveform(recording, str(file))
    chosen = _working_rate(file, transform, len(recording), rate) if new_rate is None else new_rate
    if chosen != rate:
        notes.append(f"resampled from {rate} to {chosen} Hz")
    return resample(recording, rate, chosen), chosen, notes


def _working_rate(file: Path, transform: str, n_samples: int, rate: int) -> int:
    """The highest usual sample rate at which the recording takes minutes."""
    longest = LONGEST[transform]
    for candidate in (rate, *(usual for usual in RATES if usual < rate)):
        if n_samples * candidate / rate <= longest:
            return candidate
    lowest = min(rate, RATES[-1])
    raise InputError(
        f"{file}: {n_samples / rate:.3g} s is too long for {transform}: more than "
        f"{longest / lowest:.3g} s at {lowest} Hz take an hour and gigabytes; cut it with "
        "--duration (and --offset), or insist with --sample-rate"
    )
